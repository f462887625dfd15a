"""CLIP's image tower as character animation has it: its state-dict keys and mathematics. The demo's is random and not trained: what it
makes of a picture's patches is enough to know their colours by."""

import torch
import torch.nn.functional as F
from torch import nn

SIDE, PATCH, HEADS = 224, 14, 16
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class SelfAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.to_qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        query, key, value = self.to_qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(dim), SelfAttention(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.Dropout(0.0))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Tower(nn.Module):
    """The last of its layers is in the file and takes no part, as in the published one."""

    def __init__(self, dim=32, layers=2):
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, dim, PATCH, stride=PATCH, bias=False)
        self.cls_embedding = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.zeros(1, (SIDE // PATCH) ** 2 + 1, dim))
        self.pre_norm, self.post_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.transformer = nn.Sequential(*(Block(dim) for _ in range(layers)))
        self.head = nn.Parameter(torch.zeros(dim, 4))

    def forward(self, pictures):
        """pictures [B, 3, H, W] in [-1, 1] -> tokens [B, 257, dim]."""
        x = F.interpolate(pictures, size=(SIDE, SIDE), mode="bicubic", align_corners=False) / 2 + 0.5
        x = (x - x.new_tensor(MEAN)[:, None, None]) / x.new_tensor(DEVIATION)[:, None, None]
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_embedding.expand(len(x), -1, -1), x], dim=1) + self.pos_embedding
        return self.transformer[:-1](self.pre_norm(x))


@torch.no_grad()
def random_tower(seed=97):
    """Kernels that are a colour each, with a little texture, so that tokens tell colours apart."""
    tower = Tower()
    generator = torch.Generator().manual_seed(seed)

    def draw(like, deviation):
        return deviation * torch.randn(like.shape, generator=generator)

    weight = tower.patch_embedding.weight
    colour = torch.randn(weight.shape[0], 3, 1, 1, generator=generator) / PATCH ** 2
    weight.copy_(colour + draw(weight, 0.3 / PATCH ** 2))
    for name, value in tower.named_parameters():
        if name in ("cls_embedding", "pos_embedding", "head"):
            value.copy_(draw(value, 0.3))
        elif value.dim() == 2:
            value.copy_(draw(value, 0.5 / value.shape[1] ** 0.5))
        elif name.endswith("bias"):
            value.zero_()
    return load_tower(tower.state_dict())


def load_tower(state):
    """The tower with the weights that the checkpoint will hold, rounded to fp16."""
    tower = Tower()
    tower.load_state_dict({name: value.half().float() for name, value in state.items()})
    return tower.eval().requires_grad_(False)
