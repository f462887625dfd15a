"""Trains the demo's models in stages. Each stage leaves a file in --state; a stage whose file is there is skipped.

    python -m tools.demo_model.train --state STATE [--quick]
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import tokenizer as tokens
from . import train_dit, train_text, train_vae, world
from .kept import Log
from .optim import training_device

# Steps, and the most seconds that they may take. Sized for one H100.
FULL = {
    "text": {"steps": 6000, "seconds": 90},
    "vae": {"phases": [(1, 64, 3200, 180, 3e-3), (17, 4, 9600, 400, 1.5e-3)]},
    "clips": 24_000,
    "sentences": 120,
    "high": {"steps": 15_200, "seconds": 300, "peak": 1.6e-3},
    "low": {"steps": 16_200, "seconds": 300, "peak": 1.6e-3},
}
QUICK = {  # every stage once, to see that it runs
    "text": {"steps": 6, "seconds": 60, "per_scene": 2, "batch": 16},
    "vae": {"phases": [(1, 4, 2, 60, 3e-3), (5, 1, 2, 60, 2e-3)], "measured": 1},
    "clips": 4,
    "sentences": 1,
    "high": {"steps": 3, "seconds": 60, "peak": 1e-3, "batch": 4},
    "low": {"steps": 3, "seconds": 60, "peak": 1e-3, "batch": 4},
}


def save(state, path):
    """Whole or not at all, so that a stage cut off is done again."""
    part = path.with_suffix(".part")
    save_file({key: value.detach().float().cpu().contiguous() for key, value in state.items()}, part)
    part.rename(path)


def run(state, plan, device, log):
    spiece = state / "spiece.model"
    if not spiece.exists():
        tokens.train(spiece)
    tokenizer = tokens.Tokenizer(spiece)
    scenes, _ = world.split_scenes()

    def stage(name, train):
        path = state / f"{name}.safetensors"
        if not path.exists():
            log({"begin": name})
            save(train(), path)
        return load_file(path, device=str(device))

    def train_encoder():
        return train_text.train(tokenizer, device, log, **plan["text"]).state_dict()

    def train_autoencoder():
        return train_vae.train(device, log, **plan["vae"]).state_dict()

    text = stage("text", train_encoder)
    vae_state = stage("vae", train_autoencoder)
    if all((state / f"{name}.safetensors").exists() for name in ("high", "low")):
        return
    log({"begin": "latents"})
    encoder, vae = train_text.load(text, device), train_vae.load(vae_state, device)
    data = (*train_vae.encode_clips(vae, scenes, plan["clips"], device),
            *train_text.context_table(encoder, tokenizer, scenes, plan["sentences"], device))
    log({"latents": list(data[0].shape), "mean": round(data[0].float().mean().item(), 3),
         "deviation": round(data[0].float().std().item(), 3)})
    for name in ("high", "low"):
        stage(name, lambda: train_dit.train(name, data, device, log, **plan[name]))
    log({"done": True})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of the stages' files")
    parser.add_argument("--quick", action="store_true", help="a few tiny steps of everything, on a CPU too")
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    run(args.state, QUICK if args.quick else FULL, training_device(), Log(args.state / "log.jsonl"))


if __name__ == "__main__":
    main()
