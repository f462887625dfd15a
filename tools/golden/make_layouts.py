#!/usr/bin/env python3
"""Golden files of diffusers' layout: small random models as diffusers and transformers save them, and what they compute.

Versions: diffusers 0.42.1, or 0.36.0, whose tensors are the same to the bit, torch, safetensors, transformers 4.51.3 (animate/: 0.36.0). In --out:
  transformer/                      config.json and weights (bf16) of a WanTransformer3DModel
  transformer_pass.safetensors      latent [C, F, h, w], context [n, text_dim], timestep (int64 [1]), velocity [C, F, h, w]
  vae21/, vae22/                    config.json and weights (bf16) of an AutoencoderKLWan
  vae21_pass, vae22_pass.safetensors  latents [C, T, h, w] as diffusers decodes them, with channels' mean and deviation in them; frames [F, H, W, 3] in [-1, 1];
                                    encoded: the mean of the latents of these frames
  animate/                          config.json and weights (bf16) of a WanAnimateTransformer3DModel
  animate_pass.safetensors          latent [16, F, h, w], y [20, F, h, w], pose [16, F - 1, h, w], image [n, image_dim], faces [4 (F - 2) + 1, size, size, 3] uint8, context,
                                    timestep, velocity
  text_encoder/                     config.json and weights (bf16) of a UMT5EncoderModel
  text_encoder_pass.safetensors     ids [n] int64, output [n, dim] of 512 tokens that are padded and masked
  image_encoder/                    config.json and weights (bf16) of a CLIPVisionModel
  image_encoder_pass.safetensors    pixels [3, size, size], tokens [n, dim]: what its last layer but one gives

    python tools/golden/make_layouts.py --out tests/golden/layouts
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel, WanTransformer3DModel
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel


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


def make_animate(out):
    model = randomize(WanAnimateTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=36, latent_channels=16, out_channels=16, text_dim=16, freq_dim=16, ffn_dim=16,
        num_layers=5, image_dim=16, added_kv_proj_dim=24, rope_max_seq_len=32, motion_encoder_channel_sizes={"4": 8, "8": 6, "16": 4},
        motion_encoder_size=16, motion_style_dim=8, motion_dim=3, motion_encoder_dim=8, face_encoder_hidden_dim=8, face_encoder_num_heads=2), 7)
    save(model, out / "animate")
    generator = torch.Generator().manual_seed(8)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    latent, y, pose, image, context = draw(16, 3, 4, 6), draw(20, 3, 4, 6), draw(16, 2, 4, 6), draw(5, 16), draw(7, 16)
    faces = torch.randint(0, 256, (5, 16, 16, 3), generator=generator, dtype=torch.uint8)
    padded = torch.cat([context, torch.zeros(512 - 7, 16)])
    with torch.no_grad():
        velocity = model(torch.cat([latent, y])[None], torch.tensor([637]), padded[None], image[None], pose[None],
                         (faces / 127.5 - 1).permute(3, 0, 1, 2)[None]).sample[0]
    save_file({"latent": latent, "y": y, "pose": pose, "image": image, "faces": faces, "context": context, "timestep": torch.tensor([637]),
               "velocity": velocity.contiguous()}, out / "animate_pass.safetensors")


def save_pretrained(model, folder):
    """As transformers does, in bf16, to which randomize() has rounded."""
    model.to(torch.bfloat16).save_pretrained(folder)
    model.to(torch.float32)


def make_text_encoder(out):
    model = randomize(UMT5EncoderModel(UMT5Config(
        vocab_size=48, d_model=24, d_kv=8, num_heads=3, d_ff=40, num_layers=2, relative_attention_num_buckets=8)), 9)
    save_pretrained(model, out / "text_encoder")
    ids = torch.randint(2, 48, (19,), generator=torch.Generator().manual_seed(10))
    padded = torch.cat([ids, torch.zeros(512 - len(ids), dtype=torch.int64)])[None]
    with torch.no_grad():
        output = model(padded, attention_mask=(torch.arange(512) < len(ids)).long()[None]).last_hidden_state[0, : len(ids)]
    save_file({"ids": ids, "output": output.contiguous()}, out / "text_encoder_pass.safetensors")


def make_image_encoder(out):
    model = randomize(CLIPVisionModel(CLIPVisionConfig(
        hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=16, image_size=12, patch_size=4, hidden_act="gelu")), 11)
    save_pretrained(model, out / "image_encoder")
    pixels = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(12))
    with torch.no_grad():
        tokens = model(pixels[None], output_hidden_states=True).hidden_states[-2][0]
    save_file({"pixels": pixels, "tokens": tokens.contiguous()}, out / "image_encoder_pass.safetensors")


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
    make_animate(out)
    make_text_encoder(out)
    make_image_encoder(out)


if __name__ == "__main__":
    main()
