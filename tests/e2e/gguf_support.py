"""GGUF files for tests: pairs, lists and tensors in the place that the format gives them."""

import struct

U32, I32, F32, TEXT, LIST = 4, 5, 6, 8, 9
F32_TENSOR, Q8_0_TENSOR, Q2_K_TENSOR, Q3_K_TENSOR, BF16_TENSOR = 0, 8, 10, 11, 30


def _text(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value):
    """A value's type and bytes: text, whole number, float, or a list of texts or whole numbers."""
    if isinstance(value, str):
        return TEXT, _text(value)
    if isinstance(value, float):
        return F32, struct.pack("<f", value)
    if isinstance(value, int):
        return U32, struct.pack("<I", value)
    if value and isinstance(value[0], str):
        return LIST, struct.pack("<IQ", TEXT, len(value)) + b"".join(map(_text, value))
    return LIST, struct.pack("<IQ", I32, len(value)) + struct.pack(f"<{len(value)}i", *value)


TO_ONES = 1.5 * 2.0**52  # beside it the lowest byte of a double counts ones: adding it rounds


def rounded(values, scale):
    """round(value / scale) of each as a signed byte."""
    return struct.pack(f"<{len(values)}d", *[value / scale + TO_ONES for value in values])[::8]


def q8_0(row):
    """The blocks of a row of floats whose length is a multiple of 32."""
    blocks = [row[begin : begin + 32] for begin in range(0, len(row), 32)]
    halves = struct.pack(f"<{len(blocks)}e", *[max(1e-6, max(block), -min(block)) / 127 for block in blocks])
    scales = struct.unpack(f"<{len(blocks)}e", halves)
    codes = struct.pack(f"<{len(row)}d", *[value / scale + TO_ONES for block, scale in zip(blocks, scales) for value in block])[::8]
    return b"".join(halves[2 * at : 2 * at + 2] + codes[32 * at : 32 * at + 32] for at in range(len(blocks)))


def q2_k_values(block):
    """The 256 values of 84 bytes: scales and minimums of four bits each, codes of two, and the two halves that multiply them."""
    scales, codes = block[:16], block[16:80]
    d, least = struct.unpack("<2e", block[80:])
    return [d * (scales[e // 16] & 15) * (codes[e // 128 * 32 + e % 32] >> e % 128 // 32 * 2 & 3) - least * (scales[e // 16] >> 4)
            for e in range(256)]


def q3_k_values(block):
    """The 256 values of 110 bytes: the codes' high bits, their two low ones, scales of six bits and the half that multiplies them."""
    high, codes, packed = block[:32], block[32:96], block[96:108]
    (d,) = struct.unpack("<e", block[108:])
    low = [packed[j] & 15 if j < 8 else packed[j - 8] >> 4 for j in range(16)]
    scales = [low[j] + (packed[8 + j % 4] >> 2 * (j // 4) & 3) * 16 - 32 for j in range(16)]
    return [d * scales[e // 16] * ((codes[e // 128 * 32 + e % 32] >> e % 128 // 32 * 2 & 3) - (0 if high[e % 32] >> e // 32 & 1 else 4))
            for e in range(256)]


def write_gguf(path, pairs, tensors):
    """`tensors`: name to (type, shape, outermost first, bytes)."""
    infos, data = b"", bytearray()
    for name, (kind, shape, values) in tensors.items():
        data += bytes(-len(data) % 32)
        infos += _text(name) + struct.pack("<I", len(shape)) + b"".join(
            struct.pack("<Q", extent) for extent in reversed(shape)) + struct.pack("<IQ", kind, len(data))
        data += values
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs))
    for key, value in pairs.items():
        kind, bytes_ = _value(value)
        header += _text(key) + struct.pack("<I", kind) + bytes_
    header += infos
    path.write_bytes(header + bytes(-len(header) % 32) + data)
