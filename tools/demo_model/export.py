"""Writes a checkpoint directory in the layout of Wan2.2-T2V-A14B or Wan2.2-I2V-A14B.

    python -m tools.demo_model.export --state STATE --out models/demo             the trained demo
    python -m tools.demo_model.export --i2v --state STATE --out models/demo-i2v   its image-to-video sibling
    python -m tools.demo_model.export --s2v --state STATE --out models/demo-s2v   speech to video
    python -m tools.demo_model.export --animate --state STATE --out models/demo-animate   character animation
    python -m tools.demo_model.export --vae STATE/vae.safetensors --out models/demo   the VAE that both share, anew
    python -m tools.demo_model.export --random --out DIR                          random weights, for tests

`--state` is the folder that tools/demo_model/train.py fills; with --i2v, that of train_i2v.py, and so on. The
image-to-video checkpoint shares text encoder, tokenizer and VAE with the one in `--base` by relative symbolic links, the
speech-to-video and the animation one text encoder and tokenizer.
"""

import argparse
import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import animate_dit, figures, s2v_dit, tokenizer, wav2vec2, world
from .condition import BOUNDARY as I2V_BOUNDARY
from .dit import Dit, DitConfig, config_of
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
I2V_GENERATION = {**GENERATION, "task": "i2v-A14B", "boundary": I2V_BOUNDARY}
S2V_GENERATION = {
    "task": "s2v-14B",
    "fps": 16,
    "frame_num": 80,
    "sample_steps": 10,
    "sample_shift": 3.0,
    "sample_guide_scale": 1.0,
    "negative_prompt": "",
    "sample_solver": "unipc",
}
ANIMATE_GENERATION = {
    "task": "animate-14B",
    "frame_num": figures.CLIP,
    "sample_steps": 10,
    "sample_shift": 5.0,
    "sample_guide_scale": 1.0,
    "negative_prompt": "",
    "sample_solver": "unipc",
}
VAE_NAME = "Wan2.1_VAE.pth"
CLIP_NAME = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
AUDIO_FOLDER = "wav2vec2-large-xlsr-53-english"
SHARED = ("models_t5_umt5-xxl-enc-bf16.pth", VAE_NAME, "google")


def dit_config_json(config):
    return {"_class_name": "WanModel", "dim": config.dim, "eps": config.eps, "ffn_dim": config.ffn_dim,
            "freq_dim": config.freq_dim, "in_dim": config.channels + config.condition_channels,
            "model_type": "i2v" if config.condition_channels else "t2v", "num_heads": config.heads,
            "num_layers": config.layers, "out_dim": config.channels, "text_len": config.text_len}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def to_bf16(state):
    return {key: value.detach().to(torch.bfloat16).cpu().contiguous().clone() for key, value in state.items()}


def write_experts(out, experts, dit_config):
    for name, state in experts.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(to_bf16(state), folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        write_json(folder / "config.json", dit_config_json(dit_config))


def write_checkpoint(out, experts, dit_config, text_state, vae_state, spiece):
    """`experts`: {"high_noise_model": state, "low_noise_model": state}; the VAE's normalisation is folded in."""
    out = Path(out)
    write_experts(out, experts, dit_config)
    torch.save(to_bf16(text_state), out / "models_t5_umt5-xxl-enc-bf16.pth")
    write_vae(out, vae_state)
    tokenizer.export(spiece, out / "google" / "umt5-xxl")
    write_json(out / "generation_config.json", GENERATION)


def link_to(base, names, out):
    """Relative symbolic links to what another checkpoint holds already."""
    for name in names:
        link = out / name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(base / name, out), target_is_directory=(base / name).is_dir())


def write_i2v_checkpoint(out, experts, base):
    """The experts of image to video, and links to what `base` holds already."""
    write_experts(out, experts, config_of(experts["high_noise_model"]))
    link_to(base, SHARED, out)
    write_json(out / "generation_config.json", I2V_GENERATION)


def write_s2v_checkpoint(out, dit_state, vae_state, audio_state, base):
    """Transformer, VAE and audio encoder of speech to video, and links to the text encoder and tokenizer of `base`."""
    out = Path(out)
    audio = out / AUDIO_FOLDER
    audio.mkdir(parents=True, exist_ok=True)
    save_file(to_bf16(dit_state), out / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", s2v_dit.config_json(s2v_dit.config_of(dit_state)))
    write_vae(out, vae_state)
    save_file(to_bf16(audio_state), audio / "model.safetensors", metadata={"format": "pt"})
    write_json(audio / "config.json", wav2vec2.config_json(wav2vec2.AudioConfig()))
    write_json(audio / "preprocessor_config.json", wav2vec2.PREPROCESSOR)
    link_to(base, (name for name in SHARED if name != VAE_NAME), out)
    write_json(out / "generation_config.json", S2V_GENERATION)


def write_animate_checkpoint(out, dit_state, vae_state, tower_state, base):
    """Transformer, VAE and image tower of character animation, and links to the text encoder and tokenizer of `base`."""
    out = Path(out)
    save_file(to_bf16(animate_dit.published_faces(dit_state)), out / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", animate_dit.config_json(animate_dit.AnimateConfig()))
    write_vae(out, vae_state)
    torch.save({f"visual.{name}": value.half().clone() for name, value in tower_state.items()}, out / CLIP_NAME)
    link_to(base, (name for name in SHARED if name != VAE_NAME), out)
    write_json(out / "generation_config.json", ANIMATE_GENERATION)


def write_vae(out, state):
    torch.save(to_bf16(state), Path(out) / VAE_NAME)


def random_states(seed):
    """Random weights of the demo's shapes, with every layer taking part (the DiT's zero-initialised head too)."""
    torch.manual_seed(seed)
    experts = {}
    for name in ("high_noise_model", "low_noise_model"):
        dit = Dit(DitConfig())
        torch.nn.init.normal_(dit.head.head.weight, std=0.05)
        experts[name] = dit.state_dict()
    return experts, DitConfig(), TextEncoder(TextConfig()).state_dict(), Vae(VaeConfig()).state_dict()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--state", type=Path, help="folder written by train.py")
    source.add_argument("--vae", type=Path, help="file of a VAE's weights, the one part to write")
    source.add_argument("--random", action="store_true", help="random weights instead of trained ones")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--i2v", action="store_true", help="the image-to-video experts")
    parser.add_argument("--s2v", action="store_true", help="speech to video")
    parser.add_argument("--animate", action="store_true", help="character animation")
    parser.add_argument("--base", type=Path, default=Path("models/demo"), help="whose other parts --i2v, --s2v and --animate share")
    args = parser.parse_args()
    if (args.i2v or args.s2v or args.animate) and not args.state:
        parser.error("--i2v, --s2v and --animate need --state: what train_i2v.py, train_s2v.py or train_animate.py has made")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.random:
        spiece = args.out / "google" / "umt5-xxl" / "spiece.model"
        tokenizer.train(spiece)
        write_checkpoint(args.out, *random_states(args.seed), spiece)
    elif args.vae:
        write_vae(args.out, load_file(args.vae))
    elif args.s2v:
        parts = (load_file(args.state / f"{name}.safetensors") for name in ("s2v", "vae", "wav2vec2"))
        write_s2v_checkpoint(args.out, *parts, args.base)
    elif args.animate:
        parts = (load_file(args.state / f"{name}.safetensors") for name in ("animate", "vae", "tower"))
        write_animate_checkpoint(args.out, *parts, args.base)
    else:
        experts = {f"{name}_noise_model": load_file(args.state / f"{name}.safetensors") for name in ("high", "low")}
        if args.i2v:
            write_i2v_checkpoint(args.out, experts, args.base)
        else:
            write_checkpoint(args.out, experts, DitConfig(), load_file(args.state / "text.safetensors"),
                             load_file(args.state / "vae.safetensors"), args.state / "spiece.model")
    for path in args.out.rglob("*.safetensors"):
        if not path.is_symlink():
            path.chmod(0o644)  # safetensors writes for its owner alone
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file() and not p.is_symlink())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
