"""Fifty requests of mixed sizes in one run on a GPU: weights loaded once, the GPU's and the host's memory flat, every video the one made alone.

    WAN_BINARY=build-cuda/apps/cli/wan python3 -B tests/gpu/test_requests.py

The standard library alone, and nvidia-smi where there is one. Skipped where no GPU can be used; with WAN_REQUIRE_GPU set, that fails. To
try the test itself without a GPU: WAN_TEST_DEVICE=cpu.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from gpu_support import main  # noqa: E402
from support import SOURCE, WAN, environment, run  # noqa: E402

DEVICE = os.environ.get("WAN_TEST_DEVICE", "cuda")
CHECKPOINT = SOURCE / "models/demo"
COUNT = 50
SIZES = ["128*128", "64*64", "192*128", "96*160", "256*256"]
FRAMES = [17, 1, 9, 5]
WARM = len(SIZES) * len(FRAMES)  # then each size was made with each number of frames
GPU_SLACK = 32 << 20   # the driver gives memory in such pieces
HOST_SLACK = 16 << 20  # what the heap keeps of a run depends on the order of its threads


def defaults(**options):
    options = {"task": "t2v-A14B", "ckpt_dir": CHECKPOINT, "device": DEVICE, "sample_steps": 2,
               "prompt": "a red circle moves right on a blue background", **options}
    return ["generate", *(text for name, value in options.items() for text in ("--" + name, str(value)))]


def line(number):
    frames = FRAMES[number % len(FRAMES)]
    return {"size": SIZES[number % len(SIZES)], "frame_num": frames, "base_seed": number,
            "save_file": f"{number}.png" if frames == 1 else f"{number}_%05d.png"}  # a build may lack FFmpeg, which .mp4 needs


def gpu_bytes():
    """Of all that use the GPU; None where nobody tells."""
    if DEVICE == "cpu":
        return None
    try:
        told = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"],
                              capture_output=True, text=True, check=True, timeout=20).stdout
        return int(told.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def host_bytes(process):
    """What the process has for itself alone."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return next(int(row.split()[1]) * 1024 for row in status.splitlines() if row.startswith("RssAnon"))


class Requests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="wan-requests-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def assert_flat(self, title, values, slack):
        known = [value for value in values if value is not None]
        if len(known) < len(values) or not known:
            print(f"{title}: not known")
            return
        before, after = max(known[:WARM]), max(known[WARM:])
        print(f"{title}: at most {before / 1e6:.1f} MB in the first {WARM}, then {after / 1e6:.1f} MB")
        self.assertLessEqual(after, before + slack, (title, [value >> 20 for value in known]))

    def frames(self, number):
        return [path.read_bytes() for path in sorted([*self.folder.glob(f"{number}.png"), *self.folder.glob(f"{number}_*.png")])]

    def make_fifty(self, **options):
        (self.folder / "requests.jsonl").write_text("".join(json.dumps(line(number)) + "\n" for number in range(COUNT)),
                                                    encoding="utf-8")
        process = subprocess.Popen([WAN, *defaults(requests="requests.jsonl", **options), "--json"], cwd=self.folder,
                                   env=environment(), stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        loads, held, gpu, host = 0, [], [], []
        for text in process.stdout:
            event = json.loads(text)
            loads += event["event"] == "phase_started" and event["phase"] == "load"
            if event["event"] == "request_started":
                held.append(0)
            if event.get("device_memory"):
                held[-1] = max(held[-1], event["device_memory"]["used"])
            if event["event"] == "finished":
                gpu.append(gpu_bytes())
                host.append(host_bytes(process))
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual((len(gpu), loads), (COUNT, 1))
        self.assert_flat("the GPU's memory that the program gave out", held, 0)
        self.assert_flat("the GPU's memory", gpu[:-1], GPU_SLACK)  # behind the last one the process ends: 160 MB more were seen then
        self.assert_flat("the host's memory", host, HOST_SLACK)

    def test_memory_is_flat_and_videos_are_those_made_alone(self):
        self.make_fifty()
        for number in (0, 13, 24, COUNT - 1):
            options = line(number)
            made = self.frames(number)
            self.assertEqual(len(made), options["frame_num"])
            result = run(*defaults(**options), cwd=self.folder)
            self.assertEqual(result.status, 0, result.err)
            self.assertEqual(self.frames(number), made, options)

    def test_memory_is_flat_where_blocks_are_streamed(self):
        self.make_fifty(residency="streamed")


if __name__ == "__main__":
    main(*defaults(size="64*64", frame_num=1, save_file="a.png"), "--plan")
