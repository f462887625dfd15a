"""Run the official Wan2.2 code on the CPU in fp32 and write what `wan generate --dump DIR` writes.

    python tools/golden/reference.py --wan_dir Wan2.2 --ckpt_dir DIR --prompt "a red circle" --base_seed 1 --dump OUT

`--wan_dir` (or the environment variable WAN_REFERENCE_DIR) is a checkout of github.com/Wan-Video/Wan2.2. Its pipeline runs
as it is, from tokens to frames, with its bf16 casts and CUDA assertions patched out (official.py). Options left out come from
the checkpoint directory's generation_config.json, then from the official constants. The noise is that of PyTorch's CPU
generator, or a file's. Two dumps are compared by compare_dumps.py. Versions: requirements.txt beside this file.
"""

import argparse
import json
import os
import re
from pathlib import Path

import numpy as np
import torch

import generation
from official import TASKS, load_official
from taps import Taps, transformer_values, vae_values


def guide_scale(text):
    values = [float(part) for part in text.split(",")]
    if len(values) not in (1, 2):
        raise argparse.ArgumentTypeError("expected one value or low,high")
    return values if len(values) == 2 else values * 2


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--task", choices=TASKS, default="t2v-A14B")
    parser.add_argument("--ckpt_dir", type=Path, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--negative_prompt")
    parser.add_argument("--image", type=Path, help="first frame, for i2v-A14B and ti2v-5B")
    parser.add_argument("--size", help="W*H or WxH, pixels; with --image their product is an area")
    parser.add_argument("--frame_num", type=int, help="4n + 1")
    parser.add_argument("--sample_solver", choices=["unipc", "dpm++"])
    parser.add_argument("--sample_steps", type=int)
    parser.add_argument("--sample_shift", type=float)
    parser.add_argument("--sample_guide_scale", type=guide_scale, help="one value, or low,high")
    parser.add_argument("--base_seed", type=int, default=0)
    parser.add_argument("--noise", type=Path, help=".npy file [C, F, h, w] instead of drawn noise")
    parser.add_argument("--dump", type=Path, help="folder for the .npy files and manifest.json")
    parser.add_argument("--taps", action="store_true", help="every named module output as well, in DUMP/taps")
    parser.add_argument("--save_file", type=Path, help="video written by the official save_video")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    if not (args.dump or args.save_file):
        parser.error("nothing to write: give --dump or --save_file")
    return args


def write_dump(folder, arrays, manifest, taps=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    for name, calls in (taps.calls if taps else {}).items():
        (folder / "taps").mkdir(exist_ok=True)
        for index, array in enumerate(calls):
            np.save(folder / "taps" / f"{name}.{index:04d}.npy", array)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    official = load_official(args.wan_dir)
    task = official.tasks[args.task]
    request = generation.resolve_request(
        task, args.ckpt_dir, args.prompt, args.base_seed, args.image, negative_prompt=args.negative_prompt, size=args.size,
        frame_num=args.frame_num, sample_solver=args.sample_solver, sample_steps=args.sample_steps,
        sample_shift=args.sample_shift, sample_guide_scale=args.sample_guide_scale)
    pipeline = generation.load_pipeline(task, args.ckpt_dir, request.boundary)
    noise = np.load(args.noise) if args.noise else None
    recording = generation.Recording(official, pipeline, request, noise)
    taps = Taps()
    if args.taps:
        for name in task.models:
            taps.listen(name, getattr(pipeline, name), values=transformer_values)
        # The prompt's own rows of the 512; the tables of relative positions are no layer.
        taps.listen("text_encoder", pipeline.text_encoder.model, only=re.compile(r"(?!.*pos_embedding).*"),
                    values=lambda _path, output: [output[0][:recording.text_tokens]])
        taps.listen("vae", pipeline.vae.model, values=vae_values)
    video = recording.run()
    if args.dump:
        write_dump(args.dump, recording.arrays, recording.manifest(), taps)
    if args.save_file:
        official.utils.save_video(video[None], save_file=str(args.save_file), fps=request.fps, nrow=1, normalize=True,
                                  value_range=(-1, 1))
        if not args.save_file.is_file():
            raise SystemExit(f"{args.save_file}: the official save_video wrote nothing")


if __name__ == "__main__":
    main()
