"""Golden files that keep a part of what tests compare: every n-th value of a large array, in row-major order.

A fault of a layer's mathematics changes far more values than one in n, so that the part's relative RMS tells it as the whole's does. n
is a prime number that does not divide the array's size and is no larger than a row: no row, column or channel is left out.

The array keeps its name and holds the values that are left, [count]; the file's metadata say what it was: "whole.NAME" is
"9x16x48x3 every 23". tests/support/golden.h reads them.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
import torch

KEPT = 300  # values of an array, or more
ROW = 16  # values that a row has at least: of [..., 24, 3] it is 72
PRIMES = [n for n in range(3, 200) if all(n % m for m in range(2, math.isqrt(n) + 1))]
DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8"}


def step_of(shape):
    """n, 1 for an array that stays whole."""
    size, row = math.prod(shape), 1
    for dim in reversed(shape):
        row *= dim
        if row >= ROW:
            break
    most = min(row, size // KEPT)
    return max((n for n in PRIMES if n <= most and size % n), default=1)


def as_numpy(value):
    """(NumPy array, safetensors' dtype) of an array or a PyTorch tensor."""
    if not isinstance(value, np.ndarray):
        if str(value.dtype) == "torch.bfloat16":
            return value.contiguous().view(dtype=torch.int16).numpy(), "BF16"
        value = value.numpy()
    return np.ascontiguousarray(value), DTYPES[value.dtype.name]


def save(path, arrays, compared):
    """Writes a safetensors file, the arrays for whose name `compared` is true thinned out: tests must not need them whole."""
    header, metadata, parts, at = {}, {}, [], 0
    stored = [(name, *as_numpy(value)) for name, value in arrays.items()]
    for name, array, dtype in sorted(stored, key=lambda entry: (-entry[1].itemsize, entry[0])):  # each aligned to its size
        step = step_of(array.shape) if compared(name) else 1
        if step > 1:
            metadata[f"whole.{name}"] = f"{'x'.join(map(str, array.shape))} every {step}"
            array = array.reshape(-1)[::step]
        parts.append(array.tobytes())
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
