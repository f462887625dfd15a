"""Trains the VAE of the demos on from the palette to the whole colour cube, and to pictures given at either end of a clip.

A VAE that has seen eight colours alone gives back the nearest of the eight. Clips of the palette keep the latents that they
had, so that transformers trained on these go on working.
"""

import torch

from . import cube, world
from .optim import Trainer
from .train_vae import NOISE, channels_last, psnr, reconstruction_loss, use_compiled_norm
from .vae import Fused, LATENT_MEAN, LATENT_STD, Vae, VaeConfig, norm_silu

HOLD = 1.0  # weight of the palette's latents staying where they were, in their own deviations
TEXTURED = 0.2  # of the clips with free colours
FARTHEST = 3.0  # deviations; latents beyond are drawn back, as transformers start from noise of one


def given_ends(clips):
    """The clips with grey between their ends, and which frames [B, T] are given: the first, the last or both, in turn."""
    count, frames = clips.shape[0], clips.shape[2]
    turn = torch.arange(count, device=clips.device) if count > 2 else torch.randint(3, (count,), device=clips.device)
    given = torch.zeros(count, frames, dtype=torch.bool, device=clips.device)
    given[:, 0] = turn % 3 != 1
    given[:, -1] = turn % 3 != 0
    return clips * given[:, None, :, None, None], given


def loss_at(y, x, given):
    """`reconstruction_loss` of the given frames alone: what is between them is of no use to anybody."""
    error = (y - x) * given[:, None, :, None, None] * (given.shape[1] / given.sum(1).view(-1, 1, 1, 1, 1))
    return error.abs().mean() + error.diff(dim=3).abs().mean() + error.diff(dim=4).abs().mean()


def make_loss(vae, before, trained, free, parts, frames):
    """`parts`: clips a step of the palette, of free colours, and of free colours with the ends given alone."""
    device = trained.device
    middle, deviation = (torch.tensor(c, device=device).view(1, -1, 1, 1, 1) for c in (LATENT_MEAN, LATENT_STD))
    palette, anywhere, ends = parts

    def loss_fn():
        first = torch.rand((), device=device) * (world.FRAMES - frames)
        times = first + torch.arange(frames, device=device)
        index = torch.randint(len(trained.circle), (palette,), device=device)
        clips, _ = free(anywhere + ends, times, None, TEXTURED)
        x = torch.cat([trained(index, times, None), clips])
        if ends:
            shown, given = given_ends(x[-ends:])
            x = torch.cat([x[:-ends], shown])
        if device.type == "cuda":
            x = x.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            with torch.no_grad():
                held = before.encode(x[:palette]).float()
            z = vae.encode(x)
            y = vae.decode(z + NOISE * deviation * torch.randn_like(z)).float()
        z = z.float()
        far = ((z - middle) / deviation).abs()
        whole = len(x) - ends
        loss = reconstruction_loss(y[:whole], x[:whole]) * whole / len(x)
        if ends:
            loss = loss + 0.5 * loss_at(y[whole:], x[whole:], given) * ends / len(x)
        loss = loss + HOLD * ((z[:palette] - held) / deviation).square().mean()
        return loss + 0.05 * (far - FARTHEST).relu().square().mean()

    return loss_fn


@torch.no_grad()
def measure(vae, before, held_out, free, frames):
    """dB on held-out clips of the palette and on clips of free colours, flat and smooth; how far the palette's latents went."""
    times = torch.arange(frames, device=held_out.device)
    deviation = torch.tensor(LATENT_STD, device=held_out.device).view(1, -1, 1, 1, 1)
    line = {"palette": round(psnr(vae, held_out, 16, frames), 2)}
    for name, textured in (("flat", 0.0), ("smooth", 1.0)):
        clips, _ = free(16, times, torch.Generator(held_out.device).manual_seed(15), textured)
        values = [(vae.decode(vae.encode(part)).float().clamp(-1, 1) - part).square().mean((1, 2, 3, 4))
                  for part in clips.split(8)]
        db = -10 * (torch.cat(values) / 4).log10()
        line[name] = {"mean": round(db.mean().item(), 2), "lowest": round(db.min().item(), 2)}
    clips = held_out(torch.arange(8, device=held_out.device), times, torch.Generator(held_out.device).manual_seed(5))
    moved = (vae.encode(clips).float() - before.encode(clips).float()) / deviation
    return {**line, "palette_latents_moved": round(moved.square().mean().sqrt().item(), 4)}


def train(before, device, log, phases, compiled=True, size=world.SIZE):
    """`before`: the VAE to start from, whose normalisation is folded in. `phases`: (frames, parts, steps, seconds, peak
    learning rate, whether to compile) each. Returns the averaged VAE."""
    torch.manual_seed(212)
    vae = Vae(VaeConfig()).to(device)
    vae.load_state_dict(before.state_dict())
    if device.type == "cuda":
        channels_last(vae)
        channels_last(before)
    every = cube.scenes()
    trained, held_out = (world.Renderer(part, device, size, world.draw_motion_anywhere) for part in world.split_scenes())
    free = cube.CubeRenderer(every, device, size)
    log({"widen": "before", **measure(vae, before, held_out, free, 1)})
    for frames, parts, steps, seconds, peak, norm in phases:
        if device.type == "cuda" and compiled and norm:
            use_compiled_norm()
        loss_fn = make_loss(vae, before, trained, free, parts, frames)
        trainer = Trainer([vae], loss_fn, peak, betas=(0.9, 0.99), decay=0.0, average=0.998)
        trainer.run(steps, seconds, lambda line: log({"widen": frames, **line}), every=max(1, steps // 5))
        trainer.use_average()
        log({"widen": frames, "averaged": True, **measure(vae, before, held_out, free, frames)})
        del trainer
        Fused.norm_silu = staticmethod(norm_silu)
    return vae
