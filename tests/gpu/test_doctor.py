"""wan doctor on a machine with GPUs: what it says of them, their links and what fits.

    WAN_BINARY=build-cuda/apps/cli/wan python3 -B tests/gpu/test_doctor.py

The standard library alone. Skipped where no GPU can be used; with WAN_REQUIRE_GPU set, that fails.
"""

import json
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from support import SOURCE, run  # noqa: E402

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
SLOWEST = 1e9  # bytes a second of any link that a GPU has


class Doctor(unittest.TestCase):
    report = None

    def test_versions(self):
        cuda = self.report["cuda"]
        self.assertTrue(cuda["built"])
        self.assertEqual(cuda["reason"], "")
        self.assertGreaterEqual(cuda["driver_cuda"], cuda["runtime"] // 1000 * 1000)
        self.assertGreaterEqual(cuda["cudnn"], 90000)
        self.assertRegex(cuda["driver"], r"\d+\.\d+|^$")
        self.assertEqual(cuda["between_processes"], "mpi" if cuda["nccl_reason"] else "nccl")
        self.assertEqual(cuda["nccl_reason"] == "", cuda["nccl"] >= 21400)

    def test_devices(self):
        for device in self.report["devices"]:
            self.assertGreater(device["memory"], device["free"])
            self.assertEqual(device["unusable"], "")
            self.assertGreater(device["upload_bytes_per_second"], SLOWEST)
            self.assertRegex(device["bus"], r"^[0-9A-Fa-f]+:[0-9A-Fa-f]{2}:")

    def test_links(self):
        count = len(self.report["devices"])
        self.assertEqual(len(self.report["pairs"]), count * (count - 1))
        for pair in self.report["pairs"]:
            self.assertEqual(pair["failure"], "")
            self.assertTrue(pair["equal"])
            self.assertGreater(pair["bytes_per_second"], 20e9 if pair["link"] == "NVLink" else SLOWEST)
        for exchange in (self.report["exchange"], self.report["exchange_by_host"]) if count > 1 else ():
            self.assertEqual((exchange["ranks"], exchange["failure"], exchange["equal"]), (count, "", True))
            self.assertGreater(exchange["bytes_per_second"], SLOWEST)

    def test_layouts(self):
        count = len(self.report["devices"])
        self.assertLessEqual({"t2v-A14B", "i2v-A14B", "ti2v-5B", "s2v-14B"}, {video["task"] for video in self.report["videos"]})
        for video in self.report["videos"]:
            self.assertIn(count, [layout["gpus"] for layout in video["layouts"]])

    def test_status_and_text(self):
        result = run("doctor", "--ckpt_dir", SOURCE / "models/demo")
        bad = [problem for problem in self.report["problems"] if not problem["advice"]]
        self.assertEqual(result.status == 0, bad == [], result.out)
        for words in ("CUDA         ", "cuda:0 ", "t2v-A14B, whole", "What fits on "):
            self.assertIn(words, result.out)
        print(result.out)


def main():
    result = run("doctor", "--json")
    Doctor.report = json.loads(result.out)
    if not Doctor.report["devices"]:
        print("no GPU can be used: " + Doctor.report["cuda"]["reason"])
        sys.exit(1 if os.environ.get("WAN_REQUIRE_GPU") else SKIPPED)
    unittest.main()


if __name__ == "__main__":
    main()
