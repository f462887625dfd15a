"""The diffusion transformer (Wan2.2 T2V and I2V): its state-dict keys and mathematics, for clips of one size."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class DitConfig:
    dim: int = 192
    ffn_dim: int = 640
    heads: int = 4
    layers: int = 6
    text_dim: int = 128
    freq_dim: int = 256
    channels: int = 16
    condition_channels: int = 0  # I2V: mask and latents of the given frames, after the noisy latents' channels
    text_len: int = 512
    eps: float = 1e-6


def config_of(state):
    """Of a transformer's weights, where it differs from the default in depth or in what is given."""
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    given = state["patch_embedding.weight"].shape[1] - DitConfig().channels
    return DitConfig(layers=depth, condition_channels=given)


PATCH = (1, 2, 2)


def timestep_embedding(t, dim):
    """t [B] in 0..1000 -> [B, dim]: cosines, then sines. In fp64, as the reference."""
    half = dim // 2
    rates = torch.pow(10000.0, -torch.arange(half, dtype=torch.float64, device=t.device) / half)
    angles = t.double()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1).float()


def rope_table(frames, height, width, head_dim):
    """Cosines and sines [tokens, head_dim / 2]; the pairs are split between time, height and width."""
    pairs = head_dim // 2
    side = pairs // 3

    def axis(length, count):
        rates = 1.0 / torch.pow(10000.0, torch.arange(0, 2 * count, 2, dtype=torch.float64) / (2 * count))
        return torch.outer(torch.arange(length, dtype=torch.float64), rates)

    grid = (frames, height, width)
    parts = [axis(frames, pairs - 2 * side)[:, None, None], axis(height, side)[None, :, None],
             axis(width, side)[None, None]]
    angles = torch.cat([part.expand(*grid, -1) for part in parts], dim=-1).flatten(0, 2)
    return angles.cos().float(), angles.sin().float()


def rotate(x, rope):
    """x [B, L, heads, d]: turns each neighbouring pair by its angle."""
    cos, sin = (part[None, :, None] for part in rope)
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


class RmsNorm(nn.Module):
    """Over all heads together."""

    def __init__(self, dim, eps):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


def layer_norm(x, eps):
    return F.layer_norm(x.float(), x.shape[-1:], eps=eps)


class Attention(nn.Module):
    def __init__(self, dim, heads, eps):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q = RmsNorm(dim, eps)
        self.norm_k = RmsNorm(dim, eps)

    def forward(self, x, context=None, rope=None, bias=None):
        source = x if context is None else context
        q = self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1))
        k = self.norm_k(self.k(source)).unflatten(-1, (self.heads, -1))
        v = self.v(source).unflatten(-1, (self.heads, -1))
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        q, k = q.to(v.dtype), k.to(v.dtype)
        if bias is not None:
            bias = bias.to(v.dtype).expand(x.shape[0], self.heads, x.shape[1], -1)
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias)
        return self.o(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, config, cross_attention=Attention):
        super().__init__()
        self.eps = config.eps
        self.self_attn = Attention(config.dim, config.heads, config.eps)
        self.norm3 = nn.LayerNorm(config.dim, eps=config.eps)
        self.cross_attn = cross_attention(config.dim, config.heads, config.eps)
        self.ffn = nn.Sequential(nn.Linear(config.dim, config.ffn_dim), nn.GELU(approximate="tanh"),
                                 nn.Linear(config.ffn_dim, config.dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, config.dim) / config.dim ** 0.5)

    def forward(self, x, e, context, rope, bias):
        """x [B, L, dim]; e [B, 6, dim]; context [B, K, dim]; bias [K] or None."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + e).chunk(6, dim=1)
        x = x + gate1 * self.self_attn(layer_norm(x, self.eps) * (1 + scale1) + shift1, rope=rope)
        x = x + self.cross_attn(self.norm3(x), context=context, bias=bias)
        return x + gate2 * self.ffn(layer_norm(x, self.eps) * (1 + scale2) + shift2)


class Head(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, math.prod(PATCH) * config.channels)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim ** 0.5)

    def forward(self, x, e):
        shift, scale = (self.modulation + e[:, None]).chunk(2, dim=1)
        return self.head(layer_norm(x, self.eps) * (1 + scale) + shift)


class Dit(nn.Module):
    def __init__(self, config: DitConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv3d(config.channels + config.condition_channels, config.dim, PATCH, stride=PATCH)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, config.dim), nn.GELU(approximate="tanh"),
                                            nn.Linear(config.dim, config.dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, config.dim), nn.SiLU(),
                                            nn.Linear(config.dim, config.dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config)
        self.rope = {}
        self.reset_parameters()

    def reset_parameters(self):
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        for layer in (*self.text_embedding, *self.time_embedding):
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.head.head.weight)

    def rope_for(self, grid, device):
        if (grid, device) not in self.rope:
            table = rope_table(*grid, self.config.dim // self.config.heads)
            self.rope[grid, device] = tuple(part.to(device) for part in table)
        return self.rope[grid, device]

    def embed_text(self, context):
        """context [B, K, text_dim], zeros past each prompt's end -> keys [B, K+1, dim] and their bias [K+1].

        The model attends to `text_len` positions, and all those past the prompt hold the same row, the embedding
        of zeros. One such row whose score is raised by log(count) stands for `count` of them exactly.
        """
        count = self.config.text_len - context.shape[1]
        if count == 0:
            return self.text_embedding(context), None
        bias = torch.cat([torch.zeros(context.shape[1], device=context.device),
                          torch.full((1,), math.log(count), device=context.device)])
        return self.text_embedding(F.pad(context, (0, 0, 0, 1))), bias

    def forward(self, x, t, context, condition=None):
        """x [B, C, F, H, W] noisy latents; t [B] in 0..1000; context [B, K, text_dim]; condition
        [B, condition_channels, F, H, W] or None -> velocity like x."""
        batch, channels, frames, height, width = x.shape
        grid = (frames, height // 2, width // 2)
        given = x if condition is None else torch.cat([x, condition], dim=1)
        tokens = self.patch_embedding(given).flatten(2).transpose(1, 2).float()
        with torch.autocast(x.device.type, enabled=False):
            e = self.time_embedding(timestep_embedding(t, self.config.freq_dim))
            e6 = self.time_projection(e).unflatten(1, (6, -1))
        keys, bias = self.embed_text(context)
        rope = self.rope_for(grid, x.device)
        for block in self.blocks:
            tokens = block(tokens, e6, keys, rope, bias)
        with torch.autocast(x.device.type, enabled=False):
            out = self.head(tokens, e)
        out = out.view(batch, *grid, *PATCH, channels)
        return out.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(x.shape)
