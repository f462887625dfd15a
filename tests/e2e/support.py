"""What the end-to-end tests share: running the program, small readers of the files it writes, damaged checkpoints.

Standard library only. The environment names the program (WAN_BINARY), the source tree (WAN_SOURCE_DIR) and golden files as the
build of the tests unpacks them (WAN_GOLDEN_DIR).
"""

import ast
import functools
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path

WAN = os.environ.get("WAN_BINARY", "build/apps/cli/wan")
SOURCE = Path(os.environ.get("WAN_SOURCE_DIR", Path(__file__).resolve().parents[2]))
UNPACKED = Path(os.environ.get("WAN_GOLDEN_DIR", SOURCE / "build/golden"))
CHECKPOINT = UNPACKED / "pipeline/checkpoint"

INVALID_ARGUMENT, BAD_FILE, UNSUPPORTED, OUT_OF_MEMORY, IO, CANCELLED = 64, 65, 69, 71, 74, 130
REFUSAL_SECONDS = 1.0  # of processor time: what a refusal may take on any machine, however busy


@dataclass
class Result:
    status: int
    out: str
    err: str
    seconds: float  # of processor time

    @property
    def events(self):
        return [json.loads(line) for line in self.out.splitlines()]


def environment(extra=None):
    env = {**os.environ, "OMP_WAIT_POLICY": "passive", "LC_ALL": "C.UTF-8"}
    env.pop("WORLD_SIZE", None)
    env.update(extra or {})
    return env


def run(*arguments, cwd=None, env=None):
    """Runs wan with these arguments; bytes are passed as they are."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([WAN, *map(os.fspath, arguments)], cwd=cwd, env=environment(env), timeout=300,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"),
                  seconds)


def may_mount():
    """Whether a test may mount a small disk of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True,
                          check=False).returncode == 0


# Small and quick: one thread, as the tests run beside each other.
SMALL = {"--size": "32*32", "--frame_num": "5", "--sample_steps": "3", "--base_seed": "7", "--threads": "1",
         "--prompt": "a red circle moves right"}


def generate_arguments(checkpoint=CHECKPOINT, **options):
    """Arguments of a small generation; options by name without dashes, None leaves one out, True makes a flag."""
    merged = {"--ckpt_dir": str(checkpoint), **SMALL, **{"--" + name: value for name, value in options.items()}}
    arguments = ["generate"]
    for name, value in merged.items():
        if value is None:
            continue
        arguments += [name] if value is True else [name, value if isinstance(value, bytes) else str(value)]
    return arguments


@functools.cache
def finished():
    """Bytes of the small video and of its latents, kept on request."""
    with tempfile.TemporaryDirectory(prefix="wan-e2e-") as folder:
        result = run(*generate_arguments(save_file="video.mp4", save_latents="kept.safetensors"), cwd=folder)
        assert result.status == 0, result.err
        return tuple((Path(folder) / name).read_bytes() for name in ("video.mp4", "kept.safetensors"))


class WanTest(unittest.TestCase):
    """A test with an empty folder of its own, in which the program runs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="wan-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_wan(self, *arguments, env=None):
        return run(*arguments, cwd=self.folder, env=env)

    def generate(self, *flags, env=None, **options):
        """A generation that must succeed."""
        result = self.run_wan(*generate_arguments(**options), *flags, env=env)
        self.assertEqual(result.status, 0, result.err + result.out)
        return result

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def assert_refused(self, result, status, *words):
        """One line on standard error with these words, this status, nothing written, quickly."""
        self.assertEqual(result.status, status, result.err)
        self.assertEqual(result.out, "")
        self.assertRegex(result.err, r"\Aerror: [^\n]+\n\Z")
        for word in words:
            self.assertIn(word, result.err)
        self.assertNotRegex(result.err, r"\[[a-z_]+\] expected", "a message for developers")
        self.assertLess(result.seconds, REFUSAL_SECONDS)
        self.assertEqual([name for name in self.names() if name.startswith((".", "t2v"))], [])

    def copy_checkpoint(self, name="checkpoint"):
        return Path(shutil.copytree(CHECKPOINT, self.folder / name))


# --- readers ---------------------------------------------------------------------------------------------------------


@dataclass
class Array:
    dtype: str
    shape: tuple
    values: array


def read_npy(path):
    """A C-ordered little-endian .npy file."""
    data = Path(path).read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", path
    (length,) = struct.unpack_from("<H", data, 8)
    assert (10 + length) % 64 == 0, path
    header = ast.literal_eval(data[10 : 10 + length].decode("latin-1"))
    assert not header["fortran_order"], path
    name, code = {"<f4": ("float32", "f"), "<i8": ("int64", "q"), "|u1": ("uint8", "B")}[header["descr"]]
    values = array(code)
    values.frombytes(data[10 + length :])
    count = 1
    for extent in header["shape"]:
        count *= extent
    assert len(values) == count, path
    return Array(name, header["shape"], values)


def read_png(path):
    """(width, height, RGB bytes, text chunks) of an 8-bit RGB file."""
    data = Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    position, header, packed, texts = 8, None, b"", {}
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        (crc,) = struct.unpack_from(">I", data, position + 8 + length)
        assert crc == zlib.crc32(kind + body), (path, kind)
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        elif kind == b"tEXt":
            key, value = body.split(b"\0", 1)
            texts[key.decode("latin-1")] = value.decode("latin-1")
        elif kind == b"iTXt":
            key, rest = body.split(b"\0", 1)
            assert rest[:1] == b"\0", "compressed text"
            texts[key.decode("latin-1")] = rest[2:].split(b"\0", 2)[2].decode("utf-8")
        position += 12 + length
    width, height, depth, colour, _, _, interlace = header
    assert (depth, colour, interlace) == (8, 2, 0), (path, header)
    return width, height, _unfilter(zlib.decompress(packed), width, height), texts


def write_png(path, width, height, pixel):
    """8-bit RGB; pixel(x, y) -> (r, g, b)."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + bytes(level for x in range(width) for level in pixel(x, y)) for y in range(height))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def _unfilter(rows, width, height):
    stride = 3 * width
    out, above = [], bytes(stride)
    for begin in range(0, height * (stride + 1), stride + 1):
        kind, row = rows[begin], bytearray(rows[begin + 1 : begin + 1 + stride])
        if kind == 2:
            row = bytearray([(value + up) & 255 for value, up in zip(row, above)])
        elif kind != 0:
            undo = {1: _to_the_left, 3: _mean, 4: _paeth}[kind]
            for channel in range(3):
                row[channel::3] = bytes(undo(row[channel::3], above[channel::3]))
        out.append(row)
        above = row
    return b"".join(out)


# What a filter has left of a line, and the line above: the line. Before the first pixel there is a zero.


def _to_the_left(line, _):
    left = 0
    for value in line:
        left = (value + left) & 255
        yield left


def _mean(line, above):
    left = 0
    for value, up in zip(line, above):
        left = (value + (left + up >> 1)) & 255
        yield left


def _paeth(line, above):
    left = corner = 0
    for value, up in zip(line, above):
        to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        if to_left > to_up or to_left > to_corner:
            left = up if to_up <= to_corner else corner
        left, corner = (value + left) & 255, up
        yield left


def bf16_floats(data):
    """The floats of bf16 values."""
    widened = bytearray(2 * len(data))
    widened[2::4], widened[3::4] = data[::2], data[1::2]
    return array("f", bytes(widened)).tolist()


def psnr(a, b):
    """Of levels of 8 bits, in dB."""
    return 10 * math.log10(255 ** 2 * len(a) / max(1e-9, math.dist(a, b) ** 2))


def boxes(data, start=0, end=None):
    """(kind, body start, body end) of the MP4 boxes in data[start:end]."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        assert head <= size <= end - start, (kind, size)
        yield kind.decode("latin-1"), start + head, start + size
        start += size


def find_box(data, path, start=0, end=None):
    for kind in path.split("/"):
        start, end = next((first, last) for name, first, last in boxes(data, start, end) if name == kind)
    return start, end


@dataclass
class Movie:
    seconds: float
    frames: int
    width: int
    height: int
    metadata: dict
    order: list  # of the top-level boxes


def read_mp4(path):
    data = Path(path).read_bytes()
    order = [kind for kind, _, _ in boxes(data)]
    start, _ = find_box(data, "moov/mvhd")
    assert data[start] == 0
    scale, duration = struct.unpack_from(">II", data, start + 12)
    start, _ = find_box(data, "moov/trak/tkhd")
    width, height = struct.unpack_from(">II", data, start + 76)
    start, _ = find_box(data, "moov/trak/mdia/minf/stbl/stsz")
    (frames,) = struct.unpack_from(">I", data, start + 8)
    return Movie(duration / scale, frames, width >> 16, height >> 16, _mp4_metadata(data), order)


def _mp4_metadata(data):
    kinds = [kind for kind, _, _ in boxes(data, *find_box(data, "moov"))]
    if "udta" not in kinds and "meta" not in kinds:
        return {}
    start, end = find_box(data, "moov/udta/meta" if "udta" in kinds else "moov/meta")
    if data[start + 4 : start + 8] != b"hdlr":  # an ISO meta box begins with version and flags, QuickTime's does not
        start += 4
    keys, _ = find_box(data, "keys", start, end)
    names, position = [], keys + 8
    for _ in range(struct.unpack_from(">I", data, keys + 4)[0]):
        (size,) = struct.unpack_from(">I", data, position)
        names.append(data[position + 8 : position + size].decode("utf-8"))
        position += size
    values = {}
    for kind, first, last in boxes(data, *find_box(data, "ilst", start, end)):
        body, stop = find_box(data, "data", first, last)
        (index,) = struct.unpack(">I", kind.encode("latin-1"))
        values[names[index - 1]] = data[body + 8 : stop].decode("utf-8")
    return values


def read_safetensors(path):
    """(header with metadata, bytes of the tensors)."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data, 0)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_safetensors(path, header, body):
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def change_tensors(path, change):
    """Rewrites a .safetensors file after change(tensors), where tensors is {name: [dtype, shape, bytes]}."""
    header, body = read_safetensors(path)
    metadata = header.pop("__metadata__", {})
    tensors = {name: [entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])]]
               for name, entry in header.items()}
    change(tensors)
    header, body = {"__metadata__": metadata}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    write_safetensors(path, header, body)


def frame_values(folder, pattern, count):
    """Bytes of the numbered PNG files, one after the other."""
    return b"".join(read_png(Path(folder) / (pattern % number))[2] for number in range(count))
