"""Judges a video of a face: does its mouth follow the sound, and is the rest of it the given picture?

It knows how the given picture was drawn (where its mouth is, the colours of skin and mouth), not how the video was made.
Needs numpy and the ffmpeg program.
"""

import subprocess
from dataclasses import dataclass

import numpy as np

FPS = 16
CLIP = 80  # frames between two seams
RATE = 16_000
WINDOW = 0.16  # seconds of sound that count for a frame, under a raised cosine
EXPONENT = 0.6  # loudness as it is perceived, of an amplitude (Stevens)
FARTHEST = 6  # frames of lag looked at
LEAST_CORRELATION = 0.8
MOST_LAG = 1
LEAST_PSNR = 26.0
MOST_STILL_JUMP = 2.0  # grey levels (RMS) outside the mouth that nobody sees
QUIET = 0.02  # of the loudest: silence
LONG_ENOUGH = 8  # frames of silence after which the mouth has to be closed
CLOSED = 0.25  # of the widest opening


@dataclass(frozen=True)
class Given:
    picture: np.ndarray  # uint8 [H, W, 3]
    mouth: np.ndarray  # bool [H, W]: where pixels of an open mouth may be
    still: np.ndarray  # bool [H, W]: where nothing may change
    face: np.ndarray  # bool [H, W]: what is not background
    skin: np.ndarray  # [3] in 8-bit levels
    dark: np.ndarray  # [3], of a mouth


def read_sound(path):
    """The soundtrack [n] at RATE, mono."""
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-ac", "1", "-ar", str(RATE), "-"],
                         check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.float32)


def loudness(sound, frames):
    """[frames], in the middle of each; zeros past the end."""
    count = round(WINDOW * RATE) // 2 * 2 + 1
    window = np.hanning(count + 2)[1:-1]
    middle = np.round((np.arange(frames) + 0.5) / FPS * RATE).astype(int)
    missing = max(0, frames * RATE // FPS - len(sound))
    padded = np.pad(sound.astype(np.float64), (count, missing + count))
    pieces = np.stack([padded[m + count - count // 2:m + count + count // 2 + 1] for m in middle])
    return (np.square(pieces) @ (window / window.sum())) ** (EXPONENT / 2)


def openings(frames, given):
    """How many pixels are mouth in each of the frames [T, H, W, 3], by their place between the colours of skin and mouth."""
    way = given.dark - given.skin
    share = (frames[:, given.mouth].astype(np.float64) - given.skin) @ way / (way @ way)
    return share.clip(-0.2, 1.2).sum(1)


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(1e-12, np.sqrt((a * a).sum() * (b * b).sum())))


def lag_of(opening, loud):
    """Frames by which the mouth is late; negative where it is early."""
    def at(lag):
        return correlation(opening[max(0, lag):len(opening) + min(0, lag)], loud[max(0, -lag):len(loud) + min(0, -lag)])

    return max(range(-FARTHEST, FARTHEST + 1), key=lambda lag: (at(lag), -abs(lag)))


def silent_frames(loud):
    """Which frames lie in a silence that has lasted LONG_ENOUGH / 2 frames and goes on as long, bool [T]."""
    quiet = loud <= QUIET * max(loud.max(), 1e-9)
    half = LONG_ENOUGH // 2
    return np.array([quiet[max(0, i - half):i + half + 1].all() for i in range(len(quiet))])


def jumps(frames, where):
    """RMS difference of each frame to the next, in 8-bit levels, [T - 1]."""
    pixels = frames[:, where].astype(np.float32)
    return np.sqrt(np.square(np.diff(pixels, axis=0)).mean((1, 2)))


def seam_jumps(frames, where, clip=CLIP):
    """(largest jump across seams, largest jump elsewhere)."""
    every = jumps(frames, where)
    seams = np.arange(clip, len(frames), clip) - 1
    inside = np.delete(every, seams)
    return float(every[seams].max(initial=0.0)), float(inside.max(initial=0.0))


def psnr_of(frames, picture, where):
    """dB of each of the frames [T, H, W, 3] there, [T]."""
    error = np.square(frames[:, where].astype(np.float32) - picture[where].astype(np.float32)).mean((1, 2))
    return 10 * np.log10(255 ** 2 / np.maximum(error, 1e-9))


def judge(frames, sound, given, clip=CLIP):
    """frames uint8 [T, H, W, 3] -> what is seen, and "failed": the names of the demands that are missed."""
    loud, opening = loudness(sound, len(frames)), openings(frames, given)
    parts = (given.still & given.face, given.still & ~given.face)  # each counts, however small
    psnr = np.minimum(*(psnr_of(frames, given.picture, part) for part in parts))
    silent = silent_frames(loud)
    widest = max(np.quantile(opening, 0.98), 0.2 * given.mouth.sum())
    least = float(given.mouth.sum()) * 0.08  # a closed mouth is a line
    seam, inside = seam_jumps(frames, np.ones_like(given.still), clip)
    still_seam, still_inside = seam_jumps(frames, given.still, clip)
    seen = {"correlation": correlation(opening, loud), "lag": lag_of(opening, loud), "psnr": float(psnr.mean()),
            "lowest_psnr": float(psnr.min()), "seam": seam, "inside": inside, "still_seam": still_seam,
            "still_inside": still_inside,
            "silent_opening": float(((opening[silent] - least).mean() / (widest - least)) if silent.any() else 0.0)}
    met = {"correlation": seen["correlation"] >= LEAST_CORRELATION, "lag": abs(seen["lag"]) <= MOST_LAG,
           "psnr": seen["lowest_psnr"] >= LEAST_PSNR, "silent_opening": seen["silent_opening"] <= CLOSED,
           "seam": seam <= inside, "still_seam": still_seam <= max(still_inside, MOST_STILL_JUMP)}
    if loud.max() <= 1e-6:  # of a silent sound there is nothing to follow
        met["correlation"] = met["lag"] = True
    return {**{name: round(value, 3) for name, value in seen.items()}, "failed": [name for name in met if not met[name]]}


def summary(every):
    """Of several videos."""
    return {"videos": len(every), "right": sum(not seen["failed"] for seen in every),
            "correlation": {"mean": round(float(np.mean([seen["correlation"] for seen in every])), 3),
                            "lowest": min(seen["correlation"] for seen in every)},
            "lags": sorted(seen["lag"] for seen in every),
            "psnr": {"mean": round(float(np.mean([seen["psnr"] for seen in every])), 2),
                     "lowest_frame": min(seen["lowest_psnr"] for seen in every)},
            "seam_over_inside": max(seen["seam"] / max(seen["inside"], 1e-9) for seen in every),
            "still_seam": max(seen["still_seam"] for seen in every),
            "silent_opening": max(seen["silent_opening"] for seen in every)}
