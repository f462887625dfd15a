"""Scores of image to video in PyTorch, without any engine: i2v_cases.py says of what."""

import json

import numpy as np
import torch

from . import i2v_cases, train_vae
from .condition import BOUNDARY, image_condition
from .judge import judge, score
from .sampler import to_frames
from .torch_scores import HERE, Models


def pixels(pictures, device):
    """uint8 [H, W, 3] each, or None -> [B, 3, 1, H, W] in [-1, 1], or None."""
    if pictures[0] is None:
        return None
    return torch.tensor(np.stack(pictures), device=device).permute(0, 3, 1, 2)[:, :, None] / 127.5 - 1


@torch.no_grad()
def scores(models, name, count, steps):
    """Of a list of cases: what the judge sees, and how near the given frames are to the pictures, through the VAE alone too."""
    some = i2v_cases.cases(name)[:count]
    first, last = (pixels([getattr(case, end) for case in some], models.device) for end in ("first", "last"))
    clips = models.clips([case.item["prompt"] for case in some], condition=image_condition(models.vae, first, last),
                         boundary=BOUNDARY, steps=steps)
    line = {**score([(judge(clip), case.item) for clip, case in zip(clips, some)]),
            **i2v_cases.psnr_of_given(name, some, clips)}
    if last is None:
        alone = to_frames(train_vae.reconstruct(models.vae, first))
        line["vae"] = i2v_cases.psnr_of_given(name, some, alone)["first_frame_psnr"]
    return line


def text_scores(models, name, count, steps):
    """What text to video makes of its list."""
    items = json.loads((HERE / f"prompts_{name}.json").read_text())[:count]
    clips = models.clips([item["prompt"] for item in items], steps=steps)
    return score([(judge(clip), item) for clip, item in zip(clips, items)])


def score_all(models, text_folder, vae_state, count, steps, log):
    """Of every list of image to video, and of text to video from `text_folder` with this VAE in place of its own."""
    torch.backends.cudnn.benchmark = False  # trying convolutions out costs more than these few clips
    for name in i2v_cases.LISTS:
        log({name: scores(models, name, count, steps)})
    text = Models(text_folder, models.device, vae_state)
    for name in ("heldout", "patterns"):
        log({"text_to_video": name, **text_scores(text, name, count, steps)})
