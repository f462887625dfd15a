"""Stage 2: the video VAE, first on single frames, then on clips."""

import torch

from . import world
from .optim import Trainer
from .world import Renderer
from .vae import Fused, Vae, VaeConfig, fold_normalisation, norm_silu, normalised_decode, normalised_encode

NOISE = 0.08  # added to the latents in training, as a share of their deviation
WORST_PSNR = 22.0  # after the single frames; below it the network has collapsed


def difference(a, axis):
    return a.diff(dim=axis)


def reconstruction_loss(y, x):
    """L1, L1 of the differences along height, width and time, and a little squared error."""
    error = y - x
    loss = error.abs().mean() + 0.5 * error.square().mean()
    loss = loss + difference(error, 3).abs().mean() + difference(error, 4).abs().mean()
    if error.shape[2] > 1:
        loss = loss + 0.5 * difference(error, 2).abs().mean()
    return loss


def noisy_reconstruction(vae, x, noise=NOISE):
    """x [B, 3, F, H, W] through latents with noise, in bf16 on a GPU -> the same in fp32."""
    if x.device.type == "cuda":
        x = x.contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=x.device.type == "cuda"):
        z = vae.encode(x)
        deviation = z.detach().float().std(dim=(0, 2, 3, 4), keepdim=True)
        return vae.decode(z + noise * deviation * torch.randn_like(z)).float()


def make_loss(vae, renderer, batch, frames):
    """A loss over fresh clips of `frames` frames, cut from anywhere in their motion."""
    device = renderer.device
    scenes = len(renderer.circle)

    def loss_fn():
        index = torch.randint(scenes, (batch,), device=device)
        first = torch.rand((), device=device) * (world.FRAMES - frames)
        x = renderer(index, first + torch.arange(frames, device=device), None)
        return reconstruction_loss(noisy_reconstruction(vae, x), x)

    return loss_fn


def use_compiled_norm():
    """In training only: other shapes and modes would each compile again."""
    torch._dynamo.config.recompile_limit = 256  # one version a shape
    compiled = torch.compile(norm_silu, dynamic=False)
    Fused.norm_silu = staticmethod(lambda x, gamma: (compiled if torch.is_grad_enabled() else norm_silu)(x, gamma))


def channels_last(vae):
    for layer in vae.modules():
        if isinstance(layer, torch.nn.Conv3d):
            layer.to(memory_format=torch.channels_last_3d)
        elif isinstance(layer, torch.nn.Conv2d):
            layer.to(memory_format=torch.channels_last)


@torch.no_grad()
def psnr(vae, renderer, count, frames):
    """dB over `count` clips, peak to peak 2."""
    generator = torch.Generator(renderer.device).manual_seed(5)
    index = torch.arange(count, device=renderer.device) * 37 % len(renderer.circle)
    x = renderer(index, torch.arange(frames, device=renderer.device), generator)
    total = 0.0
    for part in x.split(8):
        total += (vae.decode(vae.encode(part)).float().clamp(-1, 1) - part).square().mean((1, 2, 3, 4)).sum().item()
    return -10 * torch.tensor(total / count / 4).log10().item()


@torch.no_grad()
def latent_statistics(vae, renderer, count):
    generator = torch.Generator(renderer.device).manual_seed(6)
    index = torch.randint(len(renderer.circle), (count,), generator=generator, device=renderer.device)
    clips = renderer(index, torch.arange(world.FRAMES, device=renderer.device), generator)
    z = torch.cat([vae.encode(part).float() for part in clips.split(16)])
    return z.mean((0, 2, 3, 4)), z.std((0, 2, 3, 4))


def train(device, log, phases, measured=256, compiled=True, size=world.SIZE):
    """`phases`: (frames, batch, steps, seconds, peak learning rate) each. `measured`: clips for the latents' mean and
    deviation. Returns the averaged VAE with that normalisation folded in."""
    torch.manual_seed(202)
    vae = Vae(VaeConfig()).to(device)
    if device.type == "cuda":
        channels_last(vae)
        if compiled:
            use_compiled_norm()
    trained, unseen = world.split_scenes()
    renderer, held_out = Renderer(trained, device, size), Renderer(unseen, device, size)
    for frames, batch, steps, seconds, peak in phases:
        trainer = Trainer([vae], make_loss(vae, renderer, batch, frames), peak, betas=(0.9, 0.99), decay=0.0,
                          average=0.998)
        trainer.run(steps, seconds, lambda line: log({"frames": frames, **line}), every=max(1, steps // 5),
                    check=lambda: {"psnr": round(psnr(vae, held_out, min(measured, 16), frames), 2)})
        trainer.use_average()
        reached = psnr(vae, held_out, min(measured, 32), frames)
        log({"frames": frames, "averaged": True, "psnr": round(reached, 2)})
        if reached < WORST_PSNR and steps > 1000:
            raise RuntimeError(f"the VAE reached {reached:.1f} dB only")
        del trainer
    Fused.norm_silu = staticmethod(norm_silu)
    fold_normalisation(vae, *latent_statistics(vae, renderer, measured))
    return vae


def load(state, device):
    """The VAE with the weights that the checkpoint will hold, rounded to bf16."""
    vae = Vae(VaeConfig()).to(device)
    vae.load_state_dict({k: v.bfloat16().float() for k, v in state.items()})
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def encode_clips(vae, scenes, count, device, size=world.SIZE, batch=64):
    """(latents [count, 16, 5, 16, 16] bf16, scene numbers [count]); every scene gets the same share of clips."""
    renderer = Renderer(scenes, device, size)
    generator = torch.Generator(device).manual_seed(303)
    numbers = torch.arange(count, device=device) % len(scenes)
    frames = torch.arange(world.FRAMES, device=device)
    latents = []
    for part in numbers.split(batch):
        clips = renderer(part, frames, generator)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            latents.append(normalised_encode(vae, clips).bfloat16())
    return torch.cat(latents), numbers


@torch.no_grad()
def reconstruct(vae, clips):
    return torch.cat([normalised_decode(vae, normalised_encode(vae, part)) for part in clips.split(8)])
