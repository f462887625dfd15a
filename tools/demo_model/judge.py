"""Reads MP4 clips and says which shape of which colour moves where, over which background.

    python -m tools.demo_model.judge LIST.json

LIST.json: [{"file": "a.mp4", "colour": ..., "shape": ..., "direction": ..., "background": ...}, ...]; paths are relative
to the list. Prints one line a clip and the scores. Needs numpy and the ffmpeg program; knows nothing of how the clips
were made but the palette and the outlines of the four shapes.
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np

from .world import PALETTE, SHAPES, outline

FIELDS = ("colour", "shape", "direction", "background")
NAMES = tuple(PALETTE)
COLOURS = np.array([PALETTE[name] for name in NAMES], dtype=np.float32)
GRID = 48  # cells a side in which outlines are compared
SMALLEST_AREA = 150  # pixels; less is no shape
SHORTEST_WAY = 8.0  # pixels from the first to the last frame; less is no motion
WORST_OVERLAP = 0.7  # intersection over union with the best of the four outlines


def read_video(path):
    """uint8 [T, H, W, 3]."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0",
         str(path)], check=True, capture_output=True, text=True).stdout
    width, height = (int(part) for part in probe.strip().strip(",").split(",")[:2])
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                         check=True, capture_output=True).stdout
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, height, width, 3)


def nearest_colour(rgb):
    return NAMES[int(np.argmin(np.square(COLOURS - rgb).sum(-1)))]


def inside(corners, x, y):
    """Whether points lie in a polygon: an odd number of edges crossed by a ray to the right."""
    odd = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1]):
        if ay != by:
            odd ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return odd


def templates():
    """Each outline, stretched to fill a GRID x GRID box."""
    axis = (np.arange(GRID) + 0.5) / GRID
    x, y = np.meshgrid(axis, axis)
    result = {}
    for shape in SHAPES:
        corners = outline(shape)
        if corners is None:
            result[shape] = np.square(x - 0.5) + np.square(y - 0.5) < 0.25
            continue
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        result[shape] = inside([tuple((np.array(c) - low) / (high - low)) for c in corners], x, y)
    return result


TEMPLATES = templates()


def box_of(mask):
    """(top, bottom, left, right) of the rows and columns with more than one pixel set."""
    rows, columns = np.flatnonzero(mask.sum(1) > 1), np.flatnonzero(mask.sum(0) > 1)
    return (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) and len(columns) else None


def overlaps(mask):
    """Intersection over union of a mask, cut to its box, with each outline."""
    box = box_of(mask)
    if box is None:
        return dict.fromkeys(SHAPES, 0.0)
    top, bottom, left, right = box
    steps = (np.arange(GRID) + 0.5) / GRID
    rows, columns = (top + steps * (bottom - top)).astype(int), (left + steps * (right - left)).astype(int)
    cut = mask[np.ix_(rows, columns)]
    return {shape: (cut & t).sum() / (cut | t).sum() for shape, t in TEMPLATES.items()}


def foreground(frames, background):
    """Masks of what is nearer to the shape's colour than to the background, and that colour (None: no shape)."""
    away = np.sqrt(np.square(frames - background).sum(-1))
    level = np.percentile(away, 98)
    if level < 40:  # of 441: nothing stands out
        return None, None
    core = frames[away > 0.8 * level]
    colour = np.median(core, axis=0)
    along = colour - background
    place = ((frames - background) @ along) / np.square(along).sum()
    return place > 0.5, colour


def direction_of(masks):
    areas = masks.sum((1, 2))
    seen = np.flatnonzero(areas > SMALLEST_AREA)
    if len(seen) < 0.7 * len(masks):
        return None
    y, x = np.indices(masks.shape[1:])
    centres = np.array([[(masks[i] * axis).sum() / areas[i] for axis in (x, y)] for i in seen])
    slope = np.polyfit(seen, centres, 1)[0] * (len(masks) - 1)  # pixels over the whole clip
    axis = int(np.argmax(np.abs(slope)))
    if abs(slope[axis]) < SHORTEST_WAY or abs(slope[axis]) < 2 * abs(slope[1 - axis]):
        return None
    return (("left", "right"), ("up", "down"))[axis][int(slope[axis] > 0)]


def judge(frames):
    """uint8 [T, H, W, 3] -> {"colour", "shape", "direction", "background"}, None where nothing clear is seen."""
    frames = np.asarray(frames, dtype=np.float32)
    edge = np.concatenate([frames[:, :3].reshape(-1, 3), frames[:, -3:].reshape(-1, 3),
                           frames[:, :, :3].reshape(-1, 3), frames[:, :, -3:].reshape(-1, 3)])
    background = np.median(edge, axis=0)
    seen = dict.fromkeys(FIELDS)
    seen["background"] = nearest_colour(background)
    masks, colour = foreground(frames, background)
    if masks is None or masks.sum() < SMALLEST_AREA * len(masks):
        return seen
    seen["colour"] = nearest_colour(colour)
    seen["direction"] = direction_of(masks)
    every = [overlaps(mask) for mask in masks if mask.sum() > SMALLEST_AREA]
    middle = {shape: float(np.median([o[shape] for o in every])) for shape in SHAPES}
    best = max(middle, key=middle.get)
    if middle[best] >= WORST_OVERLAP:
        seen["shape"] = best
    return seen


def score(pairs):
    """Counts from (seen, expected) pairs; `scene` is colour, background and direction all right."""
    right = [{field: seen[field] == expected[field] for field in FIELDS} for seen, expected in pairs]
    counts = {field: sum(r[field] for r in right) for field in FIELDS}
    counts["scene"] = sum(r["colour"] and r["background"] and r["direction"] for r in right)
    counts["all"] = sum(all(r.values()) for r in right)
    counts["clips"] = len(right)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    args = parser.parse_args()
    pairs = []
    for item in json.loads(args.list.read_text()):
        seen = judge(read_video(args.list.parent / item["file"]))
        pairs.append((seen, item))
        wrong = [f"{field} {seen[field]}, not {item[field]}" for field in FIELDS if seen[field] != item[field]]
        print(f"{item['file']}: {'; '.join(wrong) or 'right'}")
    print(json.dumps(score(pairs)))


if __name__ == "__main__":
    main()
