"""Runs the `wan` program over the twenty cases of speech to video, and judges the MP4 files that it wrote, with their sound.

    python -m tools.demo_model.evaluate_s2v --wan build/apps/cli/wan --out DIR [--limit N] [-- OPTIONS]

Files that are in --out are judged as they are, so that a run cut off goes on. Exits with 1 when a video misses a demand of
speech_judge.py: a correlation of 0.8 and a lag of a frame at most between mouth and loudness, 26 dB of the given picture in every
frame outside the mouth, no jump across clips that is larger than those within them, a closed mouth in silence. Needs numpy, torch
(which draws the pictures) and the ffmpeg and espeak-ng programs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from . import s2v_cases
from .evaluate import generate
from .evaluate_i2v import write_image
from .judge import read_video
from .speech_judge import RATE, judge, read_sound, summary


def write_sound(path, sound):
    """[n] in [-1, 1] as a WAV file of 16 bits."""
    samples = np.round(np.clip(sound, -1, 1) * 32767).astype("<i2")
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "-", str(path)],
                   input=samples.tobytes(), check=True)


def make_video(args, number, case):
    """The path of the case's video, made where it is not there yet."""
    path = args.out / f"{number:02d}_{case.name}.mp4"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=args.out) as folder:
            picture, sound, part = (Path(folder) / name for name in ("picture.png", "sound.wav", "part.mp4"))
            write_image(picture, case.given.picture)
            write_sound(sound, case.sound)
            generate(args, "s2v-14B", case.prompt, args.seed + number, part, "--image", picture, "--audio", sound)
            part.rename(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan", type=Path, required=True, help="the program")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("models/demo-s2v"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the MP4 files")
    parser.add_argument("--limit", type=int, help="the first N cases")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; each next one adds 1")
    parser.add_argument("options", nargs="*", help="passed on to the program")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    every = []
    for number, case in enumerate(s2v_cases.cases()[:args.limit]):
        path = make_video(args, number, case)
        every.append(judge(read_video(path), read_sound(path), case.given))
        print(json.dumps({"file": path.name, **every[-1]}), flush=True)
    print(json.dumps(summary(every)))
    sys.exit(1 if any(seen["failed"] for seen in every) else 0)


if __name__ == "__main__":
    main()
