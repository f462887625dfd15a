"""The cases that speech to video is judged by: twenty sounds, a face and a sentence each, none of them trained."""

from dataclasses import dataclass

import numpy as np
import torch

from . import s2v_prompts, speech_world
from .speech_judge import Given
from .speech_sounds import HELD_OUT_TEXTS, HELD_OUT_VOICES, RATE, espeak

SPOKEN = 11


@dataclass(frozen=True)
class Case:
    name: str
    sound: np.ndarray  # [n] in [-1, 1]
    given: Given
    prompt: str


def tone(pitch, seconds, envelope):
    """A sine of `pitch` Hz (a number, or a function of time) under a loudness curve of time."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch(time) if callable(pitch) else np.full_like(time, pitch)) / RATE
    return (np.sin(phase) * envelope(time)).astype(np.float32)


def struck(notes, seconds, decay):
    """Notes (start, Hz, strength) that die away, with two overtones."""
    time = np.arange(round(seconds * RATE)) / RATE
    total = np.zeros_like(time)
    for start, pitch, strength in notes:
        since = time - start
        wave = sum(np.sin(2 * np.pi * pitch * k * since) / k ** 2 for k in (1, 2, 3))
        total += np.where(since >= 0, wave * strength * np.exp(-decay * np.maximum(since, 0)), 0)
    return total.astype(np.float32)


def synthetic():
    """{name: sound}: tones, music-like sounds, noises, silences."""
    rng = np.random.default_rng(77)
    scale = [262, 294, 330, 392, 440, 523]
    melody = [(0.4 * i, scale[rng.integers(6)], rng.uniform(0.3, 1)) for i in range(20)]
    chords = [(start, scale[k] / 2, 0.5) for start in (0.0, 1.5, 3.1, 4.4, 6.2) for k in rng.choice(6, 3, replace=False)]
    beats = np.concatenate([np.exp(-np.arange(RATE // 2) / RATE * decay) for decay in (10, 25, 14, 40) * 4])
    noise = rng.standard_normal(len(beats)) * beats * np.repeat((1.0, 0.4, 0.8, 0.3) * 4, RATE // 2)
    speech = spoken(0)
    gap = np.zeros(2 * RATE, np.float32)
    return {
        "beeps": tone(1000, 6, lambda t: (t % 1.0 < 0.4) * 0.5),
        "tremolo": tone(330, 7, lambda t: 0.5 * np.sin(np.pi * 0.8 * t) ** 2),
        "siren": tone(lambda t: 500 + 300 * np.sin(2 * np.pi * 0.5 * t), 8,
                      lambda t: 0.6 * np.clip(np.sin(2 * np.pi * 0.3 * t), 0, 1)),
        "melody": struck(melody, 8.4, 4.0),
        "chords": struck(chords, 7.5, 1.5),
        "drums": (0.2 * noise).astype(np.float32),
        "speech_pause_speech": np.concatenate([speech[:2 * RATE], gap, speech[2 * RATE:4 * RATE], gap]),
        "silence_then_speech": np.concatenate([gap, gap[:RATE], speech[:3 * RATE]]),
        "hiss_bursts": (0.3 * rng.standard_normal(7 * RATE) * (np.repeat(rng.random(14) < 0.5, RATE // 2))).astype(np.float32),
    }


def spoken(number):
    voice = HELD_OUT_VOICES[number % len(HELD_OUT_VOICES)]
    return espeak(voice, HELD_OUT_TEXTS[number % 2], speed=140 + 7 * number, pitch=35 + 4 * number)


def sounds():
    """{name: sound [n]}, twenty of them; the spoken ones need the espeak-ng program."""
    result = {f"speech_{number:02d}_{HELD_OUT_VOICES[number % len(HELD_OUT_VOICES)]}": spoken(number)
              for number in range(SPOKEN)}
    return {**result, **synthetic()}


def to_levels(picture):
    """[3, H, W] in [-1, 1] -> uint8 [H, W, 3]."""
    return ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def given_of(faces):
    """What the judge may know of each face, the mouths closed in the pictures."""
    closed = torch.zeros(len(faces), 1)
    pictures = speech_world.draw_clips(faces, closed)[:, :, 0]
    mouths = speech_world.mouth_cover(faces, torch.ones_like(closed))
    near = torch.nn.functional.max_pool2d(mouths, 5, 1, 2)[:, 0] > 0
    far = torch.nn.functional.max_pool2d(mouths, 13, 1, 6)[:, 0] > 0
    inside = speech_world.face_cover(faces) > 0.5
    level = lambda colour: ((colour + 1) * 127.5).double().numpy()  # noqa: E731
    return [Given(to_levels(picture), near[i].numpy(), ~far[i].numpy(), inside[i].numpy(), level(faces.skin[i]),
                  level(torch.tensor(speech_world.MOUTH))) for i, picture in enumerate(pictures)]


def faces(count):
    """Of the cases, none of them trained."""
    return speech_world.draw_faces(count, torch.Generator().manual_seed(2027))


def cases(recorded=None):
    """`recorded`: {name: sound} in place of `sounds()`, where there is no espeak-ng."""
    every = recorded or sounds()
    texts = [text for text in s2v_prompts.sentences(3 * len(every), seed=31) if text][:len(every)]
    return [Case(name, sound, given, text)
            for (name, sound), given, text in zip(every.items(), given_of(faces(len(every))), texts)]
