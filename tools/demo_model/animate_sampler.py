"""Clips of character animation from the PyTorch models (Euler steps; UniPC is left to the engine)."""

import numpy as np
import torch
from PIL import Image

from . import animate_clips, figures
from .animate_clips import KINDS, boxes
from .animate_judge import Given, judge, summary
from .train_dit import sigma_of
from .vae import normalised_decode

SHIFT = 5.0


@torch.no_grad()
def sample(dit, data, context, steps, generator):
    """`data`: of animate_clips.encode -> the clips' latents [B, 16, F - 1, h, w]."""
    device = context.device
    x = torch.randn(data["target"].shape, generator=generator).to(device)
    faces = data["faces"].float() / 127.5 - 1
    sigmas = sigma_of(torch.linspace(1, 0, steps + 1), SHIFT).tolist()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        motion = dit.motion_encoder(torch.nn.functional.interpolate(faces.flatten(0, 1), size=animate_face_side(dit), mode="bilinear"))
        motion = motion.unflatten(0, faces.shape[:2])
        for sigma, following in zip(sigmas[:-1], sigmas[1:]):
            t = torch.full((len(x),), 1000 * sigma, device=device)
            velocity = dit(x, t, context.expand(len(x), -1, -1), data["condition"].float(), data["pose"].float(), motion,
                           data["image"].float())
            x = x + (following - sigma) * velocity.float()
    return x[:, :, 1:]


def animate_face_side(dit):
    return 4 << (len(dit.motion_encoder.enc.net_app.convs) - 2)


def levels(clips):
    """[B, 3, T, H, W] in [-1, 1] -> uint8 [B, T, H, W, 3]."""
    return ((clips.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()


def given_of(drawn, number, replaces):
    """What the judge knows of one of the clips that animate_clips.draw_scenes_and_figures has drawn."""
    points = drawn["points"][number].cpu()
    outside = ~boxes(points).numpy() if replaces else None
    return Given(points=points.numpy(), colours=((drawn["looks"].colours[number].cpu() + 1) * 127.5).numpy(),
                 scene=levels(drawn["scene"][number:number + 1, :, None])[0, 0], outside=outside)


@torch.no_grad()
def show(vae, dit, tower, table, path, count, size, steps=20):
    """Draws a sheet of held-out clips, the drawn and the made, and returns what the two differ by in dB and what the judge sees in the made ones."""
    device = table.device
    torch.manual_seed(31)
    data = animate_clips.encode(vae, tower, count, device, seed=909, batch=count, size=size)
    made = sample(dit, data, table[1:2].float(), steps, torch.Generator().manual_seed(5))
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        made, best = normalised_decode(vae, made), normalised_decode(vae, data["target"][:, :, 1:].float())
    generator = torch.Generator(device).manual_seed(909)
    drawn = animate_clips.draw_scenes_and_figures(count, figures.CLIP, generator, device, size)
    figure = (drawn["figure"][:, None] > 0).float()

    def db(clips, share=None):
        error = (clips - drawn["clip"]).square().mean(1, keepdim=True)
        error = error.mean() if share is None else (error * share).sum() / share.sum()
        return round((-10 * (error / 4).log10()).item(), 2)

    rows = []
    for clip in range(count):
        for clips in (drawn["clip"], best, made):
            rows.append(np.concatenate(levels(clips[clip:clip + 1])[0][::4], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)
    seen = [judge(levels(made[clip:clip + 1])[0], given_of(drawn, clip, clip % len(KINDS) >= 2)) for clip in range(count)] if size == figures.SIZE else []
    return {"made": db(made), "figures": db(made, figure), "autoencoder": db(best), "autoencoder, figures": db(best, figure),
            **(summary(seen) if seen else {})}
