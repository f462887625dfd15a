"""The diffusion transformer of speech to video (WanModel_S2V): its state-dict keys and mathematics, for clips of one size."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from . import dit
from .dit import PATCH, Attention, DitConfig, Head, layer_norm, timestep_embedding
from .speech_world import MOTION

MOTION_LATENTS = (MOTION + 3) // 4
BUCKETS = (1, 2, 16)  # latent frames of the past, from the newest to the oldest, packed ever more densely
AUDIO_TOKENS = 4
REFERENCE_TIME = 30


@dataclass(frozen=True)
class S2vConfig(DitConfig):
    dim: int = 128
    ffn_dim: int = 384
    heads: int = 4
    layers: int = 4
    audio_dim: int = 32
    audio_states: int = 25
    inject_layers: tuple = (0, 2)


def sampled(full, count):
    """`count` of the places 0 .. full - 1, evenly from the first to the last, cut to whole numbers."""
    return torch.linspace(0, full - 1, count, dtype=torch.float64).long() if count > 1 else torch.zeros(1, dtype=torch.long)


def positions(frames, rows, columns, motion):
    """(time, row, column) [tokens, 3] of the video, the reference and, with `motion`, the past."""
    def box(times, row_places, column_places):
        return torch.cartesian_prod(torch.tensor(times), row_places, column_places).view(-1, 3)

    every_row, every_column = torch.arange(rows), torch.arange(columns)
    parts = [box(list(range(frames)), every_row, every_column), box([REFERENCE_TIME], every_row, every_column)]
    if motion:
        parts.append(box([-1], every_row, every_column))
        parts.append(box([-3], sampled(rows, rows // 2), sampled(columns, columns // 2)))
        parts.append(box([-19, -14, -9, -4], sampled(rows, rows // 4), sampled(columns, columns // 4)))
    return torch.cat(parts)


def rope_of(places, head_dim):
    """Cosines and sines [tokens, head_dim / 2] of (time, row, column) places; times may be negative."""
    pairs = head_dim // 2
    side = pairs // 3
    angles = []
    for axis, count in enumerate((pairs - 2 * side, side, side)):
        rates = 1.0 / torch.pow(10000.0, torch.arange(0, 2 * count, 2, dtype=torch.float64) / (2 * count))
        angles.append(torch.outer(places[:, axis].double(), rates))
    angles = torch.cat(angles, dim=1)
    return angles.cos().float(), angles.sin().float()


class CausalConv1d(nn.Module):
    """Sees this frame and two earlier ones, of which those before the first are like the first."""

    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv = nn.Conv1d(cin, cout, 3, stride=stride)

    def forward(self, x):
        """[B, T, C] -> [B, T / stride, C']"""
        return self.conv(F.pad(x.transpose(1, 2), (2, 0), mode="replicate")).transpose(1, 2)


class MotionEncoder(nn.Module):
    def __init__(self, cin, dim):
        super().__init__()
        self.conv1_local = CausalConv1d(cin, dim // 4 * AUDIO_TOKENS)
        self.conv1_global = CausalConv1d(cin, dim // 4)
        self.conv2 = CausalConv1d(dim // 4, dim // 2, stride=2)
        self.conv3 = CausalConv1d(dim // 2, dim, stride=2)
        self.final_linear = nn.Linear(dim, dim)
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, 1, dim))

    def slower(self, x):
        x = F.silu(layer_norm(x, 1e-6))
        x = F.silu(layer_norm(self.conv2(x), 1e-6))
        return F.silu(layer_norm(self.conv3(x), 1e-6))

    def forward(self, x):
        """x [B, T, C] -> one token [B, T/4, dim] and AUDIO_TOKENS + 1 tokens [B, T/4, 5, dim] a latent frame."""
        local = self.conv1_local(x).unflatten(-1, (AUDIO_TOKENS, -1)).transpose(1, 2).flatten(0, 1)
        local = self.slower(local).unflatten(0, (-1, AUDIO_TOKENS)).transpose(1, 2)
        padding = self.padding_tokens.expand(*local.shape[:2], 1, -1)
        return self.final_linear(self.slower(self.conv1_global(x))), torch.cat([local, padding], dim=2)


class CausalAudioEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weights = nn.Parameter(torch.full((1, config.audio_states, 1, 1), 0.01))
        self.encoder = MotionEncoder(config.audio_dim, config.dim)

    def forward(self, audio):
        """audio [B, states, C, frames] -> as MotionEncoder, for the clip's latent frames alone."""
        audio = torch.cat([audio[..., :1].expand(*audio.shape[:-1], MOTION), audio], dim=-1)
        weights = F.silu(self.weights)
        mean = ((audio * weights) / weights.sum(dim=1, keepdim=True)).sum(dim=1)
        single, local = self.encoder(mean.transpose(1, 2))
        return single[:, MOTION_LATENTS:], local[:, MOTION_LATENTS:]


class AdaLayer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(self, x, single):
        shift, scale = self.linear(F.silu(single))[:, None].chunk(2, dim=-1)
        return layer_norm(x, 1e-5) * (1 + scale) + shift


class AudioInjector(nn.Module):
    def __init__(self, config):
        super().__init__()
        count = len(config.inject_layers)
        self.injector = nn.ModuleList(Attention(config.dim, config.heads, config.eps) for _ in range(count))
        self.injector_adain_layers = nn.ModuleList(AdaLayer(config.dim) for _ in range(count))

    def inject(self, number, x, single, local):
        """What is added to the video's tokens x [B, F * n, dim]; single [B, F, dim], local [B, F, 5, dim]."""
        frames = x.unflatten(1, (single.shape[1], -1)).flatten(0, 1)  # [B * F, n, dim]
        frames = self.injector_adain_layers[number](frames, single.flatten(0, 1))
        return self.injector[number](frames, context=local.flatten(0, 1)).view(x.shape)


class FramePacker(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.proj = nn.Conv3d(config.channels, config.dim, (1, 2, 2), stride=(1, 2, 2))
        self.proj_2x = nn.Conv3d(config.channels, config.dim, (2, 4, 4), stride=(2, 4, 4))
        self.proj_4x = nn.Conv3d(config.channels, config.dim, (4, 8, 8), stride=(4, 8, 8))

    def forward(self, motion):
        """motion [B, C, 19, H, W] -> tokens [B, 1.5 n, dim], the newest first."""
        oldest, older, newest = motion.split(BUCKETS[::-1], dim=2)
        parts = self.proj(newest), self.proj_2x(older), self.proj_4x(oldest)
        return torch.cat([part.flatten(2).transpose(1, 2) for part in parts], dim=1)


class Block(dit.Block):
    """As dit.Block, with one modulation for the video's tokens and another for those that are given."""

    def forward(self, x, video, e, e_given, context, rope, bias):
        """x [B, L, dim], the first `video` tokens of which are the video's; e [B, 6, dim]; e_given [1, 6, dim]."""
        batch, length, dim = x.shape
        moving = (self.modulation + e)[:, :, None].expand(-1, -1, video, -1)
        given = (self.modulation + e_given)[:, :, None].expand(batch, -1, length - video, -1)
        shift1, scale1, gate1, shift2, scale2, gate2 = torch.cat([moving, given], dim=2).unbind(1)
        x = x + gate1 * self.self_attn(layer_norm(x, self.eps) * (1 + scale1) + shift1, rope=rope)
        x = x + self.cross_attn(self.norm3(x), context=context, bias=bias)
        return x + gate2 * self.ffn(layer_norm(x, self.eps) * (1 + scale2) + shift2)


class S2vDit(nn.Module):
    def __init__(self, config: S2vConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv3d(config.channels, config.dim, PATCH, stride=PATCH)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, config.dim), nn.GELU(approximate="tanh"),
                                            nn.Linear(config.dim, config.dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, config.dim), nn.SiLU(),
                                            nn.Linear(config.dim, config.dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config)
        self.cond_encoder = nn.Conv3d(config.channels, config.dim, PATCH, stride=PATCH)
        self.casual_audio_encoder = CausalAudioEncoder(config)
        self.audio_injector = AudioInjector(config)
        self.trainable_cond_mask = nn.Embedding(3, config.dim)
        self.frame_packer = FramePacker(config)
        self.rope = {}
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self):
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        for layer in (self.patch_embedding, self.frame_packer.proj, self.frame_packer.proj_2x, self.frame_packer.proj_4x):
            nn.init.xavier_uniform_(layer.weight.view(layer.weight.shape[0], -1))
        for layer in (*self.text_embedding, *self.time_embedding):
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.head.head.weight)
        # Without a pose video its latent is 0, and so is what a bias of 0 adds: the weights take no part in this demo.
        nn.init.normal_(self.cond_encoder.weight.requires_grad_(False), std=0.02)
        nn.init.zeros_(self.cond_encoder.bias)
        nn.init.normal_(self.trainable_cond_mask.weight, std=0.02)
        for layer in self.audio_injector.injector:
            layer.o.weight *= 0.1

    def rope_for(self, grid, motion, device):
        key = (grid, motion, device)
        if key not in self.rope:
            table = rope_of(positions(*grid, motion), self.config.dim // self.config.heads)
            self.rope[key] = tuple(part.to(device) for part in table)
        return self.rope[key]

    def embed_text(self, context):
        """As dit.Dit.embed_text."""
        count = self.config.text_len - context.shape[1]
        bias = torch.cat([torch.zeros(context.shape[1], device=context.device),
                          torch.full((1,), math.log(count), device=context.device)])
        return self.text_embedding(F.pad(context, (0, 0, 0, 1))), bias

    def forward(self, x, t, context, reference, audio, motion=None):
        """x [B, C, F, H, W] noisy latents; t [B] in 0..1000; context [B, K, text_dim]; reference [B, C, 1, H, W]; audio
        [B, states, audio_dim, 4 F]; motion [B, C, 19, H, W], or None in a first clip -> velocity like x."""
        batch, channels, frames, height, width = x.shape
        grid = (frames, height // 2, width // 2)
        parts = [self.patch_embedding(x) + self.cond_encoder.bias[:, None, None, None], self.patch_embedding(reference)]
        parts = [part.flatten(2).transpose(1, 2) for part in parts]
        if motion is not None:
            parts.append(self.frame_packer(motion))
        mask = self.trainable_cond_mask.weight
        tokens = torch.cat([part.float() + mask[row] for row, part in enumerate(parts)], dim=1)
        video = parts[0].shape[1]
        with torch.autocast(x.device.type, enabled=False):
            single, local = self.casual_audio_encoder(audio.float())
            e = self.time_embedding(timestep_embedding(torch.cat([t, t.new_zeros(1)]), self.config.freq_dim))
            e6 = self.time_projection(e).unflatten(1, (6, -1))
        keys, bias = self.embed_text(context)
        rope = self.rope_for(grid, motion is not None, x.device)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, video, e6[:-1], e6[-1:], keys, rope, bias)
            if number in self.config.inject_layers:
                place = self.config.inject_layers.index(number)
                heard = self.audio_injector.inject(place, tokens[:, :video], single, local)
                tokens = torch.cat([tokens[:, :video] + heard, tokens[:, video:]], dim=1)
        with torch.autocast(x.device.type, enabled=False):
            out = self.head(tokens[:, :video], e[:-1])
        out = out.view(batch, *grid, *PATCH, channels)
        return out.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(x.shape)


def config_of(state):
    """Of a transformer's weights, where it differs from the default."""
    count = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    return S2vConfig(layers=count)


def config_json(config):
    return {"_class_name": "WanModel_S2V", "model_type": "s2v", "dim": config.dim, "ffn_dim": config.ffn_dim,
            "freq_dim": config.freq_dim, "num_heads": config.heads, "num_layers": config.layers,
            "in_dim": config.channels, "out_dim": config.channels, "text_len": config.text_len, "eps": config.eps,
            "cond_dim": config.channels, "audio_dim": config.audio_dim, "num_audio_token": AUDIO_TOKENS,
            "enable_adain": True, "adain_mode": "attn_norm", "audio_inject_layers": list(config.inject_layers),
            "zero_init": True, "zero_timestep": True, "add_last_motion": True, "enable_framepack": True,
            "framepack_drop_mode": "padd", "enable_motioner": False, "enable_tsm": False,
            "trainable_token_pos_emb": False, "motion_token_num": 1024}


def load(state, device):
    """A transformer with the weights that the checkpoint will hold, rounded to bf16."""
    dit = S2vDit(config_of(state)).to(device)
    dit.load_state_dict({key: value.bfloat16().float() for key, value in state.items()})
    return dit.eval().requires_grad_(False)
