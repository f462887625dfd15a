"""What make_vae21.py and make_vae22.py share: small random VAEs, their checkpoints, and what the official classes compute
with them, in fp32 on a CPU.

A model is the official WanVAE_ itself (its wrapper needs CUDA autocast). NAME.pth is a state dict in the official layout
and NAME.safetensors holds, all fp32, the layers' outputs thinned out (thin.py):
  latents                [z, F, h, w]      input of the decoder
  frames                 [T, H, W, 3]      its output, unclamped
  encoded                [z, F', h, w]     output of the encoder for the first frames of these, clamped to [-1, 1]
  decode.GROUP.MODULE    [T, H, W, C]      output of a module for one group of frames (the first TAP_GROUPS ones)
  encode.GROUP.MODULE    [T, H, W, C]
"""

import argparse
import importlib.util
import pathlib
from dataclasses import dataclass

import torch

import thin

TAP_GROUPS = 3  # without history, with half of it, with all of it


@dataclass(frozen=True)
class Case:
    arguments: dict  # of WanVAE_, but z_dim
    size: tuple  # height and width of the latents
    latent_frames: int
    encoded_frames: int  # pixels' frames: groups of one and four
    dtype: torch.dtype  # of the file
    recorded: tuple = ()  # sides whose layers are kept: "decode", "encode"


@dataclass(frozen=True)
class Vae:
    module: str  # file name below wan/modules
    mean: tuple  # of each latent channel
    deviation: tuple
    seed: int  # of the first case
    layers: callable  # (encoder or decoder, "downsamples" or "upsamples") -> {path below it: module}


def load_official(wan_dir, name):
    path = pathlib.Path(wan_dir) / "wan" / "modules" / name
    spec = importlib.util.spec_from_file_location("official_vae", path)
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

    def __init__(self, model, side, layers):
        self.side = side
        self.calls = {}
        self.outputs = {}
        prefix, stages = ("decoder", "upsamples") if side == "decode" else ("encoder", "downsamples")
        part = getattr(model, prefix)
        named = {f"{prefix}.conv1": part.conv1, f"{prefix}.head.2": part.head[-1]}
        named.update({f"{prefix}.middle.{i}": layer for i, layer in enumerate(part.middle)})
        named.update({f"{prefix}.{path}": layer for path, layer in layers(part, stages).items()})
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
def run_case(official, vae, seed, case):
    torch.manual_seed(seed)
    z_dim = len(vae.mean)
    model = official.WanVAE_(z_dim=z_dim, **case.arguments).eval()
    randomise(model, case.dtype)
    scale = [torch.tensor(vae.mean), 1.0 / torch.tensor(vae.deviation)]
    tensors = {}

    def with_taps(side, call):
        recorder = Recorder(model, side, vae.layers) if side in case.recorded else None
        result = call()
        if recorder:
            recorder.close()
            tensors.update(recorder.outputs)
        return result

    latents = torch.randn(1, z_dim, case.latent_frames, *case.size)
    frames = with_taps("decode", lambda: model.decode(latents, scale))
    encoded = with_taps("encode", lambda: model.encode(frames[:, :, :case.encoded_frames].clamp(-1, 1), scale))
    tensors.update(latents=latents[0], frames=channels_last(frames), encoded=encoded[0])
    state = {name: value.to(case.dtype) for name, value in model.state_dict().items()}
    return state, {name: value.contiguous() for name, value in tensors.items()}


def main(description, vae, cases):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", required=True, help="checkout of Wan-Video/Wan2.2")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    official = load_official(options.wan_dir, vae.module)
    options.out.mkdir(parents=True, exist_ok=True)
    for number, (name, case) in enumerate(cases.items()):
        state, tensors = run_case(official, vae, vae.seed + number, case)
        torch.save(state, options.out / f"{name}.pth")
        thin.save(options.out / f"{name}.safetensors", tensors, lambda key: key.startswith(("decode.", "encode.")))
        for key in ("frames", "encoded"):
            value = tensors[key]
            print(f"{name}: {key} {list(value.shape)}, RMS {value.square().mean().sqrt():.3f}")
