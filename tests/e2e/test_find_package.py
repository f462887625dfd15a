"""An installed wan serves find_package(wan): a consumer is configured, built and run."""

import os
import subprocess
import unittest
from pathlib import Path

from support import CHECKPOINT, WanTest, environment, read_png

BUILD = Path(os.environ.get("WAN_BUILD_DIR", "build"))
CONSUMER = Path(__file__).resolve().parent / "find_package"


def is_built():
    return (BUILD / "libwan.so").exists() and (BUILD / "apps/cli/wan").exists()


class FindPackage(WanTest):
    def call(self, *command):
        done = subprocess.run([str(word) for word in command], cwd=self.folder, env=environment(), timeout=500,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    @unittest.skipUnless(is_built(), "the library is not built")
    def test_consumer(self):
        prefix, build = self.folder / "prefix", self.folder / "build"
        self.call("cmake", "--install", BUILD, "--prefix", prefix)
        self.assertRegex(self.call(prefix / "bin/wan", "--version"), r"^wan \d")
        self.call("cmake", "-S", CONSUMER, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
        self.call("cmake", "--build", build)
        output = self.call(build / "consumer", CHECKPOINT, "still.png")
        self.assertRegex(output, r"^\d+\.\d+\.\d+ 1\n$")
        self.assertEqual(read_png(self.folder / "still.png")[:2], (32, 32))
        installed = [path.name for path in (prefix / "include").rglob("*.h")]
        self.assertEqual(sorted(installed), sorted(path.name for path in
                                                   (CONSUMER.parents[2] / "include").rglob("*.h")))


if __name__ == "__main__":
    unittest.main()
