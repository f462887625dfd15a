"""Makes what the training of character animation is given, with a program that a lent GPU may not have (sentencepiece): sentences through
the text encoder of `--base`, in a file of some 100 kB.

    python -m tools.demo_model.prepare_animate --out FILE [--base models/demo]
"""

import argparse
from pathlib import Path

from safetensors.torch import save_file

from .prepare_s2v import encode

OFFICIAL = "视频中的人在做动作"
WHO = ("a figure", "a doll", "a person", "somebody", "the character", "a puppet")
DOES = ("dances", "moves", "waves", "walks", "stretches", "jumps")


def sentences():
    """The empty one first, the official one next."""
    return ["", OFFICIAL, *(f"{who} {does}".capitalize() + "." for who in WHO for does in DOES)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("models/demo"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({"contexts": encode(args.base, sentences())}, args.out)


if __name__ == "__main__":
    main()
