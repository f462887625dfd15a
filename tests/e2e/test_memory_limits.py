"""Limits of a process's memory that are lower than the machine's: plans keep to them, and what does not fit is refused."""

import contextlib
import os
import subprocess
import unittest
from pathlib import Path

from support import CHECKPOINT, OUT_OF_MEMORY, WAN, Result, WanTest, environment, generate_arguments

GROUPS = Path("/sys/fs/cgroup")
MB = 1_000_000
# Of the small checkpoint: for which a machine has the memory, and the limits here have not.
LARGE = {"size": "1280*704", "frame_num": "801", "residency": "resident"}


class MemoryLimits(WanTest):
    def run_in_shell(self, commands, *arguments):
        """Runs wan after these commands of a shell."""
        done = subprocess.run(["sh", "-c", commands + '\nexec "$0" "$@"', WAN, *arguments], cwd=self.folder, env=environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        if "error while loading shared libraries" in done.stderr:
            self.skipTest("the libraries of this build take more than the limit: " + done.stderr)
        return Result(done.returncode, done.stdout, done.stderr, 0.0)

    def plan(self, commands, **options):
        options = {"plan": True, "json": True, "device": "cpu", **options}
        return self.run_in_shell(commands, *generate_arguments(CHECKPOINT, **options))

    def left(self, result):
        """What a plan has beside what the program took before its work."""
        self.assertEqual(result.status, 0, result.err + result.out)
        plan = next(event for event in result.events if event["event"] == "plan")
        return plan["available"] - plan["program"]

    def assert_too_large(self, result):
        self.assertEqual(result.status, OUT_OF_MEMORY, result.err + result.out)
        self.assertEqual(result.events[-1]["code"], "out_of_memory")
        self.assertIn("GB are free", result.events[-1]["message"])

    def test_address_space(self):
        left = self.left(self.plan("ulimit -v 1500000"))
        self.assertLess(left, 1_500_000 * 1024)
        self.assertGreater(left, 0)
        self.assertLess(left, self.left(self.plan("")))
        self.assert_too_large(self.plan("ulimit -v 1500000", **LARGE))

    def test_a_file_larger_than_the_address_space(self):
        large = Path(self.folder) / "large.safetensors"
        with open(large, "wb") as file:
            file.truncate(4 << 30)
        result = self.run_in_shell("ulimit -v 1500000", "inspect", str(large))
        self.assertEqual(result.status, OUT_OF_MEMORY, result.err)
        self.assertIn(f"cannot map {large}: its {4 << 30} bytes", result.err)
        self.assertIn("ulimit -v unlimited", result.err)

    def test_data(self):
        left = self.left(self.plan("ulimit -d 1000000"))
        self.assertLess(left, 1_000_000 * 1024)
        self.assertGreater(left, 0)

    def test_a_memory_limit_of_ones_own_stands_above(self):
        result = self.plan("ulimit -v 1500000", memory_limit="12345MB")
        self.assertEqual(result.events[-1]["available"], 12_345 * MB)

    @contextlib.contextmanager
    def control_group(self, limit):
        """A folder of a new group whose memory is limited, below the group of this process where one can be made."""
        version1 = GROUPS / "memory/memory.limit_in_bytes"
        root, most = (version1.parent, version1.name) if version1.exists() else (GROUPS, "memory.max")
        names = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next((name.split(":", 2)[2] for name in names
                    if (":memory:" in name if version1.exists() else name.startswith("0::"))), "/")
        group = root / own.lstrip("/") / f"wan-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as error:
            self.skipTest(f"no control group can be made here: {error}")
        try:
            try:
                (group / most).write_text(str(limit))
            except OSError as error:
                self.skipTest(f"no control group's memory can be limited here: {error}")
            yield group
        finally:
            group.rmdir()

    def test_nested_control_group(self):
        with self.control_group(1500 * MB) as outer:
            inner = outer / "inner"
            inner.mkdir()
            try:
                enter = f"echo $$ > {inner}/cgroup.procs || exit 77"
                limited = self.plan(enter)
                if limited.status == 77:
                    self.skipTest("no process can be moved to a control group here")
                self.assertLess(self.left(limited), 1500 * MB)
                self.assertGreater(self.left(limited), 1000 * MB)
                self.assert_too_large(self.plan(enter, **LARGE))
            finally:
                inner.rmdir()

    def test_too_small_a_control_group_is_an_error_and_no_kill(self):
        with self.control_group(60 * MB) as group:
            result = self.plan(f"echo $$ > {group}/cgroup.procs || exit 77", size="832*480", frame_num="81")
            if result.status == 77:
                self.skipTest("no process can be moved to a control group here")
            self.assert_too_large(result)


if __name__ == "__main__":
    unittest.main()
