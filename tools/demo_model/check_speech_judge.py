"""Judges drawn videos of the twenty cases, right ones and wrong ones: the judge must tell them apart.

    python -m tools.demo_model.check_speech_judge [--limit N]

Right ones as raw frames and as MP4 files with AAC sound. Wrong ones miss one demand each: the mouth is late, follows another
sound, or stays open in silence; the colours are off; the picture jumps where clips meet. Needs the ffmpeg and espeak-ng programs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from . import s2v_cases, speech_world
from .judge import read_video
from .speech_judge import CLIP, FPS, RATE, judge, read_sound, summary


def openings_of(sound, frames):
    """As the world has them, [frames]; the sound is heard once and then silence."""
    heard = torch.tensor(np.pad(sound, (0, max(0, frames * RATE // FPS - len(sound)))))
    return speech_world.openings(speech_world.normalised(heard[None]), frames)[0]


def draw(faces, opening):
    """uint8 [T, H, W, 3]."""
    clip = speech_world.draw_clips(faces, opening[None].float())[0]
    return ((clip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()


def write_mp4(frames, sound, path):
    """H.264 in yuv420p and AAC, as the engine writes them."""
    with tempfile.NamedTemporaryFile(suffix=".f32") as file:
        file.write(np.pad(sound, (0, max(0, len(frames) * RATE // FPS - len(sound)))).astype(np.float32).tobytes())
        file.flush()
        height, width = frames.shape[1:3]
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
                        "-r", str(FPS), "-i", "-", "-f", "f32le", "-ar", str(RATE), "-ac", "1", "-i", file.name,
                        "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "192k", "-shortest", str(path)],
                       input=frames.tobytes(), check=True)


def wrong_videos(faces, opening, other):
    """{the demand that is missed: frames}."""
    frames = draw(faces, opening)
    off = np.clip(frames.astype(int) + 16, 0, 255).astype(np.uint8)
    jumping = frames.copy()
    jumping[CLIP:] = np.clip(frames[CLIP:].astype(int) + 5, 0, 255).astype(np.uint8)
    return {"lag": draw(faces, torch.roll(opening, 3)), "correlation": draw(faces, other), "psnr": off,
            "still_seam": jumping, "silent_opening": draw(faces, opening * 0.5 + 0.5)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    cases = s2v_cases.cases()[:args.limit]
    faces = s2v_cases.faces(len(s2v_cases.cases()))
    right, coded, missed = [], [], []
    caught = {}
    for number, case in enumerate(cases):
        count = CLIP * (len(case.sound) * FPS // RATE // CLIP + 1)
        opening = openings_of(case.sound, count)
        frames = draw(faces[[number]], opening)
        right.append(judge(frames, case.sound, case.given))
        with tempfile.TemporaryDirectory() as folder:
            write_mp4(frames, case.sound, Path(folder) / "a.mp4")
            coded.append(judge(read_video(Path(folder) / "a.mp4"), read_sound(Path(folder) / "a.mp4"), case.given))
        for kind, seen in (("raw", right[-1]), ("mp4", coded[-1])):
            if seen["failed"]:
                missed.append(case.name)
                print(case.name, kind, seen, flush=True)
        other = openings_of(cases[(number + 7) % len(cases)].sound[::-1].copy(), count)
        for demand, wrong in wrong_videos(faces[[number]], opening, other).items():
            seen = judge(wrong, case.sound, case.given)
            applies = demand not in ("silent_opening", "still_seam") or demand == "still_seam" and count > CLIP \
                or seen["silent_opening"] != 0
            if applies:
                caught.setdefault(demand, []).append(demand in seen["failed"])
                if not caught[demand][-1]:
                    print(case.name, "with a wrong", demand, seen, flush=True)
    print(json.dumps({"right": summary(right), "mp4": summary(coded)}))
    print(json.dumps({"caught": {demand: f"{sum(values)} of {len(values)}" for demand, values in caught.items()}}))
    sys.exit(1 if missed or not all(all(values) for values in caught.values()) else 0)


if __name__ == "__main__":
    main()
