"""Judges rendered clips of known scenes, as raw frames and as H.264 in yuv420p: both must be right throughout.

    python -m tools.demo_model.check_judge [--count 60]
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from . import world
from .judge import judge, read_video, score
from .sampler import to_frames


def encode(frames, path):
    subprocess.run(["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{world.SIZE}x{world.SIZE}",
                    "-r", str(world.FPS), "-i", "-", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)],
                   input=frames.tobytes(), check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    args = parser.parse_args()
    scenes = random.Random(3).sample(world.all_scenes(), args.count)
    clips = world.Renderer(scenes)(torch.arange(args.count), torch.arange(float(world.FRAMES)),
                                   torch.Generator().manual_seed(1))
    raw, coded = [], []
    with tempfile.TemporaryDirectory() as folder:
        for scene, frames in zip(scenes, to_frames(clips)):
            path = Path(folder) / f"{len(raw)}.mp4"
            encode(frames, path)
            raw.append((judge(frames), asdict(scene)))
            coded.append((judge(read_video(path)), asdict(scene)))
    print(json.dumps({"raw": score(raw), "h264": score(coded)}))
    sys.exit(0 if score(raw)["all"] == score(coded)["all"] == args.count else 1)


if __name__ == "__main__":
    main()
