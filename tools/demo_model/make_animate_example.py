"""Draws the folder that is bundled with the character animation demo, as the official preprocessing leaves one, with `driver.mp4`, the video
before preprocessing, and `points.json`: what the end-to-end test looks for.

    python -m tools.demo_model.make_animate_example --out models/demo-animate/example

Neither character nor poses were trained. Needs the ffmpeg program.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from . import animate_cases, figures
from .animate_judge import LIMBS, parts_of, seen_of

NUMBER = 1004  # past the cases; its left arm goes far
FRAMES = figures.CLIP


def looked_for(given, frames):
    """Colours; the box that all masks lie in, and the scene's colours in blocks of 8x8; of each frame and part where its middle is and where
    it is seen if no other part hides it and, of a limb, its ends."""
    every = []
    for index, frame in enumerate(frames):
        parts = parts_of(frame, given)
        seen = []
        for part in range(len(figures.PARTS)):
            places = np.argwhere(parts == part)[:, ::-1]
            # Eight of the places that lie in its middle.
            inner = seen_of(given.points[index], part).astype(int)
            one = {"middle": places.mean(0).round(1).tolist(), "seen": inner[:: max(-(-len(inner) // 8), 1)].tolist()}
            if part in LIMBS:
                one["root"], one["end"] = (given.points[index][LIMBS[part][i]].astype(float).round(1).tolist() for i in (0, 2))
            seen.append(one)
        every.append(seen)
    inside = np.argwhere(~given.outside.all(0))
    (top, left), (bottom, right) = inside.min(0).tolist(), inside.max(0).tolist()
    scene = given.scene.reshape(16, 8, 16, 8, 3).mean((1, 3)).round().astype(int)
    return {"colours": given.colours.round().astype(int).tolist(), "box": [left, top, right, bottom], "scene": scene.tolist(),
            "frames": every}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=NUMBER)
    args = parser.parse_args()
    # Alone and in a scene it is the same figure; the picture's own scene is another than the video's.
    case = animate_cases.make(args.number, True, FRAMES)
    animate_cases.write_folder(case, args.out)
    animate_cases.write_video(animate_cases.driving_video(args.number, FRAMES), args.out / "driver.mp4", crf=16)
    drawn = animate_cases.drawn_video(args.number, True, FRAMES)
    text = json.dumps(looked_for(case.given, drawn), separators=(",", ":")).replace('[{"middle"', '\n[{"middle"')
    (args.out / "points.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
