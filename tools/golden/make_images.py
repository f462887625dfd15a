#!/usr/bin/env python3
"""Golden images: files of many formats with the RGB that Pillow reads from them, resized images, and sizes.

    python make_images.py [--wan_dir DIR] [--out DIR]      (Pillow, torch, torchvision, numpy, safetensors: see requirements.txt)

Writes below DIR:
  files/NAME                 small JPEG, PNG and WebP files
  images.safetensors
    rgb.NAME                 uint8 [H, W, 3]: Image.open(files/NAME).convert("RGB"), upright, and over white where it has alpha
    lanczos.CASE.in, .WxH    uint8 [H, W, 3]: an image, and Image.resize((W, H), LANCZOS) of it
    bicubic.CASE.in, .WxH    uint8 and float32 [H, W, 3]: an image, and interpolate(mode="bicubic") of its unit range (in part: thin.py)
    unit                     float32 [256]: to_tensor(level).sub_(0.5).div_(0.5)
    sizes.i2v, .i2v.result   int32 [N, 5]: width, height, max_area, stride, patch; [N, 2]: width, height, or 0, 0 where official
                             code has a side of zero or fails
    sizes.ti2v, .ti2v.result int32 [N, 5]: width, height, width step, height step, area; [N, 6]: width, height, the width and
                             height that the image is resized to, and the crop's x and y

PNG files are written here, sample by sample, because Pillow writes few depths; every file's expectation comes from Pillow,
except where Pillow is known to do something else: tRNS with fewer than 8 or with 16 bits, 16-bit grey, and what an animation
without alpha leaves uncovered. The rules for sizes are taken from the official source files and run.
"""
import argparse
import ast
import io
import pathlib
import struct
import zlib

import numpy as np
import thin
import torch
import torchvision.transforms.functional as TF
from PIL import Image, ImageOps


def picture(width: int, height: int, seed: int, noise: float = 40.0) -> np.ndarray:
    """Gradients, an edge and noise, uint8 [H, W, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rng = np.random.default_rng(seed)
    base = np.stack([255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), 128 + 100 * np.sin(x / 3 + y / 5)], -1)
    base[(x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2] = (250, 20, 90)
    return np.clip(base + rng.normal(0, noise, base.shape), 0, 255).astype(np.uint8)


def over_white(rgba: np.ndarray) -> np.ndarray:
    """round((c * a + 255 * (255 - a)) / 255), which Pillow's paste gives as well."""
    image = Image.fromarray(rgba, "RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return np.asarray(white)


def pillow_rgb(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.has_transparency_data:
        return over_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def exif(orientation: int, big_endian: bool, type_: int = 3, before: int = 1) -> bytes:
    """A TIFF block with `before` other entries in front of the orientation."""
    order = ">" if big_endian else "<"
    block = (b"MM" if big_endian else b"II") + struct.pack(order + "HIH", 42, 8, before + 1)
    for i in range(before):
        block += struct.pack(order + "HHIHH", 0x0100 + i, 3, 1, 99, 0)
    value = struct.pack(order + "HH", orientation, 0) if type_ == 3 else struct.pack(order + "I", orientation)
    return block + struct.pack(order + "HHI", 0x0112, type_, 1) + value + struct.pack(order + "I", 0)


# ---- JPEG

def jpeg(image, **options) -> bytes:
    out = io.BytesIO()
    options.setdefault("quality", 85)
    image.save(out, "JPEG", **options)
    return out.getvalue()


def segment_at(data: bytes, marker: int) -> int:
    at = data.index(bytes([0xff, marker]))
    return at


def without_segment(data: bytes, marker: int) -> bytes:
    at = segment_at(data, marker)
    return data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2:at + 4])[0]:]


def jpegs() -> dict:
    photo = Image.fromarray(picture(37, 29, 1))
    square = Image.fromarray(picture(32, 32, 2))
    cmyk = Image.fromarray(np.concatenate([picture(21, 18, 3), picture(21, 18, 4)[..., :1]], -1), "CMYK")
    files = {}
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        files[f"{name}.jpg"] = jpeg(photo, subsampling=subsampling)
        files[f"{name}_progressive.jpg"] = jpeg(photo, subsampling=subsampling, progressive=True)
    for width, height in ((1, 1), (2, 1), (1, 3), (7, 5), (8, 8), (9, 16), (16, 17), (33, 2)):
        files[f"420_{width}x{height}.jpg"] = jpeg(Image.fromarray(picture(width, height, 5)), subsampling=2)
    # Two blocks side by side become two blocks one above the other: as many, and a valid file.
    wide = bytearray(jpeg(square, subsampling=1))
    wide[segment_at(wide, 0xc0) + 11] = 0x12
    files["440.jpg"] = bytes(wide)
    files["low_quality.jpg"] = jpeg(photo, quality=10)
    files["restarts.jpg"] = jpeg(photo, restart_marker_blocks=2)
    files["optimized.jpg"] = jpeg(photo, optimize=True, quality=95)
    files["grey.jpg"] = jpeg(photo.convert("L"))
    files["grey_progressive.jpg"] = jpeg(photo.convert("L"), progressive=True)
    files["rgb.jpg"] = jpeg(photo, keep_rgb=True)
    no_jfif = without_segment(files["444.jpg"], 0xe0)
    files["no_jfif.jpg"] = no_jfif
    files["cmyk.jpg"] = jpeg(cmyk)
    ycck = bytearray(files["cmyk.jpg"])
    ycck[segment_at(ycck, 0xee) + 15] = 2  # Adobe's transform: the same coefficients, as YCCK
    files["ycck.jpg"] = bytes(ycck)
    files["cmyk_no_adobe.jpg"] = without_segment(files["cmyk.jpg"], 0xee)
    files["trailing_bytes.jpg"] = files["420.jpg"] + b"after the image"
    for o in range(1, 9):
        block = b"Exif\0\0" + exif(o, big_endian=o % 2 == 0, before=o % 3)
        files[f"exif_{o}.jpg"] = jpeg(Image.fromarray(picture(11, 6, 6)), exif=block)
    files["exif_long.jpg"] = jpeg(Image.fromarray(picture(11, 6, 6)), exif=b"Exif\0\0" + exif(6, True, type_=4))
    files["exif_9.jpg"] = jpeg(Image.fromarray(picture(11, 6, 6)), exif=b"Exif\0\0" + exif(9, False))
    return {name: (data, pillow_rgb(data)) for name, data in files.items()}


# ---- PNG

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def packed(samples: np.ndarray, depth: int) -> bytes:
    """Rows of [H, W, C] samples, each behind its filter byte; filters change from row to row."""
    rows = b""
    before = b""
    step = max(1, samples.shape[2] * depth // 8)
    for y, row in enumerate(samples):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        elif depth == 8:
            line = row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row.reshape(-1))
            bits += "0" * (-len(bits) % 8)
            line = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        kind = y % 3  # none, sub, up
        if kind == 0 or (kind == 2 and not before):
            rows += b"\0" + line
        elif kind == 1:
            rows += b"\1" + bytes((v - (line[i - step] if i >= step else 0)) & 255 for i, v in enumerate(line))
        else:
            rows += b"\2" + bytes((v - u) & 255 for v, u in zip(line, before))
        before = line
    return rows


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples: np.ndarray, depth: int, color_type: int, interlaced=False, palette=b"", trns=b"", exif_block=b"",
        exif_behind=b"", extra=b"") -> bytes:
    height, width = samples.shape[:2]
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced))
    data += extra
    if exif_block:
        data += chunk(b"eXIf", exif_block)
    if palette:
        data += chunk(b"PLTE", palette)
    if trns:
        data += chunk(b"tRNS", trns)
    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b"".join(packed(part, depth) for part in parts if part.size)
    else:
        raw = packed(samples, depth)
    body = zlib.compress(raw, 9)
    half = len(body) // 2
    data += chunk(b"IDAT", body[:half]) + chunk(b"IDAT", body[half:])  # two chunks, as large files have
    if exif_behind:
        data += chunk(b"eXIf", exif_behind)
    return data + chunk(b"IEND", b"")


def png_rgb(samples: np.ndarray, depth: int, color_type: int, palette: bytes, trns: bytes) -> np.ndarray:
    """The rule of load_image, from the samples."""
    samples = samples.astype(np.int64)
    height, width, channels = samples.shape
    alpha = None
    if color_type == 3:
        colors = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        rgb = colors[samples[..., 0]]
        alphas = np.full(256, 255, np.uint8)
        alphas[:len(trns)] = np.frombuffer(trns, np.uint8)
        alpha = alphas[samples[..., 0]] if trns else None
    else:
        colors = 1 if color_type in (0, 4) else 3
        levels = samples >> 8 if depth == 16 else samples * (255 // ((1 << depth) - 1))
        rgb = np.broadcast_to(levels[..., :colors], (height, width, 3))
        if color_type in (4, 6):
            alpha = levels[..., -1]
        elif trns:
            key = np.array(struct.unpack(f">{colors}H", trns))
            alpha = np.where((samples[..., :colors] == key).all(-1), 0, 255)
    if alpha is None:
        return rgb.astype(np.uint8)
    return over_white(np.concatenate([rgb, alpha[..., None]], -1).astype(np.uint8))


def pngs() -> dict:
    rng = np.random.default_rng(7)
    files = {}

    def add(name, samples, depth, color_type, palette=b"", trns=b"", pillow=True, **options):
        data = png(samples, depth, color_type, palette=palette, trns=trns, **options)
        rgb = png_rgb(samples, depth, color_type, palette, trns)
        if pillow:
            assert np.array_equal(rgb, pillow_rgb(data)), name
        files[f"{name}.png"] = (data, rgb)

    names = {0: "grey", 2: "rgb", 3: "palette", 4: "grey_alpha", 6: "rgb_alpha"}
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for color_type, name in names.items():
        for depth in depths[color_type]:
            colors = min(1 << depth, 100)
            top = colors if color_type == 3 else 1 << depth
            samples = rng.integers(0, top, (7, 13, channels[color_type]))
            palette = rng.integers(0, 256, (colors, 3)).astype(np.uint8).tobytes() if color_type == 3 else b""
            grey16 = color_type == 0 and depth == 16
            for interlaced in (False, True):
                suffix = "_interlaced" if interlaced else ""
                add(f"{name}_{depth}{suffix}", samples, depth, color_type, palette, pillow=not grey16, interlaced=interlaced)
            if color_type == 3:
                alphas = rng.integers(0, 256, min(colors, 9)).astype(np.uint8).tobytes()
                add(f"{name}_{depth}_trns", samples, depth, color_type, palette, alphas)
            elif color_type in (0, 2):
                key = samples[3, 5]
                samples[1, ::2] = key  # several pixels of the transparent colour
                if depth == 16:
                    samples[2, ::2] = key ^ 1  # and some that differ from it in the low byte
                trns = struct.pack(f">{len(key)}H", *key)
                add(f"{name}_{depth}_trns", samples, depth, color_type, trns=trns, pillow=depth == 8)
    for interlaced in (False, True):
        for width, height in ((1, 1), (2, 3), (5, 1)):
            samples = rng.integers(0, 256, (height, width, 3))
            add(f"rgb_{width}x{height}{'_interlaced' if interlaced else ''}", samples, 8, 2, interlaced=interlaced)
    samples = picture(11, 6, 8)
    for o in range(1, 9):
        files[f"exif_{o}.png"] = (data := png(samples, 8, 2, exif_block=exif(o, o % 2 == 1)), pillow_rgb(data))
    data = png(samples, 8, 2, exif_behind=exif(6, True))
    files["exif_behind.png"] = (data, pillow_rgb(data))
    # Colour management is not applied, there or here.
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"sBIT", b"\5\6\5")
    add("gamma", samples, 8, 2, extra=gamma)
    # An animation's default image is what both read.
    animation = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 11, 6, 0, 0, 1, 10, 0, 0))
    data = png(samples, 8, 2, extra=animation)
    files["animated.png"] = (data, pillow_rgb(data))
    return files


# ---- WebP

def webp(image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", **options)
    return out.getvalue()


def moved_frame(data: bytes, x: int, y: int, canvas: tuple) -> bytes:
    """An animation whose frames begin at (x, y) of a larger canvas."""
    out = bytearray(data)
    at = out.index(b"VP8X") + 12
    out[at:at + 6] = (canvas[0] - 1).to_bytes(3, "little") + (canvas[1] - 1).to_bytes(3, "little")
    at = out.index(b"ANMF") + 8
    out[at:at + 6] = (x // 2).to_bytes(3, "little") + (y // 2).to_bytes(3, "little")
    return bytes(out)


def webps() -> dict:
    photo = Image.fromarray(picture(37, 29, 9))
    alpha = np.asarray(Image.fromarray(picture(37, 29, 10)).convert("RGBA")).copy()
    alpha[..., 3] = picture(37, 29, 11, 5)[..., 0]
    alpha = Image.fromarray(alpha, "RGBA")
    small = Image.fromarray(picture(11, 6, 12))
    files = {
        "lossy.webp": webp(photo, quality=80),
        "lossy_low.webp": webp(photo, quality=5),
        "lossless.webp": webp(photo, lossless=True),
        "lossy_alpha.webp": webp(alpha, quality=80),
        "lossless_alpha.webp": webp(alpha, lossless=True, exact=True),
        "lossy_1x1.webp": webp(photo.crop((0, 0, 1, 1))),
        "lossless_few_colors.webp": webp(photo.quantize(7).convert("RGB"), lossless=True),
        "animated.webp": webp(photo, save_all=True, append_images=[photo.rotate(90), photo], lossless=True),
        "animated_alpha.webp": webp(alpha, save_all=True, append_images=[alpha.rotate(90)], quality=70),
    }
    corner = alpha.crop((3, 3, 14, 9))
    for name, image in {"animated_part.webp": small, "animated_part_alpha.webp": corner}.items():
        frames = webp(image, save_all=True, append_images=[image.rotate(180)], lossless=True)
        files[name] = moved_frame(frames, 4, 2, (20, 12))
    for o in range(1, 9):
        prefix = b"Exif\0\0" if o % 3 == 0 else b""
        files[f"exif_{o}.webp"] = webp(small, lossless=True, exif=prefix + exif(o, o % 2 == 0))
    images = {name: (data, pillow_rgb(data)) for name, data in files.items()}
    # What a first frame does not cover is transparent; without an alpha channel in the file, Pillow has it black.
    rgb = images["animated_part.webp"][1].copy()
    covered = np.zeros(rgb.shape[:2], bool)
    covered[2:8, 4:15] = True
    assert (rgb[~covered] == 0).all()
    rgb[~covered] = 255
    images["animated_part.webp"] = (files["animated_part.webp"], rgb)
    return images


# ---- resizing

def resized() -> dict:
    arrays = {}
    lanczos = {
        "noise": (picture(37, 29, 13, 90), [(16, 16), (80, 61), (37, 58), (74, 29), (1, 1), (36, 30), (90, 3), (5, 70)]),
        "strip": (picture(1500, 3, 14, 90), [(64, 3), (33, 7), (1499, 1)]),
        "tall": (picture(2, 1100, 15, 90), [(2, 40), (5, 17)]),
        "pixel": (picture(1, 1, 16), [(4, 3)]),
        # Black and white squares: sums beyond both ends of the range.
        "squares": (np.repeat((np.indices((12, 12)).sum(0) // 2 % 2 * 255)[..., None], 3, 2).astype(np.uint8),
                    [(31, 33), (9, 8)]),
    }
    for case, (image, sizes) in lanczos.items():
        arrays[f"lanczos.{case}.in"] = image
        for size in sizes:
            out = Image.fromarray(image).resize(size, Image.LANCZOS)
            arrays[f"lanczos.{case}.{size[0]}x{size[1]}"] = np.asarray(out)
    bicubic = {
        "noise": (picture(37, 29, 17, 90), [(16, 16), (48, 33), (37, 29), (1, 1), (80, 7)]),
        "strip": (picture(4001, 2, 18, 90), [(4323, 1), (416, 2)]),
        "tall": (picture(1, 3001, 19, 90), [(1, 2896), (3, 464)]),
        "pixel": (picture(1, 1, 20), [(3, 2)]),
    }
    for case, (image, sizes) in bicubic.items():
        arrays[f"bicubic.{case}.in"] = image
        unit = TF.to_tensor(Image.fromarray(image)).sub_(0.5).div_(0.5)
        for width, height in sizes:
            out = torch.nn.functional.interpolate(unit[None], size=(height, width), mode="bicubic")[0]
            arrays[f"bicubic.{case}.{width}x{height}"] = out.permute(1, 2, 0).contiguous().numpy()
    levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    arrays["unit"] = TF.to_tensor(levels).sub_(0.5).div_(0.5).reshape(-1).numpy()
    return arrays


# ---- sizes

def official_i2v(wan_dir: pathlib.Path):
    """The statements of WanI2V.generate that make lat_h and lat_w, as a function."""
    source = ast.parse((wan_dir / "wan" / "image2video.py").read_text())
    wanted = {"aspect_ratio", "lat_h", "lat_w"}
    body = [node for node in ast.walk(source) if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in wanted]
    body.sort(key=lambda node: node.lineno)
    assert [node.targets[0].id for node in body] == ["aspect_ratio", "lat_h", "lat_w"]
    code = compile(ast.fix_missing_locations(ast.Module(body, [])), "image2video.py", "exec")

    class Self:
        pass

    def size(w, h, max_area, stride, patch):
        this = Self()
        this.vae_stride, this.patch_size = (4, stride, stride), (1, patch, patch)
        names = {"np": np, "self": this, "h": h, "w": w, "max_area": max_area}
        exec(code, names)
        width, height = names["lat_w"] * stride, names["lat_h"] * stride
        return (width, height) if width and height else (0, 0)

    return size


def official_ti2v(wan_dir: pathlib.Path):
    """best_output_size, and what WanTI2V.i2v does with it."""
    source = ast.parse((wan_dir / "wan" / "utils" / "utils.py").read_text())
    function = [node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == "best_output_size"]
    names = {}
    exec(compile(ast.Module(function, []), "utils.py", "exec"), names)

    def size(w, h, dw, dh, area):
        try:
            ow, oh = names["best_output_size"](w, h, dw, dh, area)
        except ZeroDivisionError:
            return (0,) * 6
        scale = max(ow / w, oh / h)
        rw, rh = round(w * scale), round(h * scale)
        return ow, oh, rw, rh, (rw - ow) // 2, (rh - oh) // 2

    return size


def sizes(wan_dir: pathlib.Path) -> dict:
    rng = np.random.default_rng(21)
    areas = (720 * 1280, 480 * 832, 704 * 1280, 1024 * 704, 128 * 128, 33 * 33, 480 * 480)
    images = [(w, h) for w in (1, 16, 480, 720, 832, 1280, 1920, 65535) for h in (1, 17, 480, 704, 720, 832, 1080, 65535)]
    images += [tuple(np.exp(rng.uniform(0, np.log(9000), 2)).astype(int).tolist()) for _ in range(300)]
    # Aspect ratios at which a side of the ideal size is a multiple of the step: where rounding decides.
    images += [(16 * int(a), 16 * int(b)) for a, b in rng.integers(1, 120, (300, 2))]
    i2v, ti2v = official_i2v(wan_dir), official_ti2v(wan_dir)
    i2v_in, ti2v_in = [], []
    for i, (w, h) in enumerate(images):
        for k in range(3):
            area = areas[(i + k) % len(areas)]
            i2v_in.append((w, h, area, *((8, 2) if k < 2 else (16, 2) if i % 2 else (12, 3))))
            ti2v_in.append((w, h, *((32, 32) if k < 2 else (16, 16) if i % 2 else (24, 40)), area))
        # The image's own area: the sides come back where they are multiples.
        if w * h < 2 ** 31:
            i2v_in.append((w, h, w * h, 8, 2))
            ti2v_in.append((w, h, 32, 32, w * h))
    with np.errstate(all="ignore"):
        i2v_out = [i2v(*case) for case in i2v_in]
        ti2v_out = [ti2v(*case) for case in ti2v_in]
    return {"sizes.i2v": np.array(i2v_in, np.int32), "sizes.i2v.result": np.array(i2v_out, np.int32),
            "sizes.ti2v": np.array(ti2v_in, np.int32), "sizes.ti2v.result": np.array(ti2v_out, np.int32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--wan_dir", type=pathlib.Path, default=root / "Wan2.2", help="the official code")
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests" / "golden" / "images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    (options.out / "files").mkdir(parents=True, exist_ok=True)

    arrays = {}
    for name, (data, rgb) in (jpegs() | pngs() | webps()).items():
        (options.out / "files" / name).write_bytes(data)
        arrays[f"rgb.{name}"] = rgb
    arrays |= resized() | sizes(options.wan_dir)
    thin.save(options.out / "images.safetensors", arrays, lambda name: name.startswith("bicubic.") and not name.endswith(".in"))


if __name__ == "__main__":
    main()
