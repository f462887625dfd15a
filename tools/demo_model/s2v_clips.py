"""The clips that speech to video learns from, as latents and as features of their sounds."""

import torch

from . import speech_world
from .speech_sounds import draw_sounds
from .vae import normalised_encode
from .wav2vec2 import video_features

FRAMES = speech_world.MOTION + speech_world.CLIP  # of a clip with its past
SECONDS = 0.05 + FRAMES / speech_world.FPS
CLOSED_SHARE = 0.7  # of the references have a closed mouth


def draw_openings(count, device, pool, seed, batch=64):
    """Sounds [count, n] in fp16 and the openings [count, FRAMES] of the mouths that go with them."""
    generator = torch.Generator(device).manual_seed(seed)
    length = round(SECONDS * speech_world.RATE)
    sounds, openings = [], []
    for begin in range(0, count, batch):
        some = draw_sounds(min(batch, count - begin), length, generator, device, pool)
        sounds.append(some.half())
        openings.append(speech_world.openings(some, FRAMES))
    return torch.cat(sounds), torch.cat(openings)


def reference_openings(count, generator, device):
    draw = torch.rand(count, 2, generator=generator, device=device)
    return torch.where(draw[:, :1] < CLOSED_SHARE, 0.0, draw[:, 1:])


@torch.no_grad()
def encode(vae, encoder, sounds, openings, device, batch=16, size=speech_world.SIZE):
    """What the transformer learns from, in bf16, of one face a sound: "reference" [N, 16, 1, h, w]; "first" [N, 16, 20, h, w],
    the clip that follows the reference; "past" [N, 16, 19, h, w] and "later" [N, 16, 20, h, w], a clip and what is before it;
    "audio" [N, states, C, FRAMES], which begins with the past; "weight" [N, 1, 1, h, w], where mouths are."""
    generator = torch.Generator(device).manual_seed(404)
    layout = torch.channels_last_3d if device.type == "cuda" else torch.contiguous_format
    parts = {name: [] for name in ("reference", "first", "past", "later", "audio", "weight")}
    latents = (speech_world.MOTION + 3) // 4
    for begin in range(0, len(sounds), batch):
        opening = openings[begin:begin + batch]
        faces = speech_world.draw_faces(len(opening), generator, device)
        given = reference_openings(len(opening), generator, device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            start = speech_world.draw_clips(faces, torch.cat([given, opening[:, :speech_world.CLIP]], dim=1), size)
            start = normalised_encode(vae, start.contiguous(memory_format=layout)).bfloat16()
            whole = speech_world.draw_clips(faces, opening, size).contiguous(memory_format=layout)
            whole = normalised_encode(vae, whole).bfloat16()
        states = encoder(sounds[begin:begin + batch].float())
        mouth = speech_world.mouth_cover(faces, torch.ones_like(given), size)
        parts["reference"].append(start[:, :, :1])
        parts["first"].append(start[:, :, 1:])
        parts["past"].append(whole[:, :, :latents])
        parts["later"].append(whole[:, :, latents:])
        parts["audio"].append(video_features(states, FRAMES).bfloat16())
        parts["weight"].append((torch.nn.functional.max_pool2d(mouth, 8) > 0).bfloat16()[:, :, None])
    return {name: torch.cat(values) for name, values in parts.items()}
