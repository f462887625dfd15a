"""The cases that image to video is judged by: the given pictures, a sentence, what the clip has to show."""

import json
import random
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
import torch

from . import cube, prompts, world
from .condition import to_8_bits
from .judge import FIELDS, box_of, foreground, nearest_colour

HERE = Path(__file__).parent
ROOM = 20  # pixels between the shape and the edge that it turns to
RANDOM_COLOURS = 24  # cases of "cube" beside those of its corners
OF_EACH = 20  # cases of "both" and "last" in the palette, and as many in colours of the cube
LEAST_PSNR = {"heldout": 28, "turned": 28, "cube": 26, "both": 26, "last": 26}  # dB, of a given frame
LISTS = tuple(LEAST_PSNR)


@dataclass(frozen=True)
class Case:
    item: dict  # the judge's fields, and the prompt
    first: np.ndarray | None = None  # uint8 [H, W, 3]
    last: np.ndarray | None = None


def ends_of(scenes, seed, colours=None):
    """First and last frames uint8 [n, 2, H, W, 3] of clips of the scenes; `colours`: of shapes and backgrounds, [n, 3] each in
    [-1, 1], in place of the palette's."""
    renderer = world.Renderer(scenes, draw=world.draw_motion_anywhere)
    if colours:
        renderer.colour, renderer.background = colours
    ends = torch.tensor([0.0, world.FRAMES - 1])
    frames = renderer(torch.arange(len(scenes)), ends, torch.Generator().manual_seed(seed))
    return ((to_8_bits(frames) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()


def room(image):
    """{direction: pixels from the shape to that edge}."""
    frames = image[None].astype(np.float32)
    masks, _ = foreground(frames, frames[0, 0, 0])  # no shape reaches the corner
    top, bottom, left, right = box_of(masks[0])
    height, width = image.shape[:2]
    return {"left": left, "right": width - right, "up": top, "down": height - bottom}


def turned(item, image, rng):
    """The item, its sentence asking for another direction that the picture leaves room for; None where there is none."""
    free = [direction for direction, pixels in room(image).items() if pixels >= ROOM and direction != item["direction"]]
    if not free:
        return None
    scene = world.Scene(item["colour"], item["shape"], rng.choice(free), item["background"])
    sentence = prompts.dress(prompts.fill(rng.choice(prompts.TRAINED), scene, rng), rng)
    return {**item, "direction": scene.direction, "prompt": sentence}


def cube_colours():
    """Of shapes and backgrounds, [n, 3] each in [-1, 1]: every two corners of the cube, and random ones; mixed."""
    corners = torch.tensor(list(product((-1.0, 1.0), repeat=3)))
    pairs = torch.tensor(list(permutations(range(8), 2)))
    generator = torch.Generator().manual_seed(63)
    anywhere = torch.stack(cube.colour_pairs(generator, RANDOM_COLOURS, "cpu"), dim=1)
    both = torch.cat([corners[pairs], anywhere])[torch.randperm(len(pairs) + RANDOM_COLOURS, generator=generator)]
    return both[:, 0], both[:, 1]


def in_the_cube():
    """[(item, its clip's first and last frame)] in those colours; a third of the sentences name none."""
    rng = random.Random(64)
    colours = cube_colours()
    words = [[nearest_colour(((colour + 1) * 127.5).numpy()) for colour in part] for part in colours]
    scenes = [world.Scene(colour, world.SHAPES[i % 4], rng.choice(tuple(world.DIRECTIONS)), background)
              for i, (colour, background) in enumerate(zip(*words))]
    patterns = [prompts.COLOURLESS if i % 3 == 2 else prompts.TRAINED for i in range(len(scenes))]
    items = [{**{field: getattr(scene, field) for field in FIELDS},
              "prompt": prompts.dress(prompts.fill(rng.choice(pattern), scene, rng), rng)}
             for scene, pattern in zip(scenes, patterns)]
    return list(zip(items, ends_of(scenes, 65, colours)))


def in_the_palette():
    """As `in_the_cube`, of the combinations never trained."""
    items = json.loads((HERE / "prompts_heldout.json").read_text())
    return list(zip(items, ends_of([world.Scene(*(item[field] for field in FIELDS)) for item in items], 9)))


def cases(name):
    """"heldout": the sentences of prompts_heldout.json; "turned": the same pictures, another direction; "cube": colours outside
    the palette; "both" and "last": pictures of both lists at both ends of the clip, or at its end alone."""
    if name == "heldout":
        return [Case(item, first) for item, (first, _) in in_the_palette()]
    if name == "turned":
        rng = random.Random(62)
        both = [(turned(item, first, rng), first) for item, (first, _) in in_the_palette()]
        return [Case(item, first) for item, first in both if item]
    if name == "cube":
        return [Case(item, first) for item, (first, _) in in_the_cube()]
    mixed = [pair for two in zip(in_the_palette()[:OF_EACH], in_the_cube()[:OF_EACH]) for pair in two]
    return [Case(item, first if name == "both" else None, last) for item, (first, last) in mixed]


def psnr(frame, image):
    """dB, of two uint8 images."""
    error = np.square(frame.astype(np.float32) - image.astype(np.float32)).mean()
    return float(10 * np.log10(255 ** 2 / max(error, 1e-9)))


def psnr_of_given(name, some, clips):
    """Of the cases' given frames in clips [T, H, W, 3]: {"first_frame_psnr", "last_frame_psnr"} where given, each with the
    mean, the lowest, and how many reach what the list asks for."""
    result = {}
    for end, place in (("first", 0), ("last", -1)):
        values = [psnr(clip[place], getattr(case, end)) for case, clip in zip(some, clips)
                  if getattr(case, end) is not None]
        if values:
            least = LEAST_PSNR[name]
            result[f"{end}_frame_psnr"] = {"mean": round(float(np.mean(values)), 2), "lowest": round(min(values), 2),
                                           f"{least}_or_more": sum(value >= least for value in values),
                                           "of": len(values)}
    return result
