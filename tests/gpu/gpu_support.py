"""What the GPU's tests from outside share beside tests/e2e/support.py."""

import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from support import UNSUPPORTED, run  # noqa: E402

SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def text_encoder_beside(checkpoint):
    """Options that name a packed text encoder which bench/random_checkpoint.py has put into an official folder."""
    return {"text_encoder": path for path in Path(checkpoint).glob("umt5*.gguf")}


def main(*plan):
    """unittest.main() where the program can do on its device what `plan`, arguments with --plan, asks for; otherwise skipped, or failed where
    WAN_REQUIRE_GPU is set."""
    result = run(*plan)
    if result.status == UNSUPPORTED:
        required = "WAN_REQUIRE_GPU" in os.environ
        print("failed:" if required else "skipped:", result.err.strip())
        sys.exit(1 if required else SKIPPED)
    unittest.main()
