"""Converts the demo checkpoint into every format that `wan convert` writes and back into bf16, and judges the videos of what came back.

    python -m tools.demo_model.evaluate_formats --wan build/apps/cli/wan --out DIR [--format NAME] [--list heldout|patterns] [--limit N] [-- WAN OPTIONS]

Folders and files that are already in --out stay as they are, so that a run cut off goes on. Exits with 1 when a format of eight
bits has more than two clips less than bf16 in a column of the table. Needs what evaluate.py needs.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from .evaluate import TARGETS

FORMATS = ("bf16", "fp8", "int8", "q8_0", "q4_0")
EIGHT_BITS = ("fp8", "int8", "q8_0")
COLUMNS = ("scene", "shape", "all")
MOST_LOST = 2


def convert(args, source, kind, target):
    """What is whole in `target` stays."""
    subprocess.run([args.wan, "convert", "--ckpt_dir", source, "--format", kind, target], check=True, stdout=subprocess.DEVNULL)
    return target


def counts_of(args, checkpoint, name, out):
    """What of a list's clips is right."""
    command = [sys.executable, "-m", "tools.demo_model.evaluate", "--wan", args.wan, "--ckpt_dir", checkpoint, "--out", out,
               "--list", name]
    command += ["--limit", str(args.limit)] if args.limit else []
    done = subprocess.run([*command, "--", *args.options], stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    if not lines or not lines[-1].startswith("{"):
        sys.exit(f"no scores of {checkpoint}")
    print("\n".join(lines), flush=True)
    return json.loads(lines[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan", type=Path, required=True, help="the program")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("models/demo"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoints and the MP4 files")
    parser.add_argument("--format", choices=FORMATS[1:], action="append", help="all when left out; bf16 is always there")
    parser.add_argument("--list", choices=tuple(TARGETS), action="append", help="both lists when left out")
    parser.add_argument("--limit", type=int, help="the first N prompts of each list")
    parser.add_argument("options", nargs="*", help="passed on to wan generate")
    args = parser.parse_args()
    scores = {}
    for kind in ("bf16", *(args.format or FORMATS[1:])):
        there = convert(args, args.ckpt_dir, kind, args.out / kind / "there")
        back = convert(args, there, "bf16", args.out / kind / "back")
        for name in args.list or TARGETS:
            scores[kind, name] = counts_of(args, back, name, args.out / kind)
    lost = []
    for name in args.list or TARGETS:
        print(f"\n{name:<10}" + "".join(f"{column:>8}" for column in COLUMNS))
        for kind in (kind for kind, of in scores if of == name):
            counts, best = scores[kind, name], scores["bf16", name]
            print(f"{kind:<10}" + "".join(f"{counts[column]:>8}" for column in COLUMNS))
            if kind in EIGHT_BITS:
                lost += [f"{kind}: {column}" for column in COLUMNS if best[column] - counts[column] > MOST_LOST]
    sys.exit(f"lost more than {MOST_LOST}: {', '.join(lost)}" if lost else 0)


if __name__ == "__main__":
    main()
