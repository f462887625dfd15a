"""Writes tests/golden/formats/formats.safetensors: what the formats of packed weights hold, by the libraries that define them.

    python tools/golden/make_formats.py --out tests/golden/formats

"NAME.blocks" [blocks, bytes] u8: random bytes whose scales are finite and differ in size; "NAME.values" [blocks, values] f32: by gguf's
decoder. "f8_e4m3.values", "f8_e5m2.values" [256] f32: all codes in their order, by PyTorch. "rounded.values" [rows, 64] f32: numbers, and
"rounded.q8_0", "rounded.q4_0" (gguf's) and "rounded.f8_e4m3" (PyTorch's, of what lies within its range) u8: what they become.
"""

import argparse
import pathlib

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file

BLOCKS = 3
# Where a block's halves stand, in bytes.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}


def blocks_of(kind, rng):
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for at in HALVES[kind]:
        # One of them a subnormal half, as small scales are.
        halves = np.array([rng.normal(), 3e-6, -rng.random() * 1e-3], np.float16)
        blocks[:, at:at + 2] = halves.view(np.uint8).reshape(BLOCKS, 2)
    return blocks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    out = parser.parse_args().out
    rng = np.random.default_rng(15)
    arrays = {}
    for kind in HALVES:
        blocks = blocks_of(kind, rng)
        arrays[f"{kind.lower()}.blocks"] = blocks
        arrays[f"{kind.lower()}.values"] = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    codes = torch.arange(256, dtype=torch.uint8)
    for name, dtype in (("f8_e4m3", torch.float8_e4m3fn), ("f8_e5m2", torch.float8_e5m2)):
        arrays[f"{name}.values"] = codes.view(dtype).float().numpy()
    # Of several sizes, a row of zeros, one with the largest magnitude twice, ties and subnormals of e4m3.
    values = (rng.normal(size=(8, 64)) * 10.0 ** rng.integers(-3, 2, (8, 1))).astype(np.float32)
    values[1] = 0
    values[2, 3], values[2, 40], values[2, 5] = 7, 7, -7
    values[3] = np.arange(64) * 2.0 ** -10
    values[4] = np.arange(64) * 0.03125 + 1
    arrays["rounded.values"] = values
    for kind in ("Q8_0", "Q4_0"):
        arrays[f"rounded.{kind.lower()}"] = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
    arrays["rounded.f8_e4m3"] = torch.from_numpy(values).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    out.mkdir(parents=True, exist_ok=True)
    save_file(arrays, out / "formats.safetensors")


if __name__ == "__main__":
    main()
