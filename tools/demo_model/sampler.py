"""Draws clips from the trained PyTorch models: Euler steps on the shifted noise levels, guidance, two experts."""

import torch

from .train_dit import BOUNDARY, SHIFT, sigma_of
from .train_text import tokenized
from .text_encoder import encode_prompts


@torch.no_grad()
def sample_latents(experts, encoder, tokenizer, texts, device, steps=20, guidance=(4.0, 4.0), seed=0, frames=17,
                   size=128, use="both", condition=None, boundary=BOUNDARY):
    """`experts`: {"high", "low"}; `guidance`: (low noise, high noise); `use`: both, high or low; `condition`: of the
    images, in image to video."""
    context = encode_prompts(encoder, *tokenized(tokenizer, texts, device))
    empty = encode_prompts(encoder, *tokenized(tokenizer, [""] * len(texts), device))
    shape = (len(texts), 16, (frames - 1) // 4 + 1, size // 8, size // 8)
    generator = torch.Generator("cpu").manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(device)
    sigmas = [*sigma_of(torch.linspace(1, 0, steps + 1)[:-1], SHIFT).tolist(), 0.0]
    for sigma, following in zip(sigmas[:-1], sigmas[1:]):
        level = "high" if sigma >= boundary else "low"
        dit = experts[level if use == "both" else use]
        t = torch.full((len(texts),), 1000 * sigma, device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            told, untold = dit(x, t, context, condition).float(), dit(x, t, empty, condition).float()
        scale = guidance[level == "high"]
        x = x + (following - sigma) * (untold + scale * (told - untold))
    return x


def to_frames(clips):
    """[B, 3, T, H, W] in [-1, 1] -> uint8 [B, T, H, W, 3], truncated as the engine does."""
    return ((clips.clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()
