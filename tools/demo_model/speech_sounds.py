"""The sounds that speech to video learns from: drawn in PyTorch (vowels with syllables, tones, noise, music, pauses), and
pieces of speech recorded from espeak-ng. Recordings are kept as 8-bit mu-law.
"""

import math
import subprocess

import numpy as np
import torch

from .speech_world import RATE

TRAINED_VOICES = ("en-us", "en-us+f2", "en-gb+m3", "de", "de+f3", "fr-fr+f4", "fr-fr", "es", "es+m5", "pt-br+f1", "nl+m1",
                  "pl", "ru+f2", "tr", "fi+m2", "hi+f1", "sv+m4", "el", "cs+f3", "id")
HELD_OUT_VOICES = ("en-gb-scotland+m7", "en-029+f5", "it", "it+f2", "ro+m3", "da+f4", "hu", "sw+m6", "ca", "lv+f1")
TRAINED_TEXTS = (
    "The river runs past the old mill, under the stone bridge. Nobody has lived there for years! Still, on summer evenings, "
    "you can hear the wheel turning slowly; and sometimes somebody sings. What would they say, if they could see us now?",
    "One. Two. Three. Stop! Wait a moment, please. Good morning to everybody at home, and thank you for listening. Today we "
    "will talk about trains, clocks, weather and bread. Are you ready? Then let us begin, slowly and carefully.")
HELD_OUT_TEXTS = (
    "A small boat left the harbour at dawn. The wind was cold, the sea was grey. Hello? Is anyone there?",
    "Bring me seven lemons, and a little sugar. No, wait. Bring me eight! We have guests tonight, and they love lemonade.")


def to_mu_law(sound):
    """[-1, 1] -> uint8."""
    bent = np.sign(sound) * np.log1p(255 * np.abs(np.clip(sound, -1, 1))) / np.log(256)
    return np.round((bent + 1) * 127.5).astype(np.uint8)


def from_mu_law(codes):
    bent = codes.astype(np.float32) / 127.5 - 1
    sound = np.sign(bent) * (np.power(256.0, np.abs(bent)) - 1) / 255
    return np.where((codes == 127) | (codes == 128), 0.0, sound).astype(np.float32)  # the two middle codes are silence


def espeak(voice, text, speed=160, pitch=50):
    """Mono at RATE, [-1, 1], by espeak-ng and ffmpeg."""
    spoken = subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text], check=True,
                            capture_output=True).stdout
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"], check=True,
                         input=spoken, capture_output=True).stdout
    return np.frombuffer(raw, np.int16).astype(np.float32) / 32768


def smooth_curves(frames, generator, count, device):
    """A function that draws random curves [count, frames] of a deviation of 1 or so, with as many free points as it is told."""
    def curve(cells):
        points = torch.randn(count, 1, cells + 1, generator=generator, device=device)
        return torch.nn.functional.interpolate(points, size=frames, mode="linear", align_corners=True)[:, 0]
    return curve


def uniform(generator, low, high, *shape, device):
    return low + (high - low) * torch.rand(*shape, generator=generator, device=device)


def syllables(generator, count, length, device):
    """Loudness curves [count, length]: bumps of random height and length, with pauses; at 200 points a second, then drawn out."""
    points = math.ceil(length / RATE * 200)
    place = torch.arange(points, device=device) / 200
    curve = torch.zeros(count, points, device=device)
    slots = math.ceil(length / RATE / 0.12)
    gap = uniform(generator, 0.12, 0.34, count, 1, device=device)
    centre = (torch.arange(slots, device=device) + uniform(generator, -0.25, 0.25, count, slots, device=device)) * gap
    half = gap * uniform(generator, 0.25, 0.7, count, slots, device=device)
    height = uniform(generator, 0.0, 1.0, count, slots, device=device).square()
    talking = uniform(generator, 0, 1, count, slots, device=device) > 0.12
    # Longer pauses: every few syllables some are left out together.
    pauses = torch.rand(count, slots // 4 + 1, generator=generator, device=device) < 0.22
    height = height * talking * ~pauses.repeat_interleave(4, dim=1)[:, :slots]
    for slot in range(slots):
        offset = (place - centre[:, slot, None]) / half[:, slot, None]
        bump = (1 - offset.square()).clamp(min=0)
        curve = torch.maximum(curve, height[:, slot, None] * bump)
    return torch.nn.functional.interpolate(curve[:, None], size=length, mode="linear", align_corners=True)[:, 0]


def voices(generator, count, length, device):
    """Vowels and hiss: harmonics of a gliding pitch under two moving formants, [count, length]."""
    curve = smooth_curves(length, generator, count, device)
    seconds = length / RATE
    pitch = uniform(generator, 80, 260, count, 1, device=device) * torch.exp(0.12 * curve(int(seconds * 3)))
    phase = 2 * math.pi * torch.cumsum(pitch.double() / RATE, dim=1).remainder(1 << 16).float()
    formants = [(500 * torch.exp(0.35 * curve(int(seconds * 6))), 130.0, 1.0),
                (1500 * torch.exp(0.3 * curve(int(seconds * 6))), 220.0, 0.5)]
    total = torch.zeros(count, length, device=device)
    for harmonic in range(1, 25):
        frequency = harmonic * pitch
        gain = 0.03 / harmonic
        for centre, width, strength in formants:
            gain = gain + strength / (1 + ((frequency - centre) / width).square()) / harmonic ** 0.5
        total += gain * (frequency < 0.45 * RATE) * torch.sin(harmonic * phase)
    hiss = torch.randn(count, length, generator=generator, device=device)
    share = (0.5 * curve(int(seconds * 8)) - 0.4).clamp(0, 1)
    return total + 1.5 * share * hiss


def tones(generator, count, length, device):
    """Chords of one to four sines, from 80 to 3000 Hz, that change each quarter to whole second."""
    place = torch.arange(length, device=device) / RATE
    notes = (place * uniform(generator, 1, 4, count, 1, device=device)).long()  # [count, length]
    most = int(notes.max()) + 1
    total = torch.zeros(count, length, device=device)
    for part in range(4):
        pitch = 80 * torch.exp(uniform(generator, 0, 3.6, count, most, device=device)).gather(1, notes)
        sounds = part == 0 or torch.rand(count, 1, generator=generator, device=device) < 0.5
        total += torch.sin(2 * math.pi * torch.cumsum(pitch.double() / RATE, dim=1).remainder(1 << 16).float()) * sounds
    return total


def noises(generator, count, length, device):
    """Noise, from dull to bright."""
    noise = torch.randn(count, length, generator=generator, device=device)
    dull = torch.nn.functional.avg_pool1d(noise[:, None], 9, 1, 4)[:, 0] * 3
    return torch.lerp(noise, dull, torch.rand(count, 1, generator=generator, device=device))


def plucked(generator, count, length, device):
    """Loudness of struck notes [count, length]: sudden, then dying away."""
    place = torch.arange(length, device=device) / RATE
    rate = uniform(generator, 1, 5, count, 1, device=device)
    beat = place * rate
    number = beat.long()
    most = int(number.max()) + 1
    height = uniform(generator, 0, 1, count, most, device=device)
    height = (height * (height > 0.2)).gather(1, number)
    since = (beat - number) / rate
    return height * torch.exp(-since * uniform(generator, 2, 14, count, 1, device=device)) * (1 - torch.exp(-since * 400))


def steps(generator, count, length, device):
    """Loudness that jumps between levels, silence among them [count, length]."""
    place = torch.arange(length, device=device) / RATE
    number = (place * uniform(generator, 0.7, 5, count, 1, device=device)).long()
    level = uniform(generator, -0.35, 1, count, int(number.max()) + 1, device=device).clamp(min=0)
    return level.gather(1, number)


def spoken(generator, count, length, device, pool):
    """Pieces of the recorded speech, sometimes with silence in front or behind. pool [n] in [-1, 1]."""
    start = torch.randint(len(pool) - length, (count, 1), generator=generator, device=device)
    sound = pool[start + torch.arange(length, device=device)]
    place = torch.arange(length, device=device) / length
    begin = uniform(generator, -0.6, 0.35, count, 1, device=device)
    end = uniform(generator, 0.6, 1.8, count, 1, device=device)
    return sound * (place > begin) * (place < end)


def draw_sounds(count, length, generator, device, pool):
    """[count, length]: a mixture of all kinds, of zero mean and a deviation from 0.5 to 2.5 (a whole sound's is 1, a piece of it
    may be louder or softer)."""
    carriers = [make(generator, count, length, device) for make in (voices, voices, tones, noises)]
    curves = [make(generator, count, length, device) for make in (syllables, plucked, steps)]
    kind = torch.rand(count, generator=generator, device=device)
    carrier = torch.randint(len(carriers), (count,), generator=generator, device=device)
    curve = torch.randint(len(curves), (count,), generator=generator, device=device)
    every = torch.arange(count, device=device)
    sound = torch.stack(carriers)[carrier, every] * torch.stack(curves)[curve, every]
    recorded = spoken(generator, count, length, device, pool)
    sound = torch.where(kind[:, None] < 0.45, recorded, sound)
    sound = torch.where(kind[:, None] > 0.98, 0.0, sound)
    deviation = sound.std(dim=1, keepdim=True)
    scale = torch.exp(uniform(generator, math.log(0.5), math.log(2.5), count, 1, device=device))
    scale = torch.where(torch.rand(count, 1, generator=generator, device=device) < 0.5, 1.0, scale)
    hush = torch.exp(uniform(generator, -11, -4, count, 1, device=device))  # a silence is rarely perfect
    hush = hush * (torch.rand(count, 1, generator=generator, device=device) < 0.6)
    noise = hush * torch.randn(count, length, generator=generator, device=device)
    return torch.where(deviation > 1e-4, (sound - sound.mean(1, keepdim=True)) / (deviation + 1e-6) * scale, 0.0) + noise


def load_pool(path, device):
    return torch.from_numpy(from_mu_law(np.load(path))).to(device)


def record_trained():
    """Every voice that is trained, half a second apart, [n]."""
    parts = []
    for number, voice in enumerate(TRAINED_VOICES):
        text = TRAINED_TEXTS[number % len(TRAINED_TEXTS)]
        sound = espeak(voice, text, speed=120 + 8 * (number % 10), pitch=30 + 5 * (number % 9))
        parts += [sound / max(1e-6, np.abs(sound).max()) * 0.9, np.zeros(RATE // 2, np.float32)]
    return np.concatenate(parts)


def load_held_out(path):
    """{name: sound [n]} of a file that prepare_s2v.py has written."""
    with np.load(path) as file:
        return {name: from_mu_law(file[name]) for name in file.files}
