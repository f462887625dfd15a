"""What image to video adds to the noisy latents (Wan2.2 I2V-A14B): a mask, and the latents of the given frames alone."""

import torch

from . import world
from .vae import normalised_encode

TEMPORAL_STRIDE = 4
BOUNDARY = 0.9  # of the noise level, between the experts, as in the official configuration
CHANNELS = TEMPORAL_STRIDE + 16  # mask, latents


def to_8_bits(clips):
    """[-1, 1] rounded to the levels of an image file."""
    return ((clips.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@torch.no_grad()
def clip_condition(vae, clips, first, last):
    """clips [B, 3, T, H, W] in [-1, 1]; first, last: bool [B], whether that frame is given -> [B, CHANNELS, F, H/8, W/8].

    The VAE sees the given frames alone, the others grey. The mask is 1 where a frame is given: the first latent stands for
    one frame, which fills all of its places, the last latent's last place for the last frame.
    """
    given = torch.zeros_like(clips)
    given[:, :, 0] = clips[:, :, 0] * first.view(-1, 1, 1, 1)
    given[:, :, -1] += clips[:, :, -1] * last.view(-1, 1, 1, 1)
    latents = normalised_encode(vae, given)
    mask = torch.zeros_like(latents[:, :TEMPORAL_STRIDE])
    mask[:, :, 0] = first.view(-1, 1, 1, 1)
    mask[:, -1, -1] += last.view(-1, 1, 1)
    return torch.cat([mask, latents], dim=1)


def image_condition(vae, first=None, last=None, frames=world.FRAMES):
    """`first`, `last`: images [B, 3, 1, H, W] in [-1, 1], either of them or both -> as `clip_condition`."""
    images = first if first is not None else last
    clips = images.new_zeros(*images.shape[:2], frames, *images.shape[3:])
    for place, image in ((0, first), (-1, last)):
        if image is not None:
            clips[:, :, place] = image[:, :, 0]
    every = torch.ones(len(images), dtype=torch.bool, device=images.device)
    return clip_condition(vae, clips, every & (first is not None), every & (last is not None))
