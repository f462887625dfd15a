"""The cases that image to video is judged by: a picture of a scene never trained, a sentence, what the clip has to show."""

import json
import random
from pathlib import Path

import numpy as np
import torch

from . import prompts, world
from .condition import to_8_bits
from .judge import FIELDS, box_of, foreground

HERE = Path(__file__).parent
ROOM = 20  # pixels between the shape and the edge that it turns to
LISTS = ("heldout", "turned")


def images_of(items):
    """First frames uint8 [n, H, W, 3] of clips of the items' scenes."""
    scenes = [world.Scene(*(item[field] for field in FIELDS)) for item in items]
    renderer = world.Renderer(scenes, draw=world.draw_motion_anywhere)
    frames = renderer(torch.arange(len(scenes)), torch.zeros(1), torch.Generator().manual_seed(9))[:, :, 0]
    return ((to_8_bits(frames) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


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


def cases(name):
    """[(item, image)]. "heldout": the sentences of prompts_heldout.json; "turned": the same pictures, another direction."""
    items = json.loads((HERE / "prompts_heldout.json").read_text())
    images = images_of(items)
    if name == "heldout":
        return list(zip(items, images))
    rng = random.Random(62)
    both = [(turned(item, image, rng), image) for item, image in zip(items, images)]
    return [(item, image) for item, image in both if item]


def psnr(frame, image):
    """dB, of two uint8 images."""
    error = np.square(frame.astype(np.float32) - image.astype(np.float32)).mean()
    return float(10 * np.log10(255 ** 2 / max(error, 1e-9)))


def first_frame_psnr(frames, images):
    """Of pairs of uint8 images: mean, lowest, and how many reach 28 dB."""
    values = [psnr(frame, image) for frame, image in zip(frames, images)]
    return {"mean": round(float(np.mean(values)), 2), "lowest": round(min(values), 2),
            "28_or_more": sum(value >= 28 for value in values)}
