"""The VAE of character animation: that of speech to video, trained on with figures, poses and scenes with holes."""

import torch

from . import animate_clips, figures, train_face_vae, train_vae
from .optim import Trainer
from .vae import Fused, fold_normalisation, norm_silu

FIGURE_WEIGHT = 3.0  # that errors there count more
HAND = 2.0  # and those of drawn poses
WORST_PSNR = 20.0  # after the single frames


def draw_batch(figured, generator, device, frames, size):
    """`figured` clips of figures, and as many more of what else is encoded: poses, scenes with holes, one frame of a figure and grey or a
    scene after it. Returns clips [2 B, 3, T, H, W] and what errors count, [2 B, 1, T, H, W]."""
    drawn = animate_clips.draw_scenes_and_figures(figured, frames, generator, device, size)
    clip, figure = drawn["clip"], drawn["figure"][:, None]
    mask = animate_clips.draw_masks(drawn["points"], drawn["figure"], generator)
    scene = animate_clips.masked_scene(drawn["scene"], mask)
    pose = animate_clips.pose_pixels(drawn["points"], generator, size)
    first = torch.cat([clip[:, :, :1], torch.zeros_like(clip[:, :, 1:])], dim=2)
    onto = torch.cat([clip[:, :, :1], scene[:, :, 1:]], dim=2)
    choice = (torch.arange(figured, device=device) + torch.randint(4, (1,), generator=generator, device=device)) % 4
    choice = choice.view(-1, 1, 1, 1, 1)
    other = torch.where(choice == 0, pose, torch.where(choice == 1, scene, torch.where(choice == 2, first, onto)))
    lit = torch.nn.functional.max_pool3d((pose > -0.9).any(1, keepdim=True).float(), (1, 5, 5), 1, (0, 2, 2))
    weight = torch.where(choice == 0, HAND * lit, 0.0)
    return torch.cat([clip, other]), 1 + torch.cat([FIGURE_WEIGHT * (figure > 0), weight])


def loss_of(y, x, weight):
    error = y - x
    weighed = error * weight
    loss = weighed.abs().mean() + weighed.square().mean() + error.diff(dim=3).abs().mean() + error.diff(dim=4).abs().mean()
    return loss + 0.5 * weighed.diff(dim=2).abs().mean() if error.shape[2] > 1 else loss


def make_loss(vae, batch, frames, size, device):
    def loss_fn():
        with torch.no_grad():
            x, weight = draw_batch(batch, None, device, frames, size)
        return loss_of(train_vae.noisy_reconstruction(vae, x), x, weight)

    return loss_fn


@torch.no_grad()
def measure(vae, device, frames, size, count=8):
    """dB of clips, of their figures, and of the other half."""
    generator = torch.Generator(device).manual_seed(25)
    x, weight = draw_batch(count, generator, device, frames, size)
    y = torch.cat([vae.decode(vae.encode(part)).float().clamp(-1, 1) for part in x.split(4)])
    error, figure = (y - x).square().mean(1, keepdim=True), (weight[:count] > 1).float()
    db = lambda value: round((-10 * (value / 4).log10()).item(), 2)  # noqa: E731
    return {"clips": db(error[:count].mean()), "figures": db((error[:count] * figure).sum() / figure.sum()),
            "scenes": db((error[:count] * (1 - figure)).sum() / (1 - figure).sum()), "others": db(error[count:].mean())}


def train(start, device, log, phases, compiled=True, size=figures.SIZE, measured=24):
    """`start`: weights to begin with. `phases`: (frames, clips of figures a step, steps, seconds, peak learning rate, whether to compile)
    each. Returns the averaged VAE with its normalisation folded in."""
    torch.manual_seed(232)
    vae = train_face_vae.load(start, device).train().requires_grad_(True)
    if device.type == "cuda":
        train_vae.channels_last(vae)
    for frames, batch, steps, seconds, peak, norm in phases:
        if device.type == "cuda" and compiled and norm:
            train_vae.use_compiled_norm()
        trainer = Trainer([vae], make_loss(vae, batch, frames, size, device), peak, betas=(0.9, 0.99), decay=0.0, average=0.998)
        trainer.run(steps, seconds, lambda line: log({"figure_vae": frames, **line}), every=max(1, steps // 8),
                    check=lambda: measure(vae, device, frames, size))
        trainer.use_average()
        reached = measure(vae, device, frames, size)
        log({"figure_vae": frames, "averaged": True, **reached})
        if reached["clips"] < WORST_PSNR and steps > 1000:
            raise RuntimeError(f"the VAE reached {reached['clips']} dB only")
        del trainer
        Fused.norm_silu = staticmethod(norm_silu)
    generator = torch.Generator(device).manual_seed(26)
    with torch.no_grad():
        clips = [draw_batch(4, generator, device, phases[-1][0], size)[0][:4] for _ in range(measured // 4)]
        latents = torch.cat([vae.encode(part).float() for part in clips])
    fold_normalisation(vae, latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4)))
    return vae
