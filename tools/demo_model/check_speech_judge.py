"""Judges drawn videos of the twenty cases, right ones and wrong ones: the judge must tell them apart.

    python -m tools.demo_model.check_speech_judge [--limit N]

Right ones as raw frames and as MP4 files with AAC sound, and with the mouth one frame late or early. Wrong ones, as MP4 files too,
miss one demand each: the mouth is two frames late or early, follows another sound, or stays open in silence; the colour of the face
or of the background is off; the picture jumps where clips meet. Needs the ffmpeg and espeak-ng programs.
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


def shifted(frames, where, levels):
    """The frames with all colours there this much brighter, or darker where they would leave the scale."""
    changed = frames.astype(int)
    changed[:, where] += np.where(frames[:, where].mean() > 127, -levels, levels)
    return np.clip(changed, 0, 255).astype(np.uint8)


def wrong_videos(faces, opening, other, given):
    """{what is wrong: (the demand that is missed, frames)}."""
    frames = draw(faces, opening)
    everywhere = np.ones_like(given.face)
    jumping = np.concatenate([frames[:CLIP], shifted(frames[CLIP:], everywhere, 5)])
    return {"two frames late": ("lag", draw(faces, torch.roll(opening, 2))),
            "two frames early": ("lag", draw(faces, torch.roll(opening, -2))),
            "another sound": ("correlation", draw(faces, other)),
            "another skin": ("psnr", shifted(frames, given.face, 20)),
            "another background": ("psnr", shifted(frames, ~given.face, 20)),
            "a jump at the seam": ("still_seam", jumping),
            "open in silence": ("silent_opening", draw(faces, opening * 0.5 + 0.5))}


def judged_as_file(frames, case):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        write_mp4(frames, case.sound, path)
        return judge(read_video(path), read_sound(path), case.given)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    cases = s2v_cases.cases()[:args.limit]
    faces = s2v_cases.faces(len(s2v_cases.cases()))
    every = {"raw": [], "mp4": [], "a frame late": [], "a frame early": []}
    caught, mistaken = {}, False
    for number, case in enumerate(cases):
        count = CLIP * (len(case.sound) * FPS // RATE // CLIP + 1)
        opening = openings_of(case.sound, count)
        frames = draw(faces[[number]], opening)
        every["raw"].append(judge(frames, case.sound, case.given))
        every["mp4"].append(judged_as_file(frames, case))
        for kind, late in (("a frame late", 1), ("a frame early", -1)):
            every[kind].append(judge(draw(faces[[number]], torch.roll(opening, late)), case.sound, case.given))
        for kind, seen in every.items():
            if "lag" in seen[-1]["failed"] or "frame" not in kind and seen[-1]["failed"]:
                mistaken = True
                print(case.name, kind, seen[-1], flush=True)
        other = openings_of(cases[(number + 7) % len(cases)].sound[::-1].copy(), count)
        for fault, (demand, wrong) in wrong_videos(faces[[number]], opening, other, case.given).items():
            seen = judged_as_file(wrong, case)
            applies = {"still_seam": count > CLIP, "silent_opening": seen["silent_opening"] != 0}  # two clips; a silence
            if applies.get(demand, True):
                caught.setdefault(fault, []).append(demand in seen["failed"])
                if not caught[fault][-1]:
                    print(case.name, fault, seen, flush=True)
    print(json.dumps({"right": summary(every["raw"]), "mp4": summary(every["mp4"])}))
    print(json.dumps({"caught": {fault: f"{sum(values)} of {len(values)}" for fault, values in caught.items()}}))
    sys.exit(1 if mistaken or not all(all(values) for values in caught.values()) else 0)


if __name__ == "__main__":
    main()
