#!/usr/bin/env python3
"""Golden files of VAE 2.1: small random checkpoints and what the official code computes with them, in fp32 on a CPU.

Reads wan/modules/vae2_1.py under --wan_dir, a checkout of Wan-Video/Wan2.2 at
42bf4cfaa384bc21833865abc2f9e6c0e67233dc, and runs its WanVAE_ directly (its wrapper Wan2_1_VAE needs CUDA autocast).
Versions: requirements.txt beside this file, safetensors and einops included.

    python tools/golden/make_vae21.py --wan_dir Wan2.2 --out tests/golden/vae21

For each case, NAME.pth is a state dict in the official layout and NAME.safetensors holds, all fp32:
  latents                [z, F, h, w]      input of the decoder
  frames                 [T, H, W, 3]      its output, unclamped
  encoded                [z, F', h, w]     output of the encoder for the first frames of these, clamped to [-1, 1]
  decode.GROUP.MODULE    [T, H, W, C]      output of a module for one group of frames (the first TAP_GROUPS ones)
  encode.GROUP.MODULE    [T, H, W, C]
"""

import argparse
import importlib.util
import pathlib

import torch
from safetensors.torch import save_file

LATENT_MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
               0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
LATENT_STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
              3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)
Z_DIM = 16
TAP_GROUPS = 3  # without history, with half of it, with all of it

# name: constructor arguments, latent height and width, latent frames, frames that are encoded (groups of one and four),
# dtype of the file, whose layers are recorded
CASES = {
    "levels4": (dict(dim=4, dim_mult=[1, 2, 2, 3], num_res_blocks=1, temperal_downsample=[False, True, True]),
                (2, 3), 3, 9, torch.bfloat16, ("decode", "encode")),
    "levels3": (dict(dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True]),
                (3, 5), 9, 33, torch.float32, ()),
    "levels2": (dict(dim=6, dim_mult=[1, 2], num_res_blocks=2, temperal_downsample=[True]),
                (3, 5), 4, 5, torch.bfloat16, ("decode",)),
}


def load_official(wan_dir):
    path = pathlib.Path(wan_dir) / "wan" / "modules" / "vae2_1.py"
    spec = importlib.util.spec_from_file_location("official_vae21", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def randomise(model, dtype):
    """Weights that keep activations near one, in which no parameter is zero or one; representable in `dtype`."""
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
        elif name.endswith("bias"):
            parameter.copy_(0.2 * torch.randn_like(parameter))
        else:
            fan_in = parameter[0].numel()
            parameter.copy_(torch.randn_like(parameter) * (1.2 / fan_in) ** 0.5)
        parameter.copy_(parameter.to(dtype).float())


def channels_last(x):
    """[1, C, T, H, W] -> [T, H, W, C]."""
    return x[0].permute(1, 2, 3, 0).contiguous()


class Recorder:
    """Keeps the output of every module that has a name of its own in the engine, a group of frames a call."""

    def __init__(self, model, side):
        self.side = side
        self.calls = {}
        self.outputs = {}
        part = getattr(model, "decoder" if side == "decode" else "encoder")
        stages = part.upsamples if side == "decode" else part.downsamples
        stage_name = "upsamples" if side == "decode" else "downsamples"
        prefix = "decoder" if side == "decode" else "encoder"
        named = {f"{prefix}.conv1": part.conv1, f"{prefix}.head.2": part.head[-1]}
        named.update({f"{prefix}.middle.{i}": layer for i, layer in enumerate(part.middle)})
        named.update({f"{prefix}.{stage_name}.{i}": layer for i, layer in enumerate(stages)})
        self.handles = [layer.register_forward_hook(self.hook(name)) for name, layer in named.items()]
        if side == "decode":  # called once for all latent frames
            self.handles.append(model.conv2.register_forward_hook(self.hook_whole("conv2")))

    def hook(self, name):
        def record(_module, _inputs, output):
            group = self.calls.get(name, 0)
            self.calls[name] = group + 1
            if group < TAP_GROUPS:
                self.outputs[f"{self.side}.{group}.{name}"] = channels_last(output.float())
        return record

    def hook_whole(self, name):
        def record(_module, _inputs, output):
            for group in range(min(TAP_GROUPS, output.shape[2])):
                self.outputs[f"{self.side}.{group}.{name}"] = channels_last(output[:, :, group:group + 1].float())
        return record

    def close(self):
        for handle in self.handles:
            handle.remove()


@torch.no_grad()
def run_case(official, seed, arguments, size, latent_frames, encoded_frames, dtype, recorded):
    torch.manual_seed(seed)
    model = official.WanVAE_(z_dim=Z_DIM, **arguments).eval()
    randomise(model, dtype)
    scale = [torch.tensor(LATENT_MEAN), 1.0 / torch.tensor(LATENT_STD)]
    tensors = {}

    def with_taps(side, call):
        recorder = Recorder(model, side) if side in recorded else None
        result = call()
        if recorder:
            recorder.close()
            tensors.update(recorder.outputs)
        return result

    latents = torch.randn(1, Z_DIM, latent_frames, *size)
    frames = with_taps("decode", lambda: model.decode(latents, scale))
    encoded = with_taps("encode", lambda: model.encode(frames[:, :, :encoded_frames].clamp(-1, 1), scale))
    tensors.update(latents=latents[0], frames=channels_last(frames), encoded=encoded[0])
    state = {name: value.to(dtype) for name, value in model.state_dict().items()}
    return state, {name: value.contiguous() for name, value in tensors.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", required=True, help="checkout of Wan-Video/Wan2.2")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder to write to")
    options = parser.parse_args()
    official = load_official(options.wan_dir)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed, (name, case) in enumerate(CASES.items()):
        state, tensors = run_case(official, 21 + seed, *case)
        torch.save(state, options.out / f"{name}.pth")
        save_file(tensors, options.out / f"{name}.safetensors")
        for key in ("frames", "encoded"):
            value = tensors[key]
            print(f"{name}: {key} {list(value.shape)}, RMS {value.square().mean().sqrt():.3f}")


if __name__ == "__main__":
    main()
