"""Processes of mpirun, a GPU each: the video of one GPU, by NCCL and through the hosts' memory, and an end for all when one ends.

    WAN_BINARY=build-cuda/apps/cli/wan python3 -B tests/gpu/test_processes.py

The standard library alone. Skipped with fewer than two GPUs or without mpirun; with WAN_REQUIRE_GPU set, that fails.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from support import SOURCE, WAN, environment, read_npy, run  # noqa: E402

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
DEVICE = 72   # exit status
CLOSE = {"fp32": 2e-5, "bf16": 4e-2}  # of the latents' root mean square, as in ranks_test.cpp
ENDS = 60  # seconds after one process was stopped
MPIRUN = shutil.which("mpirun")
MPI = [MPIRUN, "--oversubscribe", "--bind-to", "none", "-np", "2"]
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def relative_rms(a, b):
    difference = sum((x - y) ** 2 for x, y in zip(a, b))
    return (difference / sum(x * x for x in b)) ** 0.5


class Processes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="wan-processes-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def arguments(self, name, **options):
        options = {"task": "t2v-A14B", "ckpt_dir": SOURCE / "models/demo", "device": "cuda", "size": "128*112", "frame_num": 13,
                   "sample_steps": 4, "base_seed": 1, "prompt": "a red circle moves right on a blue background", "dump": name,
                   "save_file": f"{name}_%05d.png", **options}
        return ["generate", *(text for key, value in options.items() if value is not None for text in ("--" + key, str(value))), "--json"]

    def start(self, name, **options):
        tag = {**AS_ROOT, "WAN_TEST": str(os.getpid())}
        return subprocess.Popen([*MPI, WAN, *self.arguments(name, **options)], cwd=self.folder, env=environment(tag),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def latents(self, name):
        return read_npy(self.folder / name / "latents.npy").values

    def together(self, name, way, **options):
        process = self.start(name, **options)
        out, err = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, err)
        notices = [event["message"] for event in map(json.loads, out.splitlines()) if event["event"] == "notice"]
        self.assertTrue(any(way in notice for notice in notices), notices)
        return self.latents(name)

    def test_the_video_of_one(self):
        for precision, close in CLOSE.items():
            name = "alone-" + precision
            result = run(*self.arguments(name, precision=precision), cwd=self.folder)
            self.assertEqual(result.status, 0, result.err)
            expected = self.latents(name)
            for guidance in ("off", "on"):
                for p2p, way in (("auto", "NCCL"), ("off", "MPI")):
                    with self.subTest(precision=precision, guidance=guidance, p2p=p2p):
                        made = self.together(f"{precision}-{guidance}-{p2p}", way, precision=precision, p2p=p2p,
                                             guidance_parallel=guidance)
                        self.assertLess(relative_rms(made, expected), close)

    def test_a_stopped_process_ends_the_other(self):
        process = self.start("long", dump=None, sample_steps=1000, sample_solver="euler", keep_every=0)
        for line in process.stdout:
            if '"step":2,' in line:
                break
        else:
            self.fail(process.communicate()[1])
        children = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and self.is_second(folder)]
        self.assertEqual(len(children), 1)
        start = time.monotonic()
        os.kill(children[0], signal.SIGSTOP)  # mpirun ends its job itself where one is killed
        try:
            out, err = process.communicate(timeout=ENDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(children[0], signal.SIGKILL)
        self.assertEqual(process.returncode, DEVICE, err)
        self.assertIn("has not answered", out)
        self.assertLess(time.monotonic() - start, ENDS)
        self.assertTrue((self.folder / "long_%05d.png.latents.safetensors").exists(), sorted(self.folder.iterdir()))

    @staticmethod
    def is_second(folder):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            return (folder / "exe").readlink().name == "wan" and b"OMPI_COMM_WORLD_RANK=1" in variables and (
                f"WAN_TEST={os.getpid()}".encode() in variables)
        except OSError:
            return False


def main():
    devices = json.loads(run("doctor", "--json").out)["devices"]
    if len(devices) < 2 or MPIRUN is None:
        print(f"{len(devices)} GPUs, mpirun: {MPIRUN}")
        sys.exit(1 if os.environ.get("WAN_REQUIRE_GPU") else SKIPPED)
    unittest.main()


if __name__ == "__main__":
    main()
