"""The clips that the image-to-video experts learn from, as latents and conditions."""

import torch

from . import cube, world
from .condition import clip_condition
from .train_vae import channels_last
from .vae import normalised_encode

GIVEN = {"first": 0.6, "both": 0.25, "last": 0.15}  # shares of the clips, by which of their ends are given
IN_PALETTE = 0.4  # of the clips have colours of the palette


def drawn_clips(every, count, device, batch):
    """Batches of clips [batch, 3, T, H, W] and the rows [batch] of their words in `every`: in the palette and in the cube."""
    trained, _ = world.split_scenes()
    palette = world.Renderer(trained, device, draw=world.draw_motion_anywhere)
    row_of = {scene: row for row, scene in enumerate(every)}
    rows = torch.tensor([row_of[scene] for scene in trained], device=device)
    free = cube.CubeRenderer(every, device)
    generator = torch.Generator(device).manual_seed(404)
    frames = torch.arange(world.FRAMES, device=device)
    for begin in range(0, count, batch):
        size = min(batch, count - begin)
        inside = round(IN_PALETTE * size)
        index = torch.randint(len(trained), (inside,), generator=generator, device=device)
        clips, words = free(size - inside, frames, generator)
        yield torch.cat([palette(index, frames, generator), clips]), torch.cat([rows[index], words])


@torch.no_grad()
def encode_pairs(vae, every, count, device, batch=64):
    """Latents [count, 16, 5, 16, 16] and conditions [count, CHANNELS, 5, 16, 16] of the same clips, bf16, and the rows [count]
    of their words."""
    generator = torch.Generator(device).manual_seed(405)
    layout = torch.contiguous_format
    if device.type == "cuda":
        layout = torch.channels_last_3d
        channels_last(vae)
    latents, conditions, rows = [], [], []
    for clips, words in drawn_clips(every, count, device, batch):
        clips = clips.contiguous(memory_format=layout)
        draw = torch.rand(len(clips), generator=generator, device=device)
        first, last = draw < GIVEN["first"] + GIVEN["both"], draw >= GIVEN["first"]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            latents.append(normalised_encode(vae, clips).bfloat16())
            conditions.append(clip_condition(vae, clips, first, last).bfloat16())
        rows.append(words)
    return torch.cat(latents), torch.cat(conditions), torch.cat(rows)
