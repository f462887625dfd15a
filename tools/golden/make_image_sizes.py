"""Make the table of the sizes that the official image-to-video pipelines derive: tests/golden/images/sizes.json.

    python tools/golden/make_image_sizes.py --wan_dir Wan2.2 --out tests/golden/images

A list of objects; sizes are [width, height] in pixels:
  task      i2v-A14B or ti2v-5B
  image     size of the image file
  area      the width and height given by --size, of which the product counts
  output    size of the video; null where the official code fails, or makes it 0 wide or high
  resized   ti2v-5B: size after the Lanczos filter
  crop      ti2v-5B: left and upper edge of what is cut out of that

The official generate() runs on blank images and is stopped where it draws noise. Versions: requirements.txt beside this file.
"""

import argparse
import json
import os
import types
from pathlib import Path
from unittest import mock

import torch
from PIL import Image

from official import load_official

# Common sizes of photographs, videos and screens, squares, both orientations, sizes of one's own; very long ones.
IMAGES = [(1280, 720), (720, 1280), (1920, 1080), (1080, 1920), (3000, 2000), (1024, 1024), (512, 512), (640, 480),
          (1600, 1067), (1067, 1600), (1333, 999), (854, 480), (480, 854), (1170, 2532), (2048, 858), (999, 1001), (97, 61),
          (61, 97), (150, 102), (21, 34), (37, 113), (1, 1), (300, 100), (100, 300), (1000, 60), (60, 1000), (4000, 7)]
AREAS = {"i2v-A14B": [(1280, 720), (480, 832), (848, 480), (64, 48)],
         "ti2v-5B": [(1280, 704), (704, 1280), (832, 480), (64, 64)]}


class Drawn(Exception):
    """Carries the shape of the noise."""


def draw(*shape, **_):
    raise Drawn(shape)


def sizes_of(task, image, area):
    pipeline = object.__new__(task.pipeline)
    pipeline.device, pipeline.sp_size = torch.device("cpu"), 1
    pipeline.vae_stride, pipeline.patch_size = task.config.vae_stride, task.config.patch_size
    pipeline.vae = types.SimpleNamespace(model=types.SimpleNamespace(z_dim=48))
    entry = {"task": task.name, "image": image, "area": area, "output": None}
    resize, crop = Image.Image.resize, Image.Image.crop

    def record_resize(self, size, *args):
        entry["resized"] = size
        return resize(self, size, *args)

    def record_crop(self, box):
        entry["crop"] = box[:2]
        return crop(self, box)

    with (mock.patch.object(Image.Image, "resize", record_resize), mock.patch.object(Image.Image, "crop", record_crop),
          mock.patch.object(task.module.torch, "randn", draw)):
        try:
            pipeline.generate("", img=Image.new("RGB", image), max_area=area[0] * area[1], frame_num=5, seed=0)
        except Drawn as drawn:
            height, width = drawn.args[0][2:]
            stride = task.config.vae_stride
            if height and width:
                entry["output"] = (width * stride[2], height * stride[1])
        except (ZeroDivisionError, AssertionError):
            pass
    if entry["output"] is None:
        entry = {key: entry[key] for key in ("task", "image", "area", "output")}
    return entry


def images_of_a_tie(task, area):
    """Images whose scaled width or height ends in one half, which Python rounds to the even neighbour."""
    width, height = area
    return [(2 * width + 1, 2 * height), (2 * width + 3, 2 * height), (2 * width, 2 * height + 1),
            (2 * width, 2 * height + 3)] if task == "ti2v-5B" else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/images"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    official = load_official(args.wan_dir)
    entries = [sizes_of(official.tasks[task], image, area) for task, areas in AREAS.items() for area in areas
               for image in IMAGES + images_of_a_tie(task, area)]
    args.out.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
    (args.out / "sizes.json").write_text(f"[\n{lines}\n]\n")
    failed = sum(entry["output"] is None for entry in entries)
    print(f"{args.out / 'sizes.json'}: {len(entries)} entries, {failed} without an output")


if __name__ == "__main__":
    main()
