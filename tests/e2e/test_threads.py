"""Threads that wait must not take the processor from those that work: on a busy machine a run costs what it costs on an
idle one, in the program and in others that use the library."""

import json
import os
import resource
import subprocess
import sys
import unittest
from pathlib import Path

from support import SOURCE, WAN, WanTest, environment

EXAMPLE = Path(os.environ.get("WAN_BUILD_DIR", "build")) / "examples/generate_example"
DEMO = SOURCE / "models/demo"
PROMPT = "a red circle moves right"


@unittest.skipUnless(len(os.sched_getaffinity(0)) > 1, "one processor: no thread waits for another")
class BusyMachine(WanTest):
    def setUp(self):
        super().setUp()
        for _ in os.sched_getaffinity(0):
            burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            self.addCleanup(burner.wait)
            self.addCleanup(burner.kill)

    def processor_seconds(self, policy, *command):
        env = environment()
        env.pop("OMP_WAIT_POLICY")
        env.update({"OMP_WAIT_POLICY": policy} if policy else {})
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([str(word) for word in command], cwd=self.folder, env=env, timeout=300, check=True,
                       stdin=subprocess.DEVNULL, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def test_waiting_threads_sleep_soon(self):
        # Many short stretches in parallel: the demo, of one frame.
        checkpoint = self.folder / "checkpoint"
        checkpoint.mkdir()
        for part in DEMO.iterdir():
            os.symlink(part, checkpoint / part.name)
        (checkpoint / "generation_config.json").unlink()
        defaults = json.loads((DEMO / "generation_config.json").read_text(encoding="utf-8"))
        (checkpoint / "generation_config.json").write_text(json.dumps({**defaults, "frame_num": 1, "sample_steps": 6}), encoding="utf-8")
        generate = ["generate", "--ckpt_dir", checkpoint, "--prompt", PROMPT, "--base_seed", "1", "--save_file", "a.png"]
        commands = {"program": [WAN, *generate], "behind an option": [WAN, "--verbose", *generate]}
        if EXAMPLE.exists():
            commands["library"] = [EXAMPLE, checkpoint, PROMPT, "b.png"]
        asleep = {WAN: self.processor_seconds("passive", *commands["program"])}
        if EXAMPLE.exists():
            asleep[EXAMPLE] = self.processor_seconds("passive", *commands["library"])
        for name, command in commands.items():
            with self.subTest(name):
                # With the OpenMP runtime's default spins it is five times as much and more.
                self.assertLess(self.processor_seconds(None, *command), 2 * asleep[command[0]])

    def test_the_process_keeps_its_name(self):
        with subprocess.Popen([WAN, "generate", "--ckpt_dir", DEMO, "--prompt", PROMPT, "--json"], cwd=self.folder,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.readline()
            self.assertEqual(Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8"), "wan\n")
            process.kill()


if __name__ == "__main__":
    unittest.main()
