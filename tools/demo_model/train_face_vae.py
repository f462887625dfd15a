"""The VAE of speech to video: a narrow one, which knows faces whose mouths open and close many times a second.

The VAE of the other demos has learnt shapes that glide: of a mouth that moves it keeps the mean.
"""

import torch

from . import speech_world, train_vae
from .optim import Trainer
from .vae import Fused, Vae, VaeConfig, fold_normalisation, norm_silu

CONFIG = VaeConfig(dim=8)
MOUTH_WEIGHT = 3.0  # that its errors count more
WORST_PSNR = 20.0  # after the single frames; below it the network has collapsed


def load(state, device):
    """The VAE with the weights that the checkpoint will hold, rounded to bf16."""
    vae = Vae(VaeConfig(dim=state["encoder.conv1.weight"].shape[0])).to(device)
    vae.load_state_dict({key: value.bfloat16().float() for key, value in state.items()})
    return vae.eval().requires_grad_(False)


def draw_batch(faces, curves, frames, generator=None, size=speech_world.SIZE):
    """Clips [B, 3, frames, H, W] of the faces, and where their mouths may be [B, 1, 1, H, W]. The mouths follow pieces of
    `curves` [N, T]; a third of the first frames is another picture of the face, as a reference is."""
    device, count = curves.device, len(faces)
    row = torch.randint(len(curves), (count, 1), generator=generator, device=device)
    start = torch.randint(curves.shape[1] - frames + 1, (count, 1), generator=generator, device=device)
    opening = curves[row, start + torch.arange(frames, device=device)]
    other = torch.rand(count, 2, generator=generator, device=device)
    first = torch.where(other[:, :1] < 1 / 3, other[:, 1:], opening[:, :1])
    opening = torch.cat([first, opening[:, 1:]], dim=1)
    mouth = speech_world.mouth_cover(faces, torch.ones_like(opening[:, :1]), size)[:, None]
    return speech_world.draw_clips(faces, opening, size), mouth


def loss_of(y, x, mouth):
    error = y - x
    weighed = error * (1 + MOUTH_WEIGHT * (mouth > 0))
    loss = weighed.abs().mean() + 0.5 * weighed.square().mean()
    loss = loss + error.diff(dim=3).abs().mean() + error.diff(dim=4).abs().mean()
    if error.shape[2] > 1:
        loss = loss + 0.5 * weighed.diff(dim=2).abs().mean()
    return loss


def make_loss(vae, curves, batch, frames, size):
    device = curves.device

    def loss_fn():
        x, mouth = draw_batch(speech_world.draw_faces(batch, None, device), curves, frames, size=size)
        return loss_of(train_vae.noisy_reconstruction(vae, x), x, mouth)

    return loss_fn


def db(error):
    """Of mean squared errors, peak to peak 2."""
    return -10 * (error / 4).log10()


@torch.no_grad()
def measure(vae, curves, frames, count=8, size=speech_world.SIZE):
    """dB outside the mouths, worst face and worst of four parts of the time; how far measured openings follow the drawn ones."""
    generator = torch.Generator(curves.device).manual_seed(15)
    faces = speech_world.draw_faces(count, generator, curves.device)
    x, mouth = draw_batch(faces, curves, frames, generator, size)
    y = torch.cat([vae.decode(vae.encode(part)).float().clamp(-1, 1) for part in x.split(2)])
    still = (torch.nn.functional.max_pool2d(mouth[:, :, 0], 5, 1, 2) == 0)[:, :, None].float()
    error = ((y - x).square().mean(1, keepdim=True) * still).sum((3, 4)) / still.sum((3, 4))  # [B, 1, T]
    line = {"still": round(db(error.mean()).item(), 2), "worst_face": round(db(error.mean((1, 2))).min().item(), 2),
            "parts": [round(db(part.mean()).item(), 2) for part in error.chunk(4, dim=2)]}
    if frames > 1:
        drawn, seen = (speech_world.mouth_area(v, faces, mouth) for v in (x, y))
        line["opening"] = round(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1]
                                             for pair in zip(drawn, seen)]).min().item(), 3)
    return line


@torch.no_grad()
def latent_statistics(vae, curves, count, frames, size):
    generator = torch.Generator(curves.device).manual_seed(16)
    sums = []
    for _ in range(count):
        x, _ = draw_batch(speech_world.draw_faces(4, generator, curves.device), curves, frames, generator, size)
        sums.append(vae.encode(x).float())
    z = torch.cat(sums)
    return z.mean((0, 2, 3, 4)), z.std((0, 2, 3, 4))


def train(curves, device, log, phases, compiled=True, size=speech_world.SIZE, measured=16, long=speech_world.MOTION + 80):
    """`curves`: openings [N, T]. `phases`: (frames, clips a step, steps, seconds, peak learning rate, whether to compile) each.
    Returns the averaged VAE with its normalisation folded in."""
    torch.manual_seed(222)
    vae = Vae(CONFIG).to(device)
    if device.type == "cuda":
        train_vae.channels_last(vae)
    for frames, batch, steps, seconds, peak, norm in phases:
        if device.type == "cuda" and compiled and norm:
            train_vae.use_compiled_norm()
        trainer = Trainer([vae], make_loss(vae, curves, batch, frames, size), peak, betas=(0.9, 0.99), decay=0.0,
                          average=0.998)
        trainer.run(steps, seconds, lambda line: log({"face_vae": frames, **line}), every=max(1, steps // 6),
                    check=lambda: measure(vae, curves, frames, size=size))
        trainer.use_average()
        reached = measure(vae, curves, frames, size=size)
        log({"face_vae": frames, "averaged": True, **reached})
        if reached["still"] < WORST_PSNR and steps > 1000:
            raise RuntimeError(f"the VAE reached {reached['still']} dB only")
        del trainer
        Fused.norm_silu = staticmethod(norm_silu)
    fold_normalisation(vae, *latent_statistics(vae, curves, measured, phases[-1][0], size))
    log({"face_vae": long, **measure(vae, curves, long, count=4, size=size)})
    return vae
