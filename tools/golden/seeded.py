"""Keeps golden files without the numbers that PyTorch's CPU generator gives again: what a file takes is then its names, and its results.

    python tools/golden/seeded.py pack tests/golden      FILE becomes FILE.seeded wherever that is less than half as large
    python tools/golden/seeded.py unpack tests/golden    and back, the same bytes: before a script of this folder reads FILE

The tests' build unpacks them all into a folder of its own (tests/tools/unpack_golden.cpp). FILE.seeded is, deflated by zlib:

    seeded 1 SIZE CRC32 DRAWS                     of FILE, the checksum in decimal
    OFFSET COUNT DTYPE SEED SKIP MEAN DEVIATION   a line a draw, by OFFSET: bytes from FILE's start; BF16, F16 or F32
    differences                                   a varint a value of every draw, in order: zigzag, little end first
    rest                                          FILE's bytes outside the draws, in order

Value i of a draw is MEAN + DEVIATION * normal i of torch.randn(COUNT) by a generator of SEED that has given SKIP words of 32 bits, computed
in fp64 and rounded to fp32, then to DTYPE; the difference is added to its bits as an integer. Nearly all are 0: PyTorch computes in fp32.
Which seed and place a stored tensor was drawn at is searched for, so that the scripts need not say.
"""

import argparse
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

SEEDS = (*range(100), *range(1000, 1016), *range(1080, 1100), *range(2000, 2016))  # those of the scripts are among them
WORDS = 1 << 19  # how far into a seed's words is searched
MATCH = 64  # fewer values are kept as they are
LEAST, LEAST_WITHOUT_DRAWS = 8192, 100_000  # bytes of a file that is packed; what has no draws is deflated alone
TYPES = {"BF16": np.uint16, "F16": np.uint16, "F32": np.uint32}

_uniforms = {}


def uniforms(seed, count):
    """The first `count` words of the generator as torch.rand makes them fp32: 24 bits in [0, 1)."""
    if seed not in _uniforms or len(_uniforms[seed]) < count:
        state = np.random.RandomState(seed)
        words = state.randint(0, 1 << 32, max(count, WORDS), dtype=np.uint32)
        _uniforms[seed] = (words & 0xFFFFFF) * 2.0**-24
    return _uniforms[seed]


def box_muller(first, second):
    radius, angle = np.sqrt(-2 * np.log(1 - first)), 2 * np.pi * second
    return radius * np.cos(angle), radius * np.sin(angle)


def normals(seed, skip, count):
    """torch.randn(count), count >= 16, in fp64: blocks of 16 words, eight radii and eight angles; where the last block is not whole, the last
    16 values are drawn anew."""
    words = uniforms(seed, skip + count + 16)[skip:]
    whole = count // 16 * 16
    values = np.empty(count)
    block = words[:whole].reshape(-1, 2, 8)
    values[:whole] = np.stack(box_muller(block[:, 0], block[:, 1]), axis=1).ravel()
    if whole < count:
        tail = words[count:count + 16].reshape(2, 8)
        values[-16:] = np.concatenate(box_muller(tail[0], tail[1]))
    return values


def bits_of(values, dtype):
    """fp64 to the bits of a dtype, through fp32."""
    single = values.astype(np.float32)
    if dtype == "F16":
        return single.astype(np.float16).view(np.uint16)
    bits = single.view(np.uint32)
    if dtype == "F32":
        return bits
    return ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def values_of(bits, dtype):
    if dtype == "F16":
        return bits.view(np.float16).astype(np.float64)
    return (bits if dtype == "F32" else bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def find_draw(values, seeds):
    """(seed of `seeds`, skip) at which the values, but for a mean and a factor, were drawn; None where there is none."""
    part = values[:48] - values[:48].mean()
    norm = np.sqrt((part**2).sum())
    if not np.isfinite(norm) or norm == 0:
        return None
    for seed in seeds:
        if seed not in _tables:
            words = uniforms(seed, WORDS)
            cosine, sine = box_muller(words[:-8], words[8:])
            _tables[seed] = cosine.astype(np.float32), sine.astype(np.float32)
        cosine, sine = _tables[seed]
        places = len(cosine) - 64
        # Three ratios sift the places: drawn values keep the ratio of their distances.
        at = lambda i: (cosine if i % 16 < 8 else sine)[i // 16 * 16 + i % 8:][:places]
        j = int(np.argmax(abs(values[:16] - values[0])))
        a, b, c, d = values[0], values[j], values[20], values[37]
        base = at(j) - at(0)
        fits = np.abs((at(20) - at(0)) * (b - a) - (c - a) * base) < 0.03 * np.abs(b - a) * np.abs(base)
        fits &= np.abs((at(37) - at(0)) * (b - a) - (d - a) * base) < 0.03 * np.abs(b - a) * np.abs(base)
        for skip in np.flatnonzero(fits):
            drawn = normals(seed, int(skip), 64)[:48]
            drawn = drawn - drawn.mean()
            if (drawn * part).sum() / np.sqrt((drawn**2).sum()) / norm > 0.9999:
                return seed, int(skip)
    return None


_tables = {}


def fit(values, bits, drawn, dtype):
    """(mean, deviation, differences): the deviation that rounds most values to their bits."""
    slope = ((drawn - drawn.mean()) * values).sum() / ((drawn - drawn.mean())**2).sum()
    mean = values.mean() - slope * drawn.mean()
    mean = 0.0 if abs(mean) < 0.02 * abs(slope) else float(round(mean, 3))
    # The range of deviations that gives each value; the one that most values share.
    step = {"BF16": 2.0**-9, "F16": 2.0**-12, "F32": 2.0**-25}[dtype]
    half = np.ldexp(2 * step, np.frexp(values)[1] - 1)
    use = np.abs(drawn) > 0.05
    ends = np.stack([(values - half - mean)[use] / drawn[use], (values + half - mean)[use] / drawn[use]])
    low, high = ends.min(0), ends.max(0)
    edges = np.concatenate([low, high])
    order = np.argsort(edges, kind="stable")
    depth = np.cumsum(np.where(order < len(low), 1, -1))
    best = int(np.argmax(depth))
    deviation = float((edges[order[best]] + edges[order[best + 1]]) / 2)
    for digits in range(1, 16):  # the shortest that is in the range
        short = float(f"{deviation:.{digits}g}")
        if edges[order[best]] < short < edges[order[best + 1]]:
            deviation = short
            break
    computed = bits_of(mean + deviation * drawn, dtype)
    return mean, deviation, bits.astype(np.int64) - computed.astype(np.int64)


def tensors_of(data, path):
    """(offset, bytes, dtype) of a file's arrays; of a .pth's, whose dtypes its pickle names, what each may be."""
    if path.suffix == ".safetensors":
        (length,) = struct.unpack_from("<Q", data)
        for name, entry in json.loads(data[8:8 + length]).items():
            if name != "__metadata__" and entry["dtype"] in TYPES:
                begin, end = entry["data_offsets"]
                yield 8 + length + begin, end - begin, (entry["dtype"],)
        return
    if path.suffix != ".pth":
        return
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if "/data/" in info.filename and info.compress_type == zipfile.ZIP_STORED:
                name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
                yield info.header_offset + 30 + name + extra, info.file_size, tuple(TYPES)


def draws_of(data, path):
    seeds, tried = SEEDS, 0
    for offset, size, dtypes in sorted(tensors_of(data, path)):
        for dtype in dtypes:
            if size % TYPES[dtype]().itemsize or size // TYPES[dtype]().itemsize < MATCH:
                continue
            if tried >= 4 and seeds is SEEDS:
                return  # results
            tried += 1
            bits = np.frombuffer(data, TYPES[dtype], size // TYPES[dtype]().itemsize, offset)
            with np.errstate(all="ignore"):
                values = values_of(bits, dtype)
                found = find_draw(values, seeds)
            if found:
                seeds = found[:1]  # a file has one
                drawn = normals(*found, len(bits))
                mean, deviation, differences = fit(values, bits, drawn, dtype)
                if np.abs(differences).max() >= 1 << 31 or (differences == 0).mean() < (0.02 if dtype == "F32" else 0.9):
                    continue
                yield offset, size, f"{offset} {len(bits)} {dtype} {found[0]} {found[1]} {mean!r} {deviation!r}", differences
                break


def varints(values):
    packed = bytearray()
    for value in ((values << 1) ^ (values >> 63)).tolist():
        while value >= 128:
            packed.append(value & 127 | 128)
            value >>= 7
        packed.append(value)
    return bytes(packed)


def pack(path):
    data = path.read_bytes()
    lines, differences, rest, end = [], b"", b"", 0
    for offset, size, line, difference in draws_of(data, path):
        lines.append(line)
        differences += varints(difference)
        rest += data[end:offset]
        end = offset + size
    rest += data[end:]
    header = "\n".join([f"seeded 1 {len(data)} {zlib.crc32(data)} {len(lines)}", *lines]) + "\n"
    packed = zlib.compress(header.encode() + differences + rest, 9)
    if 2 * len(packed) > len(data):
        return None
    target = path.with_name(path.name + ".seeded")
    target.write_bytes(packed)
    if unpacked(target) != data:
        raise SystemExit(f"{path}: does not unpack to the same bytes")
    return target


def unpacked(path):
    text = zlib.decompress(path.read_bytes())
    head, text = text.split(b"\n", 1)
    _, _, size, checksum, count = head.split()
    draws = []
    for _ in range(int(count)):
        line, text = text.split(b"\n", 1)
        offset, values, dtype, seed, skip, mean, deviation = line.decode().split()
        draws.append((int(offset), int(values), dtype, int(seed), int(skip), float(mean), float(deviation)))
    at = 0
    arrays = []
    for offset, count, dtype, seed, skip, mean, deviation in draws:
        bits = bits_of(mean + deviation * normals(seed, skip, count), dtype).astype(np.int64)
        for i in range(count):
            zigzag = shift = 0
            while True:
                byte = text[at]
                at += 1
                zigzag |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            bits[i] += zigzag >> 1 ^ -(zigzag & 1)
        arrays.append((offset, bits.astype(TYPES[dtype]).tobytes()))
    data = b""
    for offset, array in arrays:
        between = offset - len(data)
        data += text[at:at + between] + array
        at += between
    data += text[at:]
    if len(data) != int(size) or zlib.crc32(data) != int(checksum):
        raise SystemExit(f"{path}: not what was packed")
    return data


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("paths", type=Path, nargs="+", help="files, or folders of them")
    args = parser.parse_args()
    kinds = {"pack": ("*.safetensors", "*.pth", "*.json", "*.model"), "unpack": ("*.seeded",)}[args.action]
    for top in args.paths:
        files = [top] if top.is_file() else [path for kind in kinds for path in sorted(top.rglob(kind))]
        for path in files:
            least = LEAST if path.suffix in {".safetensors", ".pth", ".seeded"} else LEAST_WITHOUT_DRAWS
            if path.is_symlink() or path.stat().st_size < least:
                continue
            if args.action == "unpack":
                path.with_suffix("").write_bytes(unpacked(path))
                path.unlink()
            else:
                size, target = path.stat().st_size, pack(path)
                print(f"{path}: {size} " + (f"-> {target.stat().st_size}" if target else "stays"), flush=True)
                if target:
                    path.unlink()


if __name__ == "__main__":
    main()
