"""Records the outputs of named modules.

A tap is named by the module's path under a prefix ("high_noise_model.blocks.0.self_attn"; the prefix alone is the whole
model) and holds what the module returned, as fp32, with the batch dimension of one dropped. Three are shaped as an engine
without the official repetitions has them:

  patch_embedding                  [tokens, dim], not channels first
  time_embedding, time_projection  a row (of [6, dim] for the latter) per distinct timestep, not per token
  text_embedding                   the padding's rows, all equal, once: [prompt tokens + 1, dim]

Leaves that only regroup or activate values (activations, dropout, identities, padding) have no tap.
"""

import re

import torch
from torch import nn

UNNAMED = (nn.Identity, nn.Dropout, nn.SiLU, nn.GELU, nn.ZeroPad2d, nn.Upsample, nn.ModuleList)

# What the golden files of one model keep: layers, not the steps inside them.
TRANSFORMER_LAYERS = re.compile(
    r"(patch|text|time)_embedding|time_projection|blocks\.\d+(\.(self_attn|cross_attn|ffn))?|head")
TEXT_ENCODER_LAYERS = re.compile(r"token_embedding|blocks\.\d+(\.(attn|ffn))?|norm")


def merge_repeated_rows(rows):
    """Drops rows equal, but for rounding, to the one before them."""
    change = (rows[1:] - rows[:-1]).abs().amax(dim=1) > 1e-6 * rows.abs().max()
    return rows[torch.cat([torch.tensor([True]), change])]


def reshape_transformer_value(path, value):
    if path == "patch_embedding":
        return value.flatten(1).T
    if path in ("time_embedding", "text_embedding"):
        return merge_repeated_rows(value)
    if path == "time_projection":
        return merge_repeated_rows(value).unflatten(1, (6, -1))
    return value


class Taps:
    """calls[name] is the list of that module's outputs, in the order of its calls."""

    def __init__(self):
        self.calls = {}
        self.handles = []

    def listen(self, prefix, model, only=None, reshape=lambda path, value: value):
        """Names are prefix + "." + the module's path; an empty prefix leaves the path alone. `only`: a pattern that
        the whole path must match. `reshape` is applied to each value before it is kept."""
        for path, module in model.named_modules():
            name = ".".join(part for part in (prefix, path) if part)
            if name and not isinstance(module, UNNAMED) and (only is None or only.fullmatch(path)):
                self.handles.append(module.register_forward_hook(self._hook(name, path, reshape)))

    def _hook(self, name, path, reshape):
        def record(_module, _inputs, output):
            if isinstance(output, (list, tuple)):
                value = output[0]
            else:
                value = output[0] if output.shape[0] == 1 else output
            value = reshape(path, value.detach().float())
            self.calls.setdefault(name, []).append(value.contiguous().clone().numpy())
        return record

    def close(self):
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
