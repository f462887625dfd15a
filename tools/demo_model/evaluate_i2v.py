"""Runs the `wan` program over pictures never trained, and judges the frames that it wrote.

    python -m tools.demo_model.evaluate_i2v --wan build/apps/cli/wan --out DIR [--list NAME] [--limit N] [-- OPTIONS]

i2v_cases.py says what the lists are. The frames are lossless: H.264 in yuv420p alone, on these colours, may leave less than
29 dB of a picture. Cases whose frames are in --out are judged as they are, so that a run cut off goes on. Exits with 1 when
the scores miss the targets: in every case 28 dB or more (26 outside the palette or with a last picture) between a given
picture and its frame, and the direction right in 90% of them. Needs numpy, torch (which draws the pictures) and the ffmpeg
program.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from . import i2v_cases
from .evaluate import generate, report_mistakes
from .judge import judge, read_video, score


def write_image(path, pixels):
    """uint8 [H, W, 3] as a PNG file."""
    height, width = pixels.shape[:2]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
                    "-i", "-", "-update", "1", str(path)], input=pixels.tobytes(), check=True)


def frames_of(args, name, number, case):
    """What the program makes of a case: uint8 [T, H, W, 3]."""
    folder = args.out / f"{name}_{number:02d}"
    if not folder.exists():
        # The folder gets its name when all is in it.
        with tempfile.TemporaryDirectory(dir=args.out) as part:
            frames = Path(part) / "frames"
            frames.mkdir()
            given = []
            for option, picture in (("--image", case.first), ("--last_image", case.last)):
                if picture is not None:
                    path = Path(part) / f"{option[2:]}.png"
                    write_image(path, picture)
                    given += [option, path]
            generate(args, "i2v-A14B", case.item["prompt"], args.seed + number, frames / "%05d.png", *given)
            frames.rename(folder)
    return read_video(folder / "%05d.png")


def evaluate(args, name):
    cases = i2v_cases.cases(name)[:args.limit]
    pairs, clips = [], []
    for number, case in enumerate(cases):
        clips.append(frames_of(args, name, number, case))
        pairs.append((judge(clips[-1]), case.item))
        report_mistakes(f"{name}_{number:02d}", *pairs[-1])
    counts, given = score(pairs), i2v_cases.psnr_of_given(name, cases, clips)
    print(json.dumps({"list": name, **counts, **given}), flush=True)
    reached = f"{i2v_cases.LEAST_PSNR[name]}_or_more"
    return all(of[reached] == of["of"] for of in given.values()) and counts["direction"] >= 0.9 * len(cases)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan", type=Path, required=True, help="the program")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("models/demo-i2v"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the frames")
    parser.add_argument("--list", choices=i2v_cases.LISTS, action="append", help="all lists when left out")
    parser.add_argument("--limit", type=int, help="the first N cases of each list")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; each next one adds 1")
    parser.add_argument("options", nargs="*", help="passed on to the program")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    reached = [evaluate(args, name) for name in args.list or i2v_cases.LISTS]
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
