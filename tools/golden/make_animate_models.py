"""Make the golden files of character animation's models: tests/golden/models/animate.

    python tools/golden/make_animate_models.py --wan_dir Wan2.2 --checkpoint tests/golden/animate/checkpoint \\
        --out tests/golden/models/animate

What the official code, on the CPU in fp32 (official.py), makes of random inputs with the models of make_animate.py's checkpoint.
Versions: requirements.txt beside this file, and peft 0.21.2 and opencv-python-headless 5.0.0.

NAME.safetensors
  latent [16, F, h, w], timestep [1] int64, context [n, text_dim], y [20, F, h, w], pose [16, F - 1, h, w],
  image [257, image_dim], faces [4 (F - 2) + 1, size, size, 3] uint8: inputs
  output [16, F, h, w]: the velocity
  tap.PATH: outputs of layers (taps.py); tap.patch_embedding is all that block 0 gets [tokens, dim]
clip.safetensors    picture [H, W, 3] uint8; pixels [3, 224 / 8, 224 / 8]: every eighth row and column; tokens [257, dim]
fits.safetensors    NAME.picture, NAME.fitted [H, W, 3] uint8: the pipeline's padding_resize(), by OpenCV
directions.safetensors   NAME.matrix, NAME.q: torch.linalg.qr
"""

import argparse
import os
import re
import shutil
from pathlib import Path

import torch

from make_models import save_golden
from official import load_animate_task
from taps import ANIMATE_LAYERS, Taps, animate_values

OUTPUT = re.compile("head")

# Latent frames, height, width, timestep, text tokens, layers kept.
FORWARDS = {
    "short": (3, 4, 4, 999, 7, ANIMATE_LAYERS),
    "long": (5, 4, 6, 500, 11, OUTPUT),
}


def make_forward(model, face_size, settings, generator):
    frames, height, width, timestep, tokens, layers = settings
    draw = lambda *shape: torch.randn(shape, generator=generator)
    count = 4 * (frames - 2) + 1
    inputs = {"latent": draw(16, frames, height, width), "timestep": torch.tensor([timestep]),
              "context": draw(tokens, model.text_dim), "y": draw(20, frames, height, width),
              "pose": draw(16, frames - 1, height, width), "image": draw(257, model.img_emb.proj[1].in_features),
              "faces": torch.randint(0, 256, (count, face_size, face_size, 3), generator=generator, dtype=torch.uint8)}
    taps = Taps()
    taps.listen("", model, layers, animate_values)
    more = {}
    hook = model.blocks[0].register_forward_pre_hook(lambda _, args: more.update({"tap.patch_embedding": args[0][0].clone()}))
    faces = (inputs["faces"] / 127.5 - 1).permute(3, 0, 1, 2)[None]
    output = model([inputs["latent"]], t=inputs["timestep"].float(), clip_fea=inputs["image"][None],
                   context=[inputs["context"]], seq_len=frames * height * width // 4, y=[inputs["y"]],
                   pose_latents=inputs["pose"][None], face_pixel_values=faces)[0]
    taps.close()
    hook.remove()
    if layers is OUTPUT:
        more = {}
    return {**inputs, **more, "output": output}, taps


def make_clip(clip, path, generator):
    picture = torch.randint(0, 256, (20, 36, 3), generator=generator, dtype=torch.uint8)
    seen = {}
    hook = clip.model.visual.register_forward_pre_hook(lambda _, args: seen.update(pixels=args[0][0].clone()))
    tokens = clip.visual([(picture / 127.5 - 1).permute(2, 0, 1)[:, None]])[0]
    hook.remove()
    save_golden(path, {"picture": picture, "pixels": seen["pixels"][:, ::8, ::8].contiguous(), "tokens": tokens})


# Picture, video: each width, height. Larger, smaller by odd factors, by two, and in one direction alone.
FITS = {"larger": (13, 9, 48, 32), "smaller": (61, 47, 32, 16), "half": (64, 40, 32, 20), "tall": (17, 50, 32, 32),
        "same": (24, 16, 24, 16), "wide": (90, 12, 32, 32), "column": (3, 40, 16, 16)}


def make_fits(pipeline, path, generator):
    arrays = {}
    for name, (width, height, to_width, to_height) in FITS.items():
        picture = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
        fitted = pipeline.padding_resize(None, picture.numpy(), height=to_height, width=to_width)
        arrays.update({f"{name}.picture": picture, f"{name}.fitted": torch.from_numpy(fitted)})
    save_golden(path, arrays)


def make_directions(path, generator):
    square = torch.randn(6, 6, generator=generator)
    tall = torch.randn(40, 20, generator=generator)
    bare = torch.randn(7, 3, generator=generator)
    bare[:, 0] = torch.tensor([-2.0, 0, 0, 0, 0, 0, 0])  # there is nothing to reflect
    bare[0, 1] = 0.0
    matrices = {"square": square, "tall": tall, "bare": bare}
    save_golden(path, {f"{name}.{kind}": value.contiguous() for name, matrix in matrices.items()
                       for kind, value in (("matrix", matrix), ("q", torch.linalg.qr(matrix)[0]))})


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--checkpoint", type=Path, default=Path("tests/golden/animate/checkpoint"))
    parser.add_argument("--out", type=Path, default=Path("tests/golden/models/animate"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    torch.set_num_threads(1)  # sums are split by thread: one thread gives the same bytes on every run
    task = load_animate_task(args.wan_dir)
    model = task.module.WanAnimateModel.from_pretrained(args.checkpoint).eval()
    face_size = 4 << sum(".conv1.0.weight" in name for name in model.motion_encoder.state_dict())
    clip = task.module.CLIPModel(None, None, args.checkpoint / task.config.clip_checkpoint, None)
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1097)
    for name, settings in FORWARDS.items():
        save_golden(args.out / f"{name}.safetensors", *make_forward(model, face_size, settings, generator))
    make_clip(clip, args.out / "clip.safetensors", generator)
    make_fits(task.pipeline, args.out / "fits.safetensors", generator)
    make_directions(args.out / "directions.safetensors", generator)
    total = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
