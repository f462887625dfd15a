#!/usr/bin/env python3
"""Golden files of diffusers' layout: small random models as diffusers saves them, and what its transformer computes.

Versions: diffusers 0.42.1, or 0.36.0, whose tensors are the same to the bit, torch, safetensors. In --out:
  transformer/                      config.json and weights (bf16) of a WanTransformer3DModel
  transformer_pass.safetensors      latent [C, F, h, w], context [n, text_dim], timestep (int64 [1]), velocity [C, F, h, w]
  vae21/, vae22/                    config.json and weights (bf16) of an AutoencoderKLWan
  vae21_pass, vae22_pass.safetensors  latents [C, T, h, w] as diffusers decodes them, with channels' mean and deviation in them; frames [F, H, W, 3] in [-1, 1];
                                    encoded: the mean of the latents of these frames

    python tools/golden/make_layouts.py --out tests/golden/layouts
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file


def randomize(model, seed):
    """No parameter is zero or one throughout; queries and keys have large gains."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.3 if parameter.dim() < 2 else 1.2 / parameter[0].numel() ** 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1.0)
            if "norm_q" in name or "norm_k" in name:
                parameter.mul_(2.0)
            parameter.copy_(parameter.bfloat16())
    return model.eval()


def save(model, folder):
    """In bf16, to which randomize() has rounded."""
    model.save_config(folder)
    save_file({name: value.bfloat16() for name, value in model.state_dict().items()},
              folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def save_vae(model, seed, shape, out, name):
    save(model, out / name)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        frames = model.decode(latents[None]).sample
        encoded = model.encode(frames).latent_dist.mean[0]
    save_file({"latents": latents, "frames": frames[0].permute(1, 2, 3, 0).contiguous(), "encoded": encoded.contiguous()},
              out / f"{name}_pass.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    transformer = randomize(WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=4, out_channels=4, text_dim=16, freq_dim=16, ffn_dim=64,
        num_layers=1, rope_max_seq_len=32), 1)
    save(transformer, out / "transformer")
    generator = torch.Generator().manual_seed(2)
    latent = torch.randn(4, 3, 4, 6, generator=generator)
    context = torch.randn(7, 16, generator=generator)
    padded = torch.cat([context, torch.zeros(512 - 7, 16)])
    with torch.no_grad():
        velocity = transformer(latent[None], torch.tensor([637]), padded[None]).sample[0]
    save_file({"latent": latent, "context": context, "timestep": torch.tensor([637]), "velocity": velocity.contiguous()},
              out / "transformer_pass.safetensors")
    vae = lambda z: dict(z_dim=z, latents_mean=[0.0] * z, latents_std=[1.0] * z, base_dim=2, dim_mult=[1, 2, 2, 2])
    save_vae(randomize(AutoencoderKLWan(**vae(16)), 3), 5, (16, 2, 1, 2), out, "vae21")
    save_vae(randomize(AutoencoderKLWan(**vae(48), decoder_base_dim=2, is_residual=True, patch_size=2, in_channels=12, out_channels=12,
                                        scale_factor_spatial=16), 4), 6, (48, 2, 1, 1), out, "vae22")


if __name__ == "__main__":
    main()
