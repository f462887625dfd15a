"""The audio encoder of speech to video learns to tell how far a mouth is open, from the mean of its hidden states."""

import torch
from torch import nn

from . import speech_world
from .optim import Trainer
from .speech_sounds import draw_sounds
from .wav2vec2 import AudioConfig, FEATURE_RATE, Wav2Vec2

AROUND = (-4, -2, 0, 2, 4)  # hundredths of a second from a state's own time, at which it is to know the opening
PIECE = 3.0  # seconds


def targets(sound, count):
    """The openings [B, count, len(AROUND)] round the time of every hidden state."""
    fine = speech_world.openings(sound, round(100 * sound.shape[1] / speech_world.RATE), rate=100)
    # A state's convolutions see 25 ms from 20 ms times its number on.
    middle = torch.arange(count, device=sound.device) * (100 // FEATURE_RATE) + 1
    place = middle[:, None] + speech_world.constant(AROUND, sound.device)
    return fine[:, place.clamp(0, fine.shape[1] - 1)]


def train(pool, device, log, steps, seconds, batch=16, sounds=4096, peak=3e-3):
    """Returns the averaged encoder."""
    torch.manual_seed(909)
    generator = torch.Generator(device).manual_seed(910)
    length = round(PIECE * speech_world.RATE)
    table = torch.cat([draw_sounds(min(64, sounds), length, generator, device, pool) for _ in range(max(1, sounds // 64))])
    table = table.half()
    encoder = Wav2Vec2(AudioConfig()).to(device)
    head = nn.Linear(encoder.config.hidden, len(AROUND)).to(device)

    def loss_of(sound):
        states = encoder(sound)
        return (head(states.mean(1)) - targets(sound, states.shape[2])).square().mean()

    def loss_fn():
        return loss_of(table[torch.randint(len(table), (batch,), device=device)].float())

    fresh = draw_sounds(64, length, generator, device, pool)

    @torch.no_grad()
    def check():
        return {"error": round(loss_of(fresh).sqrt().item(), 4)}

    trainer = Trainer([encoder, head], loss_fn, peak=peak, decay=0.0, average=0.995)
    trainer.run(steps, seconds, lambda line: log({"stage": "wav2vec2", **line}), every=max(1, steps // 10), check=check)
    trainer.use_average()
    log({"stage": "wav2vec2", "averaged": True, **check()})
    return encoder
