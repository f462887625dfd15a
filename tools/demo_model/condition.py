"""What image to video adds to the noisy latents (Wan2.2 I2V-A14B): a mask, and the latents of the given frame alone."""

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
def image_condition(vae, images, frames=world.FRAMES):
    """images [B, 3, 1, H, W] in [-1, 1] -> [B, CHANNELS, F, H/8, W/8]: the first latent's mask is 1, and the VAE has
    seen the image followed by zeros (grey)."""
    grey = images.new_zeros(*images.shape[:2], frames - 1, *images.shape[3:])
    latents = normalised_encode(vae, torch.cat([images, grey], dim=2))
    mask = torch.zeros_like(latents[:, :TEMPORAL_STRIDE])
    mask[:, :, 0] = 1
    return torch.cat([mask, latents], dim=1)
