"""Trains a few tiny steps of speech to video, exports the checkpoint, and compares its tensors with the published ones' names and
shapes at these widths. On a CPU, in a few minutes.

    python -m tools.demo_model.check_s2v --sounds DIR      DIR as prepare_s2v.py fills it
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open

from .export import AUDIO_FOLDER, VAE_NAME


def linear(name, cin, cout):
    return {f"{name}.weight": (cout, cin), f"{name}.bias": (cout,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def convolution(name, cin, cout, *kernel):
    return {f"{name}.weight": (cout, cin, *kernel), f"{name}.bias": (cout,)}


def attention(name, dim):
    shapes = {f"{name}.norm_{part}.weight": (dim,) for part in "qk"}
    for part in "qkvo":
        shapes |= linear(f"{name}.{part}", dim, dim)
    return shapes


def transformer(c):
    """Of WanModel_S2V's config.json, {name: shape}."""
    dim, text, mouths = c["dim"], 128, len(c["audio_inject_layers"])
    shapes = {"trainable_cond_mask.weight": (3, dim), "head.modulation": (1, 2, dim),
              "casual_audio_encoder.weights": (1, 25, 1, 1), "casual_audio_encoder.encoder.padding_tokens": (1, 1, 1, dim)}
    shapes |= convolution("patch_embedding", 16, dim, 1, 2, 2) | convolution("cond_encoder", 16, dim, 1, 2, 2)
    for name, kernel in (("proj", (1, 2, 2)), ("proj_2x", (2, 4, 4)), ("proj_4x", (4, 8, 8))):
        shapes |= convolution(f"frame_packer.{name}", 16, dim, *kernel)
    shapes |= linear("text_embedding.0", text, dim) | linear("text_embedding.2", dim, dim)
    shapes |= linear("time_embedding.0", c["freq_dim"], dim) | linear("time_embedding.2", dim, dim)
    shapes |= linear("time_projection.1", dim, 6 * dim) | linear("head.head", dim, 64)
    for name, cin, cout in (("conv1_local", c["audio_dim"], dim // 4 * c["num_audio_token"]),
                            ("conv1_global", c["audio_dim"], dim // 4), ("conv2", dim // 4, dim // 2),
                            ("conv3", dim // 2, dim)):
        shapes |= convolution(f"casual_audio_encoder.encoder.{name}.conv", cin, cout, 3)
    shapes |= linear("casual_audio_encoder.encoder.final_linear", dim, dim)
    for i in range(c["num_layers"]):
        block = f"blocks.{i}"
        shapes |= {f"{block}.modulation": (1, 6, dim)} | norm(f"{block}.norm3", dim)
        shapes |= attention(f"{block}.self_attn", dim) | attention(f"{block}.cross_attn", dim)
        shapes |= linear(f"{block}.ffn.0", dim, c["ffn_dim"]) | linear(f"{block}.ffn.2", c["ffn_dim"], dim)
    for i in range(mouths):
        shapes |= attention(f"audio_injector.injector.{i}", dim)
        shapes |= linear(f"audio_injector.injector_adain_layers.{i}.linear", dim, 2 * dim)
    return shapes


def audio_encoder(c):
    """Of Wav2Vec2ForCTC's config.json, {name: shape}."""
    width, inner, cin = c["hidden_size"], c["intermediate_size"], 1
    body = "wav2vec2"
    shapes = {f"{body}.masked_spec_embed": (width,)} | linear("lm_head", width, c["vocab_size"])
    for i, (cout, kernel) in enumerate(zip(c["conv_dim"], c["conv_kernel"])):
        layer = f"{body}.feature_extractor.conv_layers.{i}"
        shapes |= convolution(f"{layer}.conv", cin, cout, kernel) | norm(f"{layer}.layer_norm", cout)
        cin = cout
    shapes |= norm(f"{body}.feature_projection.layer_norm", cin) | linear(f"{body}.feature_projection.projection", cin, width)
    taps, groups = c["num_conv_pos_embeddings"], c["num_conv_pos_embedding_groups"]
    position = f"{body}.encoder.pos_conv_embed.conv"
    shapes |= {f"{position}.weight_g": (1, 1, taps), f"{position}.weight_v": (width, width // groups, taps),
               f"{position}.bias": (width,)}
    shapes |= norm(f"{body}.encoder.layer_norm", width)
    for i in range(c["num_hidden_layers"]):
        layer = f"{body}.encoder.layers.{i}"
        for part in "qkv":
            shapes |= linear(f"{layer}.attention.{part}_proj", width, width)
        shapes |= linear(f"{layer}.attention.out_proj", width, width)
        shapes |= norm(f"{layer}.layer_norm", width) | norm(f"{layer}.final_layer_norm", width)
        shapes |= linear(f"{layer}.feed_forward.intermediate_dense", width, inner)
        shapes |= linear(f"{layer}.feed_forward.output_dense", inner, width)
    return shapes


def differences(path, expected, kind):
    """What a file has more, less or otherwise than expected."""
    with safe_open(path, framework="pt") as file:
        found = {key: tuple(file.get_tensor(key).shape) for key in file.keys()}
        others = {key for key in file.keys() if file.get_tensor(key).dtype != kind}
    names = sorted(found.keys() | expected.keys())
    return [f"{name}: {found.get(name)}, expected {expected.get(name)}" for name in names
            if found.get(name) != expected.get(name)] + [f"{name} is no {kind}" for name in sorted(others)]


def problems(folder):
    """Of a checkpoint, a line each."""
    config = json.loads((folder / "config.json").read_text())
    result = differences(folder / "diffusion_pytorch_model.safetensors", transformer(config), torch.bfloat16)
    audio = folder / AUDIO_FOLDER
    result += differences(audio / "model.safetensors", audio_encoder(json.loads((audio / "config.json").read_text())),
                          torch.bfloat16)
    if config["audio_dim"] != json.loads((audio / "config.json").read_text())["hidden_size"]:
        result.append("audio_dim is not the audio encoder's width")
    vae = torch.load(folder / VAE_NAME, weights_only=True)
    if vae["decoder.conv1.weight"].shape[1] != 16 or any(value.dtype != torch.bfloat16 for value in vae.values()):
        result.append("the VAE has not 16 channels of latents in bf16")
    missing = [name for name in ("generation_config.json", "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/tokenizer.json",
                                 f"{AUDIO_FOLDER}/preprocessor_config.json") if not (folder / name).exists()]
    return result + [f"{name} is missing" for name in missing]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sounds", type=Path)
    source.add_argument("--ckpt_dir", type=Path, help="look at this finished checkpoint instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = args.ckpt_dir or Path(folder) / "checkpoint"
        if args.sounds:
            module = "tools.demo_model"
            state = Path(folder) / "state"
            subprocess.run([sys.executable, "-m", f"{module}.train_s2v", "--state", state, "--sounds", args.sounds, "--quick",
                            "--s2v_seconds", "1"], check=True)
            subprocess.run([sys.executable, "-m", f"{module}.export", "--s2v", "--state", state, "--out", checkpoint], check=True)
        found = problems(checkpoint)
    print("\n".join(found) or "every tensor has its published name and shape")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
