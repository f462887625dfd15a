"""Records the outputs of named modules.

A tap is named by the module's path under a prefix ("high_noise_model.blocks.0.self_attn"; the prefix alone is the whole
model) and holds what the module returned, as fp32, with the batch dimension of one dropped. Some are shaped as an engine
without the official repetitions has them:

  patch_embedding                  [tokens, dim], not channels first
  time_embedding, time_projection  a row (of [6, dim] for the latter) per distinct timestep, not per token
  text_embedding                   the padding's rows, all equal, once: [prompt tokens + 1, dim]
  the VAE's layers                 [T, H, W, C] for each group of frames

The official code computes the first four again in every forward pass, for each guidance branch; a value that was seen
before is not kept again, so that calls are numbered as in an engine that computes them once (a step, or a prompt).
Leaves that only regroup or activate values (activations, dropout, identities, padding) have no tap.
"""

import re

import numpy as np
import torch
from torch import nn

UNNAMED = (nn.Identity, nn.Dropout, nn.SiLU, nn.GELU, nn.ZeroPad2d, nn.Upsample, nn.ModuleList)

# What the golden files of one model keep: layers, not the steps inside them.
TRANSFORMER_LAYERS = re.compile(
    r"(patch|text|time)_embedding|time_projection|blocks\.\d+(\.(self_attn|cross_attn|ffn))?|head")
SPEECH_LAYERS = re.compile(
    TRANSFORMER_LAYERS.pattern.replace("patch|", "") + r"|audio_injector\.injector(_adain_layers)?\.\d+")
ANIMATE_LAYERS = re.compile(
    TRANSFORMER_LAYERS.pattern.replace("patch|", "")
    + r"|img_emb|face_encoder|face_adapter\.fuser_blocks\.\d+"
    + r"|motion_encoder\.(enc\.(net_app\.convs\.\d+|fc)|dec\.direction)")
TEXT_ENCODER_LAYERS = re.compile(r"token_embedding|blocks\.\d+(\.(attn|ffn))?|norm")


def merge_repeated_rows(rows):
    """Drops rows equal, but for rounding, to the one before them."""
    change = (rows[1:] - rows[:-1]).abs().amax(dim=1) > 1e-6 * rows.abs().max()
    return rows[torch.cat([torch.tensor([True]), change])]


def single_value(_path, output):
    """What a module returned, without the batch dimension of one."""
    return [output[0]]


def transformer_values(path, output):
    value = output[0]
    if path == "patch_embedding":
        return [value.flatten(1).T]
    if path in ("time_embedding", "text_embedding"):
        return [merge_repeated_rows(value)]
    if path == "time_projection":
        return [merge_repeated_rows(value).unflatten(1, (6, -1))]
    return [value]


def speech_values(path, output):
    """What works frame by frame as one sequence. Timesteps are two rows as they are, the step's and 0."""
    if path.startswith("audio_injector."):
        return [output.flatten(0, 1)]
    if path == "time_embedding":
        return [output]
    if path == "time_projection":
        return [output.unflatten(1, (6, -1))]
    return transformer_values(path, output)


def animate_values(path, output):
    """Pictures of faces channels last. The timestep's embedding is one row as it is."""
    if path.startswith("motion_encoder."):
        return [output.squeeze(-1).squeeze(-1) if output.shape[-1] == 1 else
                output.permute(0, 2, 3, 1) if output.dim() == 4 else output]
    if path == "time_embedding":
        return [output]
    if path == "time_projection":
        return [output.unflatten(1, (6, -1))]
    return transformer_values(path, output)


def vae_values(path, output):
    """Channels last. The decoder's first layer, which sees the whole clip, gives one value a latent frame."""
    if output.dim() == 4:  # a layer over single frames: [frames, C, H, W]
        return [output.permute(0, 2, 3, 1)]
    value = output[0].permute(1, 2, 3, 0)
    return list(value.split(1)) if path == "conv2" else [value]


def equal_but_for_rounding(a, b):
    return a.shape == b.shape and np.abs(a - b).max() <= 1e-6 * np.abs(b).max()


def is_computed_once(path):
    return path.split(".")[0] in ("patch_embedding", "time_embedding", "time_projection", "text_embedding")


class Taps:
    """calls[name] is the list of that module's outputs, in the order of its calls."""

    def __init__(self):
        self.calls = {}
        self.handles = []

    def listen(self, prefix, model, only=None, values=single_value):
        """Names are prefix + "." + the module's path; an empty prefix leaves the path alone. `only`: a pattern that
        the whole path must match. `values` turns a module's path and output into what is kept, a list."""
        for path, module in model.named_modules():
            name = ".".join(part for part in (prefix, path) if part)
            if name and not isinstance(module, UNNAMED) and (only is None or only.fullmatch(path)):
                self.handles.append(module.register_forward_hook(self._hook(name, path, values)))

    def _hook(self, name, path, values):
        def record(_module, _inputs, output):
            for value in values(path, output):
                value = value.detach().float().contiguous().clone().numpy()
                calls = self.calls.setdefault(name, [])
                if not (is_computed_once(path) and any(equal_but_for_rounding(value, seen) for seen in calls)):
                    calls.append(value)
        return record

    def close(self):
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
