"""Draws the face and records the sound that are bundled with the speech-to-video demo: `face.png` and `hello.wav`.

    python -m tools.demo_model.make_s2v_example --out models/demo-s2v

The face is none that was trained, nor is the voice. Needs the espeak-ng and ffmpeg programs.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from . import s2v_cases, speech_world
from .evaluate_i2v import write_image
from .evaluate_s2v import write_sound
from .speech_sounds import HELD_OUT_VOICES, RATE, espeak

SAID = "Hello! I am a face."
PAUSE = 0.4  # seconds of silence at the end


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    face = speech_world.draw_faces(1, torch.Generator().manual_seed(2044))
    (given,) = s2v_cases.given_of(face)
    write_image(args.out / "face.png", given.picture)
    sound = espeak(HELD_OUT_VOICES[1], SAID, speed=150, pitch=55)
    write_sound(args.out / "hello.wav", np.concatenate([0.9 * sound / np.abs(sound).max(), np.zeros(round(PAUSE * RATE))]))


if __name__ == "__main__":
    main()
