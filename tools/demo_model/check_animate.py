"""Compares what the `wan` program dumps of one step of character animation with what the PyTorch models make of the same inputs.

    wan generate --task animate-14B --ckpt_dir CKPT --src_root_path DIR --sample_steps 1 --dump DUMP --save_file a.mp4 [--replace_flag]
    python -m tools.demo_model.check_animate --ckpt_dir CKPT --dump DUMP
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from . import animate_dit, train_face_vae
from .clip_tower import Tower
from .export import CLIP_NAME, VAE_NAME
from .vae import normalised_decode, normalised_encode

LIMIT = 2e-3  # of the largest value: the program's blocks and VAE are in fp32 on a CPU, PyTorch's too


@torch.no_grad()
def compare(ckpt, dump):
    """[(what, largest difference, largest value)]."""
    def load(name):
        return torch.from_numpy(np.load(dump / f"{name}.npy"))

    vae = train_face_vae.load(torch.load(ckpt / VAE_NAME, weights_only=True), "cpu")
    dit = animate_dit.load(load_file(ckpt / "diffusion_pytorch_model.safetensors"), "cpu")
    tower = Tower().eval()
    state = torch.load(ckpt / CLIP_NAME, weights_only=True)
    tower.load_state_dict({name.removeprefix("visual."): value.float() for name, value in state.items()})
    found = []

    def same(what, given, made):
        found.append((what, float((given - made).abs().max()), float(made.abs().max())))

    picture = load("ref_image").permute(2, 0, 1)[None] / 127.5 - 1
    image = tower(picture)
    same("image_embedding", load("image_embedding"), image[0])
    pose = normalised_encode(vae, load("clip_00_pose_video")[None])
    same("pose_latents", load("clip_00_pose_latents"), pose[0])
    faces = load("clip_00_face_video").permute(0, 3, 1, 2) / 127.5 - 1
    motion = torch.cat([dit.motion_encoder(part) for part in faces.split(4)])[None]
    same("face_motion", load("clip_00_face_motion"), motion[0])
    same("face_tokens", load("clip_00_face_tokens"), dit.face_encoder(motion)[0])
    noise, condition, context = load("clip_00_noise")[None], load("clip_00_condition")[None], load("context_prompt")
    context = context.reshape(1, -1, context.shape[-1])
    context = context[:, : int(context.abs().sum(-1).ne(0).sum())]
    velocity = dit(noise, torch.tensor([float(load("timesteps").reshape(-1)[0])]), context, condition, pose, motion, image)
    same("velocity", load("clip_00_step_00_cond").reshape(velocity.shape[1:]), velocity[0])
    # One step goes from noise alone to no noise.
    same("decoded", load("clip_00_decoded"), normalised_decode(vae, (noise - velocity)[:, :, 1:])[0])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_dir", type=Path, default=Path("models/demo-animate"))
    parser.add_argument("--dump", type=Path, required=True)
    args = parser.parse_args()
    failed = False
    for what, difference, largest in compare(args.ckpt_dir, args.dump):
        failed |= difference > LIMIT * max(largest, 1.0)
        print(f"{what}: {difference:.2e} of {largest:.3g}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
