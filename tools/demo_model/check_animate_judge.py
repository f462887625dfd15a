"""Judges drawn videos of the cases, right ones and wrong ones: the judge must tell them apart.

    python -m tools.demo_model.check_animate_judge [--limit N]

Right ones as MP4 files. Wrong ones: the figure is 9 pixels off, stands still, moves as in another case, has the colours of its arms exchanged, or the scene is 10
levels darker. Needs torch and the ffmpeg program.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from . import animate_cases
from .animate_judge import judge, reached, summary
from .judge import read_video


def as_file(frames):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        animate_cases.write_video(frames, path)
        return read_video(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=animate_cases.COUNT)
    args = parser.parse_args()
    right, wrong = [], {}
    numbers = animate_cases.numbers()
    for index, number in enumerate(numbers[:args.limit]):
        case = animate_cases.make(number, True)
        given = case.given
        draw = lambda **other: animate_cases.drawn_video(number, True, **other)  # noqa: E731,B023
        drawn = draw()
        right.append(judge(as_file(drawn), given))
        exchanged = given.colours[[0, 1, 3, 2, 4, 5]]
        other = animate_cases.make(numbers[index - 1], True).given.points
        for fault, demand, frames in (("9 pixels off", "joints", draw(points=given.points + [9.0, 0.0])),
                                      ("stands still", "joints", draw(points=given.points[:1].repeat(len(given.points), 0))),
                                      ("another sequence", "joints", draw(points=other)),
                                      ("arms exchanged", "colours", draw(colours=exchanged)),
                                      ("a darker scene", "scene", (drawn.astype(int) - 10).clip(0, 255).astype(np.uint8))):
            wrong.setdefault(fault, []).append(demand in judge(as_file(frames), given)["failed"])
    total = summary(right)
    print(json.dumps({"right": total, "failed": [seen["failed"] for seen in right if seen["failed"]]}))
    print(json.dumps({"caught": {fault: f"{sum(values)} of {len(values)}" for fault, values in wrong.items()}}))
    sys.exit(0 if reached(total) and all(all(values) for values in wrong.values()) else 1)


if __name__ == "__main__":
    main()
