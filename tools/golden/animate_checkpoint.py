"""A random checkpoint directory in the layout of Wan2.2-Animate-14B, small enough to commit."""

import re
import sys
from pathlib import Path

import torch

import random_weights
from official import build_animate_model
from pipeline_cases import ATTENTION

TRANSFORMER = dict(patch_size=[1, 2, 2], text_len=512, in_dim=36, dim=20, ffn_dim=24, freq_dim=64, text_dim=32, out_dim=16,
                   num_heads=2, num_layers=10, eps=1e-6, motion_encoder_dim=12, use_img_emb=True)
SIZES = dict(image_dim=32, face_dim=8, motion_dim=12, motion_directions=5, face_channels=[4, 6, 8])
CLIP = dict(image_size=224, patch_size=14, dim=32, mlp_ratio=1, out_dim=4, num_heads=16, num_layers=3, pool_type="token",
            pre_norm=True, post_norm=False, activation="gelu")
# What is beside the latent must matter.
GAINS = {**ATTENTION, r"face_adapter\.fuser_blocks\.\d+\.linear2\.weight": 2.0, r".*cross_attn\.v_img\.weight": 2.0}
LORA_RANK = 2
LORA_LINEARS = re.compile(r"blocks\.\d+\.(self_attn\.[qkvo]|cross_attn\.([qkvo]|k_img|v_img)|ffn\.[02])\.weight")


def write_clip(module, path):
    visual = module.VisionTransformer(**CLIP).state_dict()
    state = random_weights.fill(visual, 95, rules=((r".*embedding", 0.5), (r"head", 0.5)))
    random_weights.write_pth(path, {f"visual.{name}": value for name, value in state.items()}, torch.float16)


def write_lora(path, state):
    """Half as large as the weights that it is added to."""
    generator = torch.Generator().manual_seed(96)
    pairs = {}
    for name, weight in state.items():
        if LORA_LINEARS.fullmatch(name):
            out, inner = weight.shape
            base = name.removesuffix(".weight")
            pairs[f"{base}.lora_A.weight"] = torch.randn(LORA_RANK, inner, generator=generator)
            product = torch.randn(out, LORA_RANK, generator=generator)
            scale = 0.5 * weight.std() / (product @ pairs[f"{base}.lora_A.weight"]).std()
            pairs[f"{base}.lora_B.weight"] = product * scale
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": pairs}, path)


def write_checkpoint(task, folder):
    """Text encoder, tokenizer and VAE are links to those of make_pipeline.py's."""
    config = task.config
    folder.mkdir(parents=True)
    for name in ("google", config.t5_checkpoint, config.vae_checkpoint):
        (folder / name).symlink_to(Path("../../pipeline/checkpoint_i2v") / name)
    models = sys.modules
    module = models["wan.modules.animate.model_animate"]
    build = lambda config, sizes: build_animate_model(module, config, sizes)
    state = random_weights.scale(random_weights.animate_state(build, TRANSFORMER, SIZES, 93), GAINS)
    random_weights.write_animate_transformer(folder, TRANSFORMER, state, torch.bfloat16)
    write_clip(models["wan.modules.animate.clip"], folder / config.clip_checkpoint)
    write_lora(folder / config.lora_checkpoint, state)
