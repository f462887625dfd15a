#!/usr/bin/env python3
"""Golden levels of the conversion from float frames to 8 bits, as official saving does it.

Runs torchvision's make_grid (normalize=True, value_range=(-1, 1)) and the truncation to uint8 that follow it in
Wan2.2's save_video, on float32 values chosen so that every decision is covered: for each of the 256 levels the
smallest float that reaches it and that float's neighbours, the ends of the range, zeros, subnormals, huge values
and infinities, and a few hundred random values. The conversion never decreases, so equal thresholds mean equal
levels for every float.

    python make_frames.py [--out DIR]      (torch, torchvision, numpy: see requirements.txt)

Writes DIR/frame_values.npy (float32 [N]) and DIR/frame_levels.npy (uint8 [N]).
"""
import argparse
import pathlib

import numpy as np
import torch
from torchvision.utils import make_grid


def levels(values: np.ndarray) -> np.ndarray:
    """uint8 levels of float32 values, through the official calls (a batch of one frame, as T2V saves it)."""
    frame = torch.from_numpy(values).clamp(-1, 1).reshape(1, 1, 1, -1).expand(1, 3, 1, -1)
    grid = make_grid(frame, nrow=8, normalize=True, value_range=(-1, 1))
    return (grid * 255).type(torch.uint8)[0, 0].numpy()


def key_to_float(keys: np.ndarray) -> np.ndarray:
    """Integers in the order of the floats that they stand for: 0 is +0, -1 is -0."""
    bits = np.where(keys >= 0, keys, 0x80000000 + (-keys - 1)).astype(np.uint32)
    return bits.view(np.float32)


def thresholds() -> np.ndarray:
    """For each level 1..255 the key of the smallest float that reaches it."""
    target = np.arange(1, 256)
    one = int(np.float32(1).view(np.uint32))
    low = np.full(255, -one - 1, np.int64)   # -1: level 0
    high = np.full(255, one, np.int64)       # +1: level 255
    while np.any(high - low > 1):
        middle = (low + high) // 2
        reached = levels(key_to_float(middle)) >= target
        high = np.where(reached, middle, high)
        low = np.where(reached, low, middle)
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests" / "golden" / "media")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    keys = thresholds()
    edges = key_to_float(np.concatenate([keys - 1, keys, keys + 1]))
    f32 = np.finfo(np.float32)
    special = np.array([0.0, -0.0, 1, -1, f32.smallest_subnormal, -f32.smallest_subnormal, f32.tiny, f32.max,
                        f32.min, np.inf, -np.inf, np.nextafter(np.float32(1), np.float32(2)),
                        np.nextafter(np.float32(-1), np.float32(-2))], np.float32)
    random = np.random.default_rng(0).uniform(-1.1, 1.1, 256).astype(np.float32)
    values = np.concatenate([edges, special, random])
    np.save(out / "frame_values.npy", values)
    np.save(out / "frame_levels.npy", levels(values))


if __name__ == "__main__":
    main()
