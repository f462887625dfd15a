"""The diffusion transformer of character animation (WanAnimateModel): its state-dict keys and mathematics, for clips of one size.

The published model takes faces of 512x512. This one learns from faces of TRAINED_FACE; `published_faces` puts levels before its own that
halve a picture and do nothing else.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from . import dit
from .dit import PATCH, Attention, DitConfig, Head, layer_norm, rope_table, timestep_embedding
from .s2v_dit import CausalConv1d

MASK = 4
TRAINED_FACE = 32
FACE = 512
FACE_HEADS = 4
BLOCKS_TO_A_FACE = 5
BLUR = (1.0, 3.0, 3.0, 1.0)


@dataclass(frozen=True)
class AnimateConfig(DitConfig):
    dim: int = 128
    ffn_dim: int = 256
    heads: int = 4
    layers: int = 5
    image_dim: int = 32
    motion_dim: int = 32
    directions: int = 8
    face_dim: int = 32
    face_channels: tuple = (8, 16, 24, 32)  # of pictures of TRAINED_FACE, of half of it, ..


class EqualConv2d(nn.Module):
    """Its weights are used times 1 / sqrt(fan in)."""

    def __init__(self, cin, cout, kernel, stride=1, padding=0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cout, cin, kernel, kernel))
        self.gain = 1 / math.sqrt(cin * kernel * kernel)
        self.stride, self.padding = stride, padding

    def forward(self, x):
        return F.conv2d(x, self.weight * self.gain, stride=self.stride, padding=self.padding)


class LeakyRelu(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x):
        return F.leaky_relu(x + self.bias, 0.2) * 2 ** 0.5


class Blur(nn.Module):
    def __init__(self, padding):
        super().__init__()
        row = torch.tensor(BLUR)
        self.register_buffer("kernel", torch.outer(row, row) / row.sum() ** 2)
        self.padding = padding

    def forward(self, x):
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(x, kernel, padding=self.padding, groups=x.shape[1])


class Level(nn.Module):
    """Halves a picture."""

    def __init__(self, cin, cout):
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(cin, cin, 3, padding=1), LeakyRelu(cin))
        self.conv2 = nn.Sequential(Blur(2), EqualConv2d(cin, cout, 3, stride=2), LeakyRelu(cout))
        self.skip = nn.Sequential(Blur(1), EqualConv2d(cin, cout, 1, stride=2))

    def forward(self, x):
        return (self.conv2(self.conv1(x)) + self.skip(x)) / 2 ** 0.5

    @torch.no_grad()
    def only_halve(self):
        """Sets the weights to give the blurred picture, at half the size."""
        self.conv1[0].weight.zero_()
        self.conv2[1].weight.zero_()
        cout, cin = self.skip[1].weight.shape[:2]
        self.skip[1].weight.copy_(torch.eye(cout, cin)[..., None, None] * (2 ** 0.5 / self.skip[1].gain))


class EqualLinear(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cout, cin))
        self.bias = nn.Parameter(torch.zeros(cout))

    def forward(self, x):
        return F.linear(x, self.weight / self.weight.shape[1] ** 0.5, self.bias)


def basis(weight):
    """The directions that a face's numbers go along: Q of the QR decomposition, with LAPACK's signs."""
    return torch.linalg.qr(weight.detach().cpu().float() + 1e-8)[0].to(weight.device)


class MotionEncoder(nn.Module):
    def __init__(self, config, levels_before=0):
        super().__init__()
        channels = config.face_channels
        first = nn.Sequential(EqualConv2d(3, channels[0], 1), LeakyRelu(channels[0]))
        levels = [Level(channels[0], channels[0]) for _ in range(levels_before)]
        levels += [Level(cin, cout) for cin, cout in zip(channels[:-1], channels[1:])]
        last = EqualConv2d(channels[-1], config.motion_dim, 4)
        self.enc = nn.Module()
        self.enc.net_app = nn.Module()
        self.enc.net_app.convs = nn.ModuleList([first, *levels, last])
        sizes = (config.motion_dim, config.motion_dim, config.directions)
        self.enc.fc = nn.Sequential(*(EqualLinear(cin, cout) for cin, cout in zip(sizes[:-1], sizes[1:])))
        self.dec = nn.Module()
        self.dec.direction = nn.Module()
        weight = torch.randn(config.motion_dim, config.directions).bfloat16().float()  # as the checkpoint will hold it
        self.dec.direction.weight = nn.Parameter(weight, requires_grad=False)
        self.basis = None

    def forward(self, faces):
        """faces [N, 3, side, side] in [-1, 1] -> [N, motion_dim]."""
        for layer in self.enc.net_app.convs:
            faces = layer(faces)
        numbers = self.enc.fc(faces.flatten(1))
        if self.basis is None or self.basis.device != numbers.device:
            self.basis = basis(self.dec.direction.weight)
        return numbers.float() @ self.basis.T


class FaceEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.face_dim
        self.conv1_local = CausalConv1d(config.motion_dim, width * FACE_HEADS)
        self.conv2 = CausalConv1d(width, width, stride=2)
        self.conv3 = CausalConv1d(width, width, stride=2)
        self.out_proj = nn.Linear(width, config.dim)
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, 1, config.dim))

    def forward(self, motion):
        """motion [B, T, motion_dim] -> tokens [B, 1 + T/4, FACE_HEADS + 1, dim], zeros for the first, the picture's."""
        x = self.conv1_local(motion).unflatten(-1, (FACE_HEADS, -1)).transpose(1, 2).flatten(0, 1)
        for layer in (None, self.conv2, self.conv3):
            x = F.silu(layer_norm(x if layer is None else layer(x), 1e-6))
        x = self.out_proj(x).unflatten(0, (-1, FACE_HEADS)).transpose(1, 2)
        x = torch.cat([x, self.padding_tokens.expand(*x.shape[:2], 1, -1).to(x.dtype)], dim=2)
        return F.pad(x, (0, 0, 0, 0, 1, 0))


class HeadNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        x32 = x.float()
        return x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class FaceBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.linear1_kv, self.linear1_q, self.linear2 = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.q_norm, self.k_norm = HeadNorm(dim // config.heads), HeadNorm(dim // config.heads)

    def forward(self, x, faces):
        """What is added to x [B, L, dim]; faces [B, F, N, dim]."""
        batch, frames = faces.shape[:2]
        key, value = self.linear1_kv(layer_norm(faces, 1e-6)).flatten(0, 1).chunk(2, dim=-1)
        query = self.linear1_q(layer_norm(x, 1e-6)).view(batch * frames, -1, x.shape[-1])
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        query, key = self.q_norm(query).to(value.dtype), self.k_norm(key).to(value.dtype)
        y = F.scaled_dot_product_attention(query, key, value)
        return self.linear2(y.transpose(1, 2).flatten(2).reshape(x.shape))


class CrossAttention(Attention):
    """Attends to a text and, beside it, to a picture; the two are added."""

    def __init__(self, dim, heads, eps):
        super().__init__(dim, heads, eps)
        self.k_img, self.v_img = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_k_img = type(self.norm_k)(dim, eps)

    def forward(self, x, text, bias, image):
        def heads(value):
            return value.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query = self.norm_q(self.q(x))
        value = heads(self.v(text))
        key, query = heads(self.norm_k(self.k(text))).to(value.dtype), heads(query).to(value.dtype)
        bias = bias.to(value.dtype).expand(x.shape[0], self.heads, x.shape[1], -1)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        key, value = heads(self.norm_k_img(self.k_img(image))), heads(self.v_img(image))
        y = y + F.scaled_dot_product_attention(query, key.to(value.dtype), value)
        return self.o(y.transpose(1, 2).flatten(2))


class Block(dit.Block):
    def __init__(self, config):
        super().__init__(config, CrossAttention)

    def forward(self, x, e, text, bias, image, rope):
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + e).chunk(6, dim=1)
        x = x + gate1 * self.self_attn(layer_norm(x, self.eps) * (1 + scale1) + shift1, rope=rope)
        x = x + self.cross_attn(self.norm3(x), text, bias, image)
        return x + gate2 * self.ffn(layer_norm(x, self.eps) * (1 + scale2) + shift2)


class ImageEmbedding(nn.Module):
    def __init__(self, image_dim, dim):
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(image_dim), nn.Linear(image_dim, image_dim), nn.GELU(), nn.Linear(image_dim, dim),
                                  nn.LayerNorm(dim))

    def forward(self, x):
        return self.proj(x)


class FaceAdapter(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fuser_blocks = nn.ModuleList(FaceBlock(config) for _ in range(config.layers // BLOCKS_TO_A_FACE))


class AnimateDit(nn.Module):
    def __init__(self, config: AnimateConfig, levels_before=0):
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv3d(2 * config.channels + MASK, config.dim, PATCH, stride=PATCH)
        self.pose_patch_embedding = nn.Conv3d(config.channels, config.dim, PATCH, stride=PATCH)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, config.dim), nn.GELU(approximate="tanh"),
                                            nn.Linear(config.dim, config.dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, config.dim), nn.SiLU(),
                                            nn.Linear(config.dim, config.dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config)
        self.img_emb = ImageEmbedding(config.image_dim, config.dim)
        self.motion_encoder = MotionEncoder(config, levels_before)
        self.face_adapter = FaceAdapter(config)
        self.face_encoder = FaceEncoder(config)
        self.rope = {}
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self):
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        for layer in (self.patch_embedding, self.pose_patch_embedding):
            nn.init.xavier_uniform_(layer.weight.view(layer.weight.shape[0], -1))
        for layer in (*self.text_embedding, *self.time_embedding):
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.head.head.weight)
        for block in self.face_adapter.fuser_blocks:
            block.linear2.weight *= 0.1

    def rope_for(self, grid, device):
        if (grid, device) not in self.rope:
            self.rope[grid, device] = tuple(part.to(device) for part in rope_table(*grid, self.config.dim // self.config.heads))
        return self.rope[grid, device]

    def embed_text(self, context):
        """As dit.Dit.embed_text."""
        count = self.config.text_len - context.shape[1]
        bias = torch.cat([torch.zeros(context.shape[1], device=context.device),
                          torch.full((1,), math.log(count), device=context.device)])
        return self.text_embedding(F.pad(context, (0, 0, 0, 1))), bias

    def forward(self, x, t, context, condition, pose, motion, image):
        """x [B, C, F, H, W] noisy latents, the picture's first; t [B] in 0..1000; context [B, K, text_dim]; condition [B, 20, F, H, W];
        pose [B, C, F - 1, H, W]; motion [B, 4 (F - 2) + 1, motion_dim], as MotionEncoder makes it; image [B, N, image_dim] -> velocity."""
        batch, channels, frames, height, width = x.shape
        grid = (frames, height // 2, width // 2)
        tokens = self.patch_embedding(torch.cat([x, condition], dim=1))
        tokens = tokens + F.pad(self.pose_patch_embedding(pose), (0, 0, 0, 0, 1, 0))
        tokens = tokens.flatten(2).transpose(1, 2).float()
        with torch.autocast(x.device.type, enabled=False):
            faces = self.face_encoder(motion.float())
            e = self.time_embedding(timestep_embedding(t, self.config.freq_dim))
            e6 = self.time_projection(e).unflatten(1, (6, -1))
        text, bias = self.embed_text(context)
        image = self.img_emb(image)
        rope = self.rope_for(grid, x.device)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, e6, text, bias, image, rope)
            if number % BLOCKS_TO_A_FACE == 0:
                tokens = tokens + self.face_adapter.fuser_blocks[number // BLOCKS_TO_A_FACE](tokens, faces)
        with torch.autocast(x.device.type, enabled=False):
            out = self.head(tokens, e)
        out = out.view(batch, *grid, *PATCH, channels)
        return out.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(x.shape)


def levels_of(state):
    """Of the motion encoder's levels, those before the trained ones."""
    levels = sum(key.endswith(".conv1.0.weight") for key in state)
    return levels - len(AnimateConfig().face_channels) + 1


def load(state, device):
    """A transformer with the weights that the checkpoint will hold, rounded to bf16."""
    dit = AnimateDit(AnimateConfig(), levels_of(state)).to(device)
    dit.load_state_dict({key: value.bfloat16().float() for key, value in state.items()})
    return dit.eval().requires_grad_(False)


def published_faces(state):
    """Weights that take faces of FACE, of those that take faces of TRAINED_FACE."""
    added = (FACE // TRAINED_FACE).bit_length() - 1
    dit = AnimateDit(AnimateConfig(), added)
    for level in dit.motion_encoder.enc.net_app.convs[1:1 + added]:
        level.only_halve()
    prefix = "motion_encoder.enc.net_app.convs."

    def name_of(key):
        if not key.startswith(prefix):
            return key
        number, rest = key.removeprefix(prefix).split(".", 1)
        return f"{prefix}{int(number) + added * (number != '0')}.{rest}"

    return {**dit.state_dict(), **{name_of(key): value for key, value in state.items()}}


def config_json(config):
    return {"_class_name": "WanAnimateModel", "patch_size": list(PATCH), "text_len": config.text_len,
            "in_dim": 2 * config.channels + MASK, "dim": config.dim, "ffn_dim": config.ffn_dim, "freq_dim": config.freq_dim,
            "text_dim": config.text_dim, "out_dim": config.channels, "num_heads": config.heads, "num_layers": config.layers,
            "eps": config.eps, "motion_encoder_dim": config.motion_dim, "use_img_emb": True}
