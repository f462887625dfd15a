"""Make the golden file of what speech to video makes of pictures: tests/golden/speech_pictures/pictures.safetensors.

    python tools/golden/make_speech_pictures.py --wan_dir Wan2.2 --out tests/golden/speech_pictures

  sizes [n, 5] int64    a picture's width and height, a largest area, and the official get_size_less_than_area of them
  CASE.in [H, W, 3] uint8; CASE.picture, CASE.pose [height, width, 3] float32
                        a picture, and torchvision's Resize and CenterCrop of it as PIL's image and as a float tensor, large ones
                        thinned out (thin.py)

Versions: requirements.txt beside this file.
"""

import argparse
import ast
import math
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

import thin

AREAS = [1280 * 720, 832 * 480, 1024 * 704, 64 * 64, 300 * 200]
PICTURES = [(1280, 720), (832, 480), (1024, 1024), (832, 1104), (256, 256), (64, 64), (65, 64), (1920, 1080), (1080, 1920), (4000, 300),
            (640, 479), (333, 777), (5000, 5000), (100, 101)]
# Name: width and height of the picture, then of the video: smaller and larger, with and without padding on either side.
CASES = {"down": (45, 35, 32, 32), "up": (20, 15, 32, 32), "pads_width": (35, 32, 64, 32), "pads_height": (25, 21, 24, 32),
         "odd": (21, 45, 32, 40), "same": (32, 24, 32, 24)}


def official_size(wan_dir):
    """The official method, without importing its module's dependencies."""
    source = (Path(wan_dir) / "wan/speech2video.py").read_text()
    method = next(node for node in ast.walk(ast.parse(source))
                  if isinstance(node, ast.FunctionDef) and node.name == "get_size_less_than_area")
    scope = {"math": math}
    exec(compile(ast.Module([method], []), "speech2video.py", "exec"), scope)
    return scope[method.name]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/speech_pictures"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    size_of = official_size(args.wan_dir)
    sizes = []
    for area in AREAS:
        for width, height in PICTURES:
            out_height, out_width = size_of(None, height, width, area, 64)
            if out_height > 0 and out_width > 0:
                sizes.append((width, height, area, out_width, out_height))
    arrays = {"sizes": torch.tensor(sizes)}
    rng = np.random.default_rng(7)
    for name, (width, height, out_width, out_height) in CASES.items():
        levels = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        levels = np.asarray(Image.fromarray(levels).resize((width, height), Image.BICUBIC))  # neither noise nor smooth
        resize = transforms.Resize(min(out_width, out_height))
        crop = transforms.CenterCrop((out_height, out_width))
        picture = transforms.ToTensor()(crop(resize(Image.fromarray(levels)))) * 2 - 1.0
        frames = torch.from_numpy(levels.copy())[None].permute(0, 3, 1, 2) / 255.0 * 2 - 1.0
        pose = crop(resize(frames))[0]
        arrays[f"{name}.in"] = torch.from_numpy(levels.copy())
        arrays[f"{name}.picture"] = picture.permute(1, 2, 0).contiguous()
        arrays[f"{name}.pose"] = pose.permute(1, 2, 0).contiguous()
    thin.save(args.out / "pictures.safetensors", arrays, lambda name: name.endswith((".picture", ".pose")))


if __name__ == "__main__":
    main()
