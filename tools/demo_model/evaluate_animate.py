"""Runs the `wan` program over the cases of character animation, each alone and in a scene, and judges the MP4 files that it wrote.

    python -m tools.demo_model.evaluate_animate --wan build/apps/cli/wan --out DIR [--limit N] [-- OPTIONS]

Files that are in --out are judged as they are, so that a run cut off goes on. Exits with 1 when the scores miss the limits of
animate_judge.py: of all frames 90% with nine joints within 6 pixels of their points and with six colours that are the picture's, and every
scene within 30 dB outside the mask. Needs torch (which draws the cases) and the ffmpeg program.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from . import animate_cases, figures
from .animate_judge import judge, reached, summary
from .evaluate import generate
from .evaluate_i2v import write_image
from .judge import read_video

PROMPT = "A figure moves."


def make_video(args, number, sequence, case):
    """The path of the case's video, made where it is not there yet."""
    path = args.out / f"{case.name}.mp4"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=args.out) as folder:
            source, part = Path(folder) / "source", Path(folder) / "part.mp4"
            if args.raw:
                source.mkdir()
                animate_cases.write_video(animate_cases.driving_video(sequence), source / "driver.mp4", crf=16)
                write_image(source / "picture.png", case.picture)
                options = ["--video", source / "driver.mp4", "--image", source / "picture.png", "--resolution_area", 128, 128, "--fps", figures.FPS]
            else:
                animate_cases.write_folder(case, source)
                options = ["--src_root_path", source, *(["--replace_flag"] if case.replaces else [])]
            generate(args, "animate-14B", PROMPT, args.seed + number, part, *options)
            part.rename(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan", type=Path, required=True, help="the program")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("models/demo-animate"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the MP4 files")
    parser.add_argument("--limit", type=int, default=2 * animate_cases.COUNT, help="the first N videos")
    parser.add_argument("--raw", action="store_true", help="from raw videos, which the program preprocesses; alone only")
    parser.add_argument("--seed", type=int, default=0, help="of the first video; each next one adds 1")
    parser.add_argument("options", nargs="*", help="passed on to the program")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    every = {"alone": [], "replaces": []}
    for number in range(0, args.limit, 2 if args.raw else 1):
        sequence = animate_cases.numbers()[number // 2]
        case = animate_cases.make(sequence, number % 2 == 1)
        seen = judge(read_video(make_video(args, number, sequence, case)), case.given)
        every["replaces" if case.replaces else "alone"].append(seen)
        print(json.dumps({"file": case.name, **seen}), flush=True)
    totals = {name: summary(seen) for name, seen in every.items() if seen}
    print(json.dumps(totals))
    sys.exit(0 if all(reached(total) for total in totals.values()) else 1)


if __name__ == "__main__":
    main()
