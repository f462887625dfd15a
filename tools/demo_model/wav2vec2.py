"""The audio encoder (wav2vec2-large-xlsr-53's network, small): its state-dict keys and mathematics.

Widths are small, but the convolutions' strides and kernels, the 24 layers and with them the 25 hidden states are the official
ones. The layers are random, small and never trained: the sound's loudness, which the convolutions learn to read, passes them
nearly unchanged in sounds of any length.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
FEATURE_RATE = 50  # hidden states a second
VIDEO_RATE = 30  # of which so many are made


@dataclass(frozen=True)
class AudioConfig:
    conv_dim: int = 32
    hidden: int = 32
    intermediate: int = 64
    layers: int = 24
    heads: int = 4
    position_kernel: int = 128
    position_groups: int = 16
    vocab: int = 33
    eps: float = 1e-5


class ConvLayer(nn.Module):
    def __init__(self, cin, cout, kernel, stride):
        super().__init__()
        self.conv = nn.Conv1d(cin, cout, kernel, stride=stride)
        self.layer_norm = nn.LayerNorm(cout)

    def forward(self, x):
        return F.gelu(self.layer_norm(self.conv(x).transpose(1, 2)).transpose(1, 2))


class FeatureExtractor(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv_layers = nn.ModuleList(
            ConvLayer(1 if i == 0 else config.conv_dim, config.conv_dim, kernel, stride)
            for i, (kernel, stride) in enumerate(zip(KERNELS, STRIDES)))

    def forward(self, sound):
        x = sound[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class FeatureProjection(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_dim)
        self.projection = nn.Linear(config.conv_dim, config.hidden)

    def forward(self, x):
        return self.projection(self.layer_norm(x))


class WeightNormConv(nn.Module):
    """Normed over all but the taps: v times g over the length of v, tap by tap."""

    def __init__(self, dim, kernel, groups):
        super().__init__()
        self.groups = groups
        weight = torch.randn(dim, dim // groups, kernel) * (kernel * dim // groups) ** -0.5
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        return F.conv1d(x, weight, self.bias, padding=weight.shape[2] // 2, groups=self.groups)


class PositionEmbedding(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv = WeightNormConv(config.hidden, config.position_kernel, config.position_groups)

    def forward(self, x):
        return F.gelu(self.conv(x.transpose(1, 2))[..., :x.shape[1]]).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(config.hidden, config.hidden) for _ in range(4))

    def forward(self, x):
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden, config.intermediate)
        self.output_dense = nn.Linear(config.intermediate, config.hidden)

    def forward(self, x):
        return self.output_dense(F.gelu(self.intermediate_dense(x)))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.layer_norm = nn.LayerNorm(config.hidden, eps=config.eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden, eps=config.eps)

    def forward(self, x):
        x = x + self.attention(self.layer_norm(x))
        return x + self.feed_forward(self.final_layer_norm(x))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.pos_conv_embed = PositionEmbedding(config)
        self.layer_norm = nn.LayerNorm(config.hidden, eps=config.eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, x):
        x = x + self.pos_conv_embed(x)
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return torch.stack([*states[:-1], self.layer_norm(states[-1])], dim=1)


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.masked_spec_embed = nn.Parameter(torch.rand(config.hidden), requires_grad=False)
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)


class Wav2Vec2(nn.Module):
    """With the (unused) letters' head of the published file."""

    def __init__(self, config: AudioConfig):
        super().__init__()
        self.config = config
        self.wav2vec2 = Model(config)
        self.lm_head = nn.Linear(config.hidden, config.vocab).requires_grad_(False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self):
        for layer in self.wav2vec2.feature_extractor.conv_layers:
            nn.init.kaiming_normal_(layer.conv.weight)
            # A norm over channels forgets how loud the sound is but for what a bias stands beside it.
            nn.init.normal_(layer.conv.bias, std=0.3)
        for layer in self.wav2vec2.encoder.layers:
            layer.requires_grad_(False)
            for part in (layer.attention.out_proj, layer.feed_forward.output_dense):
                nn.init.normal_(part.weight, std=0.02)
                nn.init.normal_(part.bias, std=0.01)

    def forward(self, sound):
        """sound [B, n], zero mean and unit variance -> the hidden states [B, layers + 1, T, hidden] at FEATURE_RATE."""
        body = self.wav2vec2
        return body.encoder(body.feature_projection(body.feature_extractor(sound)))


def video_features(states, frames, fps=16):
    """states [B, S, T, C] -> [B, S, C, frames], as officially: made 30 a second, of which each video frame takes the nearest
    (half to even); zeros past the end."""
    batch, kinds, length, width = states.shape
    count = int(length / FEATURE_RATE * VIDEO_RATE)
    flat = states.flatten(0, 1).transpose(1, 2)
    flat = F.interpolate(flat, size=count, mode="linear", align_corners=True)
    place = (torch.arange(frames, device=states.device, dtype=torch.float64) * VIDEO_RATE / fps).round().long()
    chosen = flat[..., place.clamp(max=count - 1)] * (place < count)
    return chosen.unflatten(0, (batch, kinds))


def config_json(config):
    """As transformers reads it."""
    return {
        "architectures": ["Wav2Vec2ForCTC"], "model_type": "wav2vec2", "conv_bias": True,
        "conv_dim": [config.conv_dim] * len(KERNELS), "conv_kernel": list(KERNELS), "conv_stride": list(STRIDES),
        "num_feat_extract_layers": len(KERNELS), "feat_extract_norm": "layer", "feat_extract_activation": "gelu",
        "do_stable_layer_norm": True, "hidden_size": config.hidden, "hidden_act": "gelu",
        "intermediate_size": config.intermediate, "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads, "num_conv_pos_embeddings": config.position_kernel,
        "num_conv_pos_embedding_groups": config.position_groups, "layer_norm_eps": config.eps, "vocab_size": config.vocab,
        "feat_proj_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
        "layerdrop": 0.0, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


PREPROCESSOR = {"do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1,
                "padding_side": "right", "padding_value": 0, "return_attention_mask": True, "sampling_rate": 16000}
