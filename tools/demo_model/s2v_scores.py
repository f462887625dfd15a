"""Scores of speech to video in PyTorch, without any engine: s2v_cases.py says of what."""

import time

import torch

from . import s2v_cases, speech_judge
from .s2v_sampler import video
from .sampler import to_frames
from .speech_sounds import load_held_out


@torch.no_grad()
def seen_in(models, dit, case, context, steps, guidance, most_clips, side=None):
    """What the judge sees in the frames that PyTorch makes of a case."""
    picture = torch.tensor(case.given.picture, device=models.device).permute(2, 0, 1) / 127.5 - 1
    if side:
        picture = torch.nn.functional.interpolate(picture[None], size=side)[0]
    sound = torch.tensor(case.sound, device=models.device)
    frames = video((dit, models.vae, models.audio), picture, sound, context.float(), models.trained[:1].float(), steps,
                   guidance, most_clips=most_clips)
    frames = to_frames(frames[None])[0]
    if side:
        return {"frames": len(frames)}
    heard = -(-len(case.sound) * speech_judge.FPS // speech_judge.RATE)  # a file ends with its sound; later frames hear nothing
    return speech_judge.judge(frames[:heard], case.sound, case.given)


def score_all(models, dit, recorded, settings, log, stop_at=None, quick=False):
    """Of every case at each of `settings` (steps, guidance), the first of them case by case; ends at `stop_at`."""
    torch.backends.cudnn.benchmark = False  # trying convolutions out costs more than these few clips
    every = s2v_cases.cases(load_held_out(recorded))[:1 if quick else None]
    for number, (steps, guidance) in enumerate(settings):
        seen = []
        for place, case in enumerate(every):
            if stop_at and time.time() > stop_at:
                break
            seen.append(seen_in(models, dit, case, models.judged[place:place + 1], steps, guidance,
                                most_clips=1 if quick else 3, side=64 if quick else None))
            if number == 0:
                log({"case": case.name, **seen[-1]})
        if seen and not quick:
            log({"steps": steps, "guidance": guidance, **speech_judge.summary(seen)})
