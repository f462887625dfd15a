"""Scores the PyTorch models on the two prompt lists, without any engine and without MP4 files.

    python -m tools.demo_model.torch_scores [--ckpt_dir models/demo] [--out DIR]

Prints one JSON line a setting: both experts, each alone, other guidance, other step counts. With --out it also writes
the frames of the main setting as .npz files. `evaluate.py` is the same for the engine's MP4s.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from . import tokenizer as tokens
from . import train_dit, train_text, train_vae, world
from .judge import FIELDS, foreground, judge, score
from .sampler import sample_latents, to_frames
from .vae import normalised_decode

HERE = Path(__file__).parent


class Models:
    """The parts of a checkpoint; `vae_state`: of another VAE in place of its own."""

    def __init__(self, folder, device, vae_state=None):
        def pickled(name):
            return torch.load(folder / name, map_location=device, weights_only=True)

        def expert(name):
            return load_file(folder / name / "diffusion_pytorch_model.safetensors", device=str(device))

        self.device = device
        self.tokenizer = tokens.Tokenizer(folder / "google" / "umt5-xxl" / "spiece.model")
        self.encoder = train_text.load(pickled("models_t5_umt5-xxl-enc-bf16.pth"), device)
        self.vae = train_vae.load(vae_state or pickled("Wan2.1_VAE.pth"), device)
        self.experts = {name: train_dit.load(expert(f"{name}_noise_model"), device) for name in ("high", "low")}

    @torch.no_grad()
    def clips(self, texts, **settings):
        latents = sample_latents(self.experts, self.encoder, self.tokenizer, texts, self.device, **settings)
        return np.concatenate([to_frames(normalised_decode(self.vae, part)) for part in latents.split(10)])


def real_clips(vae, items, device):
    """What the VAE alone loses: rendered clips of the prompts' scenes, and their reconstructions."""
    scenes = [world.Scene(*(item[f] for f in FIELDS)) for item in items]
    renderer = world.Renderer(scenes, device)
    generator = torch.Generator(device).manual_seed(9)
    clips = renderer(torch.arange(len(scenes), device=device), torch.arange(world.FRAMES, device=device), generator)
    return to_frames(clips), to_frames(train_vae.reconstruct(vae, clips))


def tidiness(clips):
    """How far clips are from two clean colours, means over clips.

    `blur`: share of pixels between 15% and 85% of the way from the background's colour to the shape's (the rendered
    clips' smooth edges have some); `dirt`: RMS distance, in 8-bit levels, from the line between the two colours.
    """
    blur, dirt = [], []
    for clip in clips.astype(np.float32):
        background = np.median(clip[:, :3].reshape(-1, 3), axis=0)
        masks, colour = foreground(clip, background)
        if masks is None:
            continue
        along = colour - background
        place = ((clip - background) @ along) / np.square(along).sum()
        blur.append(np.mean((place > 0.15) & (place < 0.85)))
        on_line = background + place.clip(0, 1)[..., None] * along
        dirt.append(np.sqrt(np.square(clip - on_line).sum(-1).mean()))
    return {"blur": round(float(np.mean(blur)), 4), "dirt": round(float(np.mean(dirt)), 2)} if blur else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_dir", type=Path, default=Path("models/demo"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--limit", type=int, default=60, help="prompts of each list")
    parser.add_argument("--only", action="store_true", help="the main setting alone")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    models = Models(args.ckpt_dir, device)
    settings = [{}, {"use": "high"}, {"use": "low"}, {"guidance": (2.0, 2.0)}, {"seed": 1}, {"steps": 12}]
    for name in ("heldout", "patterns"):
        items = json.loads((HERE / f"prompts_{name}.json").read_text())[:args.limit]

        def report(setting, clips):
            counts = score([(judge(clip), item) for clip, item in zip(clips, items)])
            print(json.dumps({"list": name, **setting, **counts, **tidiness(clips)}), flush=True)

        real, decoded = real_clips(models.vae, items, device)
        report({"clips_from": "renderer"}, real)
        report({"clips_from": "autoencoder"}, decoded)
        for setting in settings[:1] if args.only else settings:
            clips = models.clips([item["prompt"] for item in items], **setting)
            report(setting, clips)
            if args.out and not setting:
                args.out.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(args.out / f"{name}.npz", clips=clips)


if __name__ == "__main__":
    main()
