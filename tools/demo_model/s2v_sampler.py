"""Videos from the PyTorch models: the clip loop of speech to video, with UniPC left to the engine (Euler steps here)."""

import math

import torch

from . import speech_world
from .vae import normalised_decode, normalised_encode
from .wav2vec2 import video_features

SHIFT = 3.0


def clips_of(samples):
    """How many clips a sound of so many samples gets, as officially."""
    states = samples
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)):
        states = (states - kernel) // stride + 1
    return int(int(states / 50 * 30) / (speech_world.CLIP * 30 / speech_world.FPS)) + 1


@torch.no_grad()
def sample_clip(dit, context, empty, reference, audio, motion, steps, guidance, generator):
    """One clip's latents [1, 16, 20, h, w]; motion None in the first."""
    device = reference.device
    x = torch.randn(1, 16, audio.shape[-1] // 4, *reference.shape[3:], generator=generator).to(device)
    u = torch.linspace(1, 0, steps + 1)
    sigmas = (SHIFT * u / (1 + (SHIFT - 1) * u)).tolist()
    for sigma, following in zip(sigmas[:-1], sigmas[1:]):
        t = torch.full((1,), 1000 * sigma, device=device)
        velocity = dit(x, t, context, reference, audio, motion).float()
        if guidance > 1:
            untold = dit(x, t, empty, reference, 0 * audio, motion).float()
            velocity = untold + guidance * (velocity - untold)
        x = x + (following - sigma) * velocity
    return x


@torch.no_grad()
def video(models, picture, sound, context, empty, steps=10, guidance=1.0, seed=0, most_clips=math.inf):
    """`models`: (dit, vae, encoder). picture [3, H, W] in [-1, 1]; sound [n] -> frames [3, T, H, W] in [-1, 1], CLIP a clip,
    the first held for the three that the first clip loses."""
    dit, vae, encoder = models
    device = picture.device
    count = int(min(clips_of(len(sound)), most_clips))
    audio = video_features(encoder(speech_world.normalised(sound[None])), count * speech_world.CLIP)
    reference = normalised_encode(vae, picture[None, :, None])
    past, motion, frames = None, None, []
    for clip in range(count):
        generator = torch.Generator().manual_seed(seed + clip)
        part = audio[..., clip * speech_world.CLIP:(clip + 1) * speech_world.CLIP]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            x = sample_clip(dit, context, empty, reference, part, motion, steps, guidance, generator)
            before = reference if motion is None else motion
            shown = normalised_decode(vae, torch.cat([before.float(), x], dim=2))[:, :, -speech_world.CLIP:]
            if clip == 0:
                shown = shown[:, :, 3:]
            past = shown if past is None else torch.cat([past, shown], dim=2)
            past = past[:, :, -speech_world.MOTION:]
            if clip + 1 < count:
                motion = normalised_encode(vae, past)
        frames.append(shown[0])
    return torch.cat([frames[0][:, :1].expand(-1, 3, -1, -1), *frames], dim=1)
