"""The umT5-type text encoder: state-dict keys and mathematics of the Wan2.2 checkpoints, at any size."""

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class TextConfig:
    vocab: int = 512
    dim: int = 128
    dim_ffn: int = 256
    heads: int = 4
    layers: int = 3
    buckets: int = 32


class RmsScale(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class RelativePosition(nn.Module):
    """A learned bias per head and per bucket of distance; exact buckets near, logarithmic ones up to 128."""

    def __init__(self, buckets, heads):
        super().__init__()
        self.embedding = nn.Embedding(buckets, heads)
        nn.init.normal_(self.embedding.weight, std=(2 * buckets * heads) ** -0.5)

    def forward(self, length):
        place = torch.arange(length, device=self.embedding.weight.device)
        offset = place[None, :] - place[:, None]  # key minus query
        half = self.embedding.num_embeddings // 2
        exact = half // 2
        distance = offset.abs()
        far = exact + (torch.log(distance.clamp(min=1).float() / exact) / math.log(128 / exact)
                       * (half - exact)).long()
        bucket = torch.where(distance < exact, distance, far.clamp(max=half - 1)) + (offset > 0).long() * half
        return self.embedding(bucket).permute(2, 0, 1)  # [heads, length, length]


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        nn.init.normal_(self.q.weight, std=(dim * dim // heads) ** -0.5)
        for layer in (self.k, self.v, self.o):
            nn.init.normal_(layer.weight, std=dim ** -0.5)

    def forward(self, x, bias):
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        # T5 does not scale the products.
        scores = (q @ k.transpose(-1, -2)).float() + bias
        return self.o((scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.GELU(approximate="tanh"))
        self.fc1 = nn.Linear(dim, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, dim, bias=False)
        for layer in (self.gate[0], self.fc1):
            nn.init.normal_(layer.weight, std=dim ** -0.5)
        nn.init.normal_(self.fc2.weight, std=hidden ** -0.5)

    def forward(self, x):
        return self.fc2(self.fc1(x) * self.gate(x))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1 = RmsScale(config.dim)
        self.attn = Attention(config.dim, config.heads)
        self.norm2 = RmsScale(config.dim)
        self.ffn = FeedForward(config.dim, config.dim_ffn)
        self.pos_embedding = RelativePosition(config.buckets, config.heads)  # one table per layer, as umT5

    def forward(self, x, mask_bias):
        x = x + self.attn(self.norm1(x), self.pos_embedding(x.shape[1])[None] + mask_bias)
        return x + self.ffn(self.norm2(x))


class TextEncoder(nn.Module):
    def __init__(self, config: TextConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RmsScale(config.dim)

    def forward(self, ids, mask):
        """ids, mask [B, L] -> [B, L, dim]; positions with mask 0 are never attended to."""
        x = self.token_embedding(ids)
        mask_bias = torch.zeros_like(mask, dtype=torch.float32).masked_fill(mask == 0, torch.finfo(torch.float32).min)
        for block in self.blocks:
            x = block(x, mask_bias[:, None, None, :])
        return self.norm(x)


def encode_prompts(encoder, ids, mask):
    """The encoder's outputs with everything past each prompt's end replaced by zeros, as the DiT gets them."""
    return encoder(ids, mask) * mask[..., None]
