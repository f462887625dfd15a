"""Make the golden files of the diffusion transformer and the text encoder: tests/golden/models.

    python tools/golden/make_models.py --wan_dir Wan2.2 --out tests/golden/models

Small random checkpoints in the official format, and what the official code, on the CPU in fp32 (official.py), makes of
random inputs. Versions: requirements.txt beside this file.

dit_*/model        config.json and safetensors (one fp32, one sharded, bf16, fp16)
dit_*/NAME.safetensors
  latent [C, F, h, w], timestep [1] int64, context [n, text_dim]: inputs
  timesteps [F] int64: in place of timestep, one a latent frame (of all its tokens), as TI2V-5B has them with an image
  y [in_dim - C, F, h, w]: of model type i2v alone: channels that follow the latent's
  output [C, F, h, w]: the velocity; C is out_dim
  tap.PATH: outputs of layers (taps.py), of every layer where the case is small, of the blocks alone where not
Outputs and taps that are large are thinned out (thin.py).
umt5_*/encoder.pth
umt5_*/NAME.safetensors
  ids [n] int64: a prompt's own tokens; output [n, dim]; tap.PATH [n, ...]
"""

import argparse
import os
import re
import shutil
from pathlib import Path

import torch

import random_weights
import thin
from official import load_official
from taps import TEXT_ENCODER_LAYERS, TRANSFORMER_LAYERS, Taps, transformer_values

BLOCKS = re.compile(r"blocks\.\d+")

# Head dimensions whose rotary pairs divide by three and not, widths that are no multiple of a vector register, the real
# head dimension (128); each forward is (name, frames, height, width, timestep or those of the first frame and of the
# others, text tokens, layers kept).
TRANSFORMERS = {
    "dit_h2_d24": dict(
        config=dict(dim=48, ffn_dim=80, freq_dim=64, text_dim=20, in_dim=16, out_dim=16, num_heads=2, num_layers=2,
                    text_len=512),
        dtype=torch.float32, shards=1, seed=1,
        forwards=[("f1", 1, 6, 10, 999, 7, TRANSFORMER_LAYERS), ("full_text", 3, 2, 14, 500, 512, BLOCKS),
                  ("f9", 9, 4, 6, 13, 1, BLOCKS)]),
    "dit_h4_d16": dict(
        config=dict(dim=64, ffn_dim=96, freq_dim=256, text_dim=24, in_dim=16, out_dim=16, num_heads=4, num_layers=2,
                    text_len=32),
        dtype=torch.bfloat16, shards=3, seed=2,
        forwards=[("t1000", 2, 4, 4, 1000, 3, TRANSFORMER_LAYERS), ("narrow", 5, 6, 2, 250, 17, BLOCKS)]),
    "dit_h2_d32": dict(
        config=dict(dim=64, ffn_dim=112, freq_dim=32, text_dim=40, in_dim=16, out_dim=16, num_heads=2, num_layers=1,
                    text_len=64),
        dtype=torch.float16, shards=1, seed=3,
        forwards=[("t0", 1, 2, 2, 0, 64, TRANSFORMER_LAYERS), ("f4", 4, 4, 6, 875, 2, BLOCKS)]),
    "dit_h6_d10": dict(
        config=dict(dim=60, ffn_dim=100, freq_dim=50, text_dim=18, in_dim=4, out_dim=4, num_heads=6, num_layers=1,
                    text_len=512),
        dtype=torch.bfloat16, shards=1, seed=4,
        forwards=[("f2", 2, 10, 6, 731, 7, TRANSFORMER_LAYERS), ("f7", 7, 2, 6, 64, 1, BLOCKS)]),
    "dit_h1_d128": dict(
        config=dict(dim=128, ffn_dim=64, freq_dim=64, text_dim=16, in_dim=8, out_dim=8, num_heads=1, num_layers=1,
                    text_len=24),
        dtype=torch.bfloat16, shards=1, seed=5,
        forwards=[("f3", 3, 4, 10, 342, 11, TRANSFORMER_LAYERS)]),
    "dit_i2v_h2_d20": dict(
        config=dict(dim=40, ffn_dim=56, freq_dim=32, text_dim=12, in_dim=36, out_dim=16, num_heads=2, num_layers=2,
                    text_len=20),
        dtype=torch.bfloat16, shards=1, seed=6, model_type="i2v",
        forwards=[("f3", 3, 4, 6, 909, 5, TRANSFORMER_LAYERS), ("f1", 1, 6, 4, 100, 20, BLOCKS)]),
    "dit_ti2v_h3_d12": dict(
        config=dict(dim=36, ffn_dim=60, freq_dim=48, text_dim=14, in_dim=48, out_dim=48, num_heads=3, num_layers=2,
                    text_len=24),
        dtype=torch.bfloat16, shards=1, seed=7, model_type="ti2v",
        forwards=[("pinned", 3, 4, 6, (0, 731), 9, TRANSFORMER_LAYERS), ("pinned_t1000", 2, 2, 10, (0, 1000), 24, BLOCKS),
                  ("pinned_alone", 1, 4, 4, (0, 500), 3, BLOCKS), ("text", 2, 6, 4, 857, 6, TRANSFORMER_LAYERS)]),
}

# Prompts past 128 tokens reach the last bucket of relative positions; 512 fill the encoder.
TEXT_ENCODERS = {
    "umt5_h4_d8": dict(
        config=dict(vocab=96, dim=32, dim_attn=32, dim_ffn=48, num_heads=4, num_layers=2, num_buckets=32,
                    shared_pos=False),
        dtype=torch.float32, seed=11,
        prompts=[("n1", 1, TEXT_ENCODER_LAYERS), ("n7", 7, TEXT_ENCODER_LAYERS), ("n40", 40, TEXT_ENCODER_LAYERS),
                 ("n200", 200, BLOCKS)]),
    "umt5_h3_d12": dict(
        config=dict(vocab=70, dim=24, dim_attn=36, dim_ffn=56, num_heads=3, num_layers=3, num_buckets=16,
                    shared_pos=False),
        dtype=torch.bfloat16, seed=12,
        prompts=[("n9", 9, TEXT_ENCODER_LAYERS), ("n512", 512, None)]),
}


def save_golden(path, tensors, taps=None):
    tensors = dict(tensors)
    for name, calls in (taps.calls if taps else {}).items():
        (value,) = calls
        tensors[f"tap.{name}"] = torch.from_numpy(value)
    thin.save(path, tensors, lambda name: name.startswith("tap.") or name in ("output", "normed", "added"))


def make_transformer(official, folder, case):
    config = case["config"]
    model_type = case.get("model_type", "t2v")
    model_class = official.model.WanModel
    state = random_weights.transformer_state(model_class, config, case["seed"], model_type)
    random_weights.write_transformer(folder / "model", config, state, case["dtype"], case["shards"], model_type)
    model = model_class.from_pretrained(str(folder / "model")).eval()
    generator = torch.Generator().manual_seed(1000 + case["seed"])
    for name, frames, height, width, timestep, tokens, layers in case["forwards"]:
        inputs = {"latent": torch.randn(config["out_dim"], frames, height, width, generator=generator),
                  "context": torch.randn(tokens, config["text_dim"], generator=generator)}
        if model_type == "i2v":
            inputs["y"] = torch.randn(config["in_dim"] - config["out_dim"], frames, height, width, generator=generator)
        frame_tokens = height * width // 4
        if isinstance(timestep, tuple):
            inputs["timesteps"] = torch.tensor([timestep[0], *[timestep[1]] * (frames - 1)])
            t = inputs["timesteps"].float().repeat_interleave(frame_tokens)[None]  # the official [B, seq_len]
        else:
            t = inputs["timestep"] = torch.tensor([timestep])
        taps = Taps()
        taps.listen("", model, layers, transformer_values)
        output = model([inputs["latent"]], t=t, context=[inputs["context"]], seq_len=frames * frame_tokens,
                       y=[inputs["y"]] if "y" in inputs else None)[0]
        taps.close()
        save_golden(folder / f"{name}.safetensors", {**inputs, "output": output}, taps)


def make_text_encoder(official, folder, case):
    config = case["config"]
    state = random_weights.text_encoder_state(official.t5.T5Encoder, config, case["seed"])
    random_weights.write_pth(folder / "encoder.pth", state, case["dtype"])
    model = official.t5.T5Encoder(**config).eval()
    model.load_state_dict(torch.load(folder / "encoder.pth", weights_only=True))
    generator = torch.Generator().manual_seed(2000 + case["seed"])
    for name, tokens, layers in case["prompts"]:
        ids = torch.randint(2, config["vocab"], (tokens,), generator=generator)
        padded = torch.zeros(1, 512, dtype=torch.long)
        padded[0, :tokens] = ids
        mask = (torch.arange(512) < tokens).long()[None]
        taps = Taps()
        if layers:
            taps.listen("", model, layers, lambda _path, output: [output[0][:tokens]])
        output = model(padded, mask)[0, :tokens]
        taps.close()
        save_golden(folder / f"{name}.safetensors", {"ids": ids, "output": output}, taps)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/models"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    torch.set_num_threads(1)  # sums are split by thread: one thread gives the same bytes on every run
    official = load_official(args.wan_dir)
    for cases, make in ((TRANSFORMERS, make_transformer), (TEXT_ENCODERS, make_text_encoder)):
        for name, case in cases.items():
            shutil.rmtree(args.out / name, ignore_errors=True)
            (args.out / name).mkdir(parents=True)
            make(official, args.out / name, case)
    total = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
