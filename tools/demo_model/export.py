"""Writes a checkpoint directory in the layout of Wan2.2-T2V-A14B.

    python -m tools.demo_model.export --state STATE --out models/demo     the trained demo
    python -m tools.demo_model.export --random --out DIR                  random weights, for tests

`--state` is the folder that tools/demo_model/train.py fills.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import tokenizer, world
from .dit import Dit, DitConfig
from .text_encoder import TextConfig, TextEncoder
from .vae import Vae, VaeConfig

GENERATION = {
    "task": "t2v-A14B",
    "size": f"{world.SIZE}*{world.SIZE}",
    "frame_num": world.FRAMES,
    "fps": world.FPS,
    "sample_steps": 20,
    "sample_shift": 5.0,
    "sample_guide_scale": [4.0, 4.0],
    "boundary": 0.875,
    "negative_prompt": "",
    "sample_solver": "unipc",
}


def dit_config_json(config):
    return {"_class_name": "WanModel", "dim": config.dim, "eps": config.eps, "ffn_dim": config.ffn_dim,
            "freq_dim": config.freq_dim, "in_dim": config.channels, "model_type": "t2v", "num_heads": config.heads,
            "num_layers": config.layers, "out_dim": config.channels, "text_len": config.text_len}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def to_bf16(state):
    return {key: value.detach().to(torch.bfloat16).contiguous().clone() for key, value in state.items()}


def write_checkpoint(out, experts, dit_config, text_state, vae_state, spiece):
    """`experts`: {"high_noise_model": state, "low_noise_model": state}; the VAE's normalisation is folded in."""
    out = Path(out)
    for name, state in experts.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(to_bf16(state), folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        write_json(folder / "config.json", dit_config_json(dit_config))
    torch.save(to_bf16(text_state), out / "models_t5_umt5-xxl-enc-bf16.pth")
    torch.save(to_bf16(vae_state), out / "Wan2.1_VAE.pth")
    tokenizer.export(spiece, out / "google" / "umt5-xxl")
    write_json(out / "generation_config.json", GENERATION)


def random_states(seed):
    """Random weights of the demo's shapes, with every layer taking part (the DiT's zero-initialised head too)."""
    torch.manual_seed(seed)
    experts = {}
    for name in ("high_noise_model", "low_noise_model"):
        dit = Dit(DitConfig())
        torch.nn.init.normal_(dit.head.head.weight, std=0.05)
        experts[name] = dit.state_dict()
    return experts, TextEncoder(TextConfig()).state_dict(), Vae(VaeConfig()).state_dict()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--state", type=Path, help="folder written by train.py")
    source.add_argument("--random", action="store_true", help="random weights instead of trained ones")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.random:
        spiece = args.out / "google" / "umt5-xxl" / "spiece.model"
        tokenizer.train(spiece)
        experts, text, vae = random_states(args.seed)
    else:
        spiece = args.state / "spiece.model"
        experts = {f"{name}_noise_model": load_file(args.state / f"{name}.safetensors") for name in ("high", "low")}
        text = load_file(args.state / "text.safetensors")
        vae = load_file(args.state / "vae.safetensors")
    write_checkpoint(args.out, experts, DitConfig(), text, vae, spiece)
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
