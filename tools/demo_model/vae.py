"""The causal video VAE (Wan VAE 2.1): its state-dict keys and mathematics, over a whole clip at once.

The official decoder and encoder walk over a clip in groups of frames with feature caches. Zero-padded causal
convolutions over the whole clip give the same values; only the two time-resampling layers treat the first frame
apart (see `Resample`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

# Published constants of VAE 2.1, applied outside the network by every implementation.
LATENT_MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
               0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
LATENT_STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
              3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)


@dataclass(frozen=True)
class VaeConfig:
    dim: int = 16
    multipliers: tuple = (1, 2, 4, 4)
    res_blocks: int = 2
    z_dim: int = 16
    time_down: tuple = (False, True, True)


def norm_silu(x, gamma):
    """RMS norm over channels (x / |x| * sqrt(C) * gamma), then SiLU."""
    return F.silu(F.normalize(x.float(), dim=1) * (x.shape[1] ** 0.5) * gamma).to(x.dtype)


class Fused:
    """Holds the norm-and-activation function in use, so that training can put a compiled one in its place."""
    norm_silu = staticmethod(norm_silu)


class CausalConv3d(nn.Conv3d):
    """Sees this frame and earlier ones only. On a single frame it is a 2D convolution with the last time slice."""

    def __init__(self, cin, cout, kernel, stride=1, time_pad=None):
        kernel = (kernel,) * 3 if isinstance(kernel, int) else kernel
        super().__init__(cin, cout, kernel, stride=stride)
        self.time_pad = kernel[0] - 1 if time_pad is None else time_pad
        self.space_pad = (kernel[1] // 2, kernel[2] // 2)

    def forward(self, x):
        if x.shape[2] == 1 and self.time_pad == self.kernel_size[0] - 1:
            y = F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, padding=self.space_pad)
            return y[:, :, None]
        if self.time_pad:
            x = F.pad(x, (0, 0, 0, 0, self.time_pad, 0))
        return F.conv3d(x, self.weight, self.bias, self.stride, (0, *self.space_pad))


class RmsNorm(nn.Module):
    def __init__(self, dim, trailing):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim, *(1,) * trailing))

    def forward(self, x):
        return F.normalize(x, dim=1) * (x.shape[1] ** 0.5) * self.gamma


def framewise(layer, x):
    """Applies a 2D layer to each frame of [B, C, T, H, W]."""
    y = layer(x.transpose(1, 2).flatten(0, 1))
    return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class ResidualBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.residual = nn.Sequential(
            RmsNorm(cin, 3), nn.SiLU(), CausalConv3d(cin, cout, 3),
            RmsNorm(cout, 3), nn.SiLU(), nn.Dropout(0.0), CausalConv3d(cout, cout, 3))
        self.shortcut = CausalConv3d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x):
        y = self.residual[2](Fused.norm_silu(x, self.residual[0].gamma))
        y = self.residual[6](Fused.norm_silu(y, self.residual[3].gamma))
        return self.shortcut(x) + y


class AttentionBlock(nn.Module):
    """One head over the pixels of each frame."""

    def __init__(self, dim):
        super().__init__()
        self.norm = RmsNorm(dim, 2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def attend(self, x):
        q, k, v = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        y = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj(y.transpose(1, 2).reshape(x.shape))

    def forward(self, x):
        return framewise(self.attend, x)


class Resample(nn.Module):
    """Halves or doubles height and width, and time as well where `time` is set.

    The first frame stands alone: it passes the time layer untouched on both ways. Going up, the time layer does
    not see it either: the causal convolution over the frames after it starts from zeros.
    """

    def __init__(self, dim, up, time):
        super().__init__()
        self.up = up
        if up:
            self.resample = nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest-exact"),
                                          nn.Conv2d(dim, dim // 2, 3, padding=1))
        else:
            self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(dim, dim, 3, stride=2))
        if time and up:
            self.time_conv = CausalConv3d(dim, 2 * dim, (3, 1, 1))
        elif time:
            self.time_conv = CausalConv3d(dim, dim, (3, 1, 1), stride=(2, 1, 1), time_pad=0)
        else:
            self.time_conv = None

    def forward(self, x):
        time = self.time_conv is not None and x.shape[2] > 1
        if time and self.up:
            later = self.time_conv(x[:, :, 1:])  # [B, 2C, T-1, H, W]: each frame becomes two
            later = later.unflatten(1, (2, -1)).movedim(1, 3).flatten(2, 3)
            x = torch.cat([x[:, :, :1], later], dim=2)
        x = framewise(self.resample, x)
        if time and not self.up:
            x = torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)
        return x


def middle_layers(dim):
    return nn.Sequential(ResidualBlock(dim, dim), AttentionBlock(dim), ResidualBlock(dim, dim))


def head_layers(dim, out):
    return nn.Sequential(RmsNorm(dim, 3), nn.SiLU(), CausalConv3d(dim, out, 3))


def apply_head(head, x):
    return head[2](Fused.norm_silu(x, head[0].gamma))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        dims = [config.dim * m for m in (1, *config.multipliers)]
        self.conv1 = CausalConv3d(3, dims[0], 3)
        layers = []
        for level, (cin, cout) in enumerate(zip(dims[:-1], dims[1:])):
            for _ in range(config.res_blocks):
                layers.append(ResidualBlock(cin, cout))
                cin = cout
            if level < len(config.multipliers) - 1:
                layers.append(Resample(cout, up=False, time=config.time_down[level]))
        self.downsamples = nn.Sequential(*layers)
        self.middle = middle_layers(dims[-1])
        self.head = head_layers(dims[-1], 2 * config.z_dim)

    def forward(self, x):
        return apply_head(self.head, self.middle(self.downsamples(self.conv1(x))))


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        multipliers = config.multipliers[::-1]
        dims = [config.dim * m for m in (multipliers[0], *multipliers)]
        self.conv1 = CausalConv3d(config.z_dim, dims[0], 3)
        self.middle = middle_layers(dims[0])
        layers = []
        for level, (cin, cout) in enumerate(zip(dims[:-1], dims[1:])):
            cin = cin // 2 if level else cin  # each upsampling layer has halved the channels
            for _ in range(config.res_blocks + 1):
                layers.append(ResidualBlock(cin, cout))
                cin = cout
            if level < len(multipliers) - 1:
                layers.append(Resample(cout, up=True, time=config.time_down[::-1][level]))
        self.upsamples = nn.Sequential(*layers)
        self.head = head_layers(dims[-1], 3)

    def forward(self, z):
        return apply_head(self.head, self.upsamples(self.middle(self.conv1(z))))


class Vae(nn.Module):
    def __init__(self, config: VaeConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = CausalConv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.conv2 = CausalConv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)
        self.reset_parameters()

    def encode(self, x):
        """x [B, 3, 4n+1, H, W] in [-1, 1] -> the latents' mean [B, z, n+1, H/8, W/8] before the constants."""
        return self.conv1(self.encoder(x))[:, :self.config.z_dim]

    def decode(self, z):
        return self.decoder(self.conv2(z))

    @torch.no_grad()
    def reset_parameters(self):
        """Fan-in initialisation, small residual branches, and time layers that start as copies.

        A causal convolution starts as its last time slice alone, a 2D convolution of the present frame. With
        default initialisation and residual branches of full size this network collapses to a constant.
        """
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
                fan_in = layer.in_channels * layer.kernel_size[-1] * layer.kernel_size[-2]
                nn.init.normal_(layer.weight, std=fan_in ** -0.5)
                nn.init.zeros_(layer.bias)
            if isinstance(layer, CausalConv3d) and layer.kernel_size[0] > 1:
                layer.weight[:, :, :-1] *= 0.05
        for layer in self.modules():
            if isinstance(layer, ResidualBlock):
                layer.residual[6].weight *= 0.2
            elif isinstance(layer, AttentionBlock):
                layer.proj.weight *= 0.2
            elif isinstance(layer, Resample) and layer.time_conv is not None:
                weight = layer.time_conv.weight  # [C or 2C, C, 3, 1, 1]
                weight *= 0.05
                copies = weight.shape[0] // weight.shape[1]
                weight[:, :, -1, 0, 0] += torch.eye(weight.shape[1]).repeat(copies, 1)


@torch.no_grad()
def fold_normalisation(vae, mean, std):
    """Makes (mu - LATENT_MEAN) / LATENT_STD unit-variance latents, given the raw latents' own mean and deviation.

    `mean`, `std`: [z] of `encode` on real clips. Changes the last layer of the encoder side and the first of the
    decoder side; reconstructions stay the same.
    """
    published_mean = torch.tensor(LATENT_MEAN).to(mean)
    published_std = torch.tensor(LATENT_STD).to(mean)
    gain = published_std / std
    z = vae.config.z_dim
    vae.conv2.bias += vae.conv2.weight.flatten(1) @ (mean - published_mean / gain)
    vae.conv2.weight /= gain[None, :, None, None, None]
    vae.conv1.weight[:z] *= gain[:, None, None, None, None]
    vae.conv1.bias[:z] = (vae.conv1.bias[:z] - mean) * gain + published_mean


def normalised_encode(vae, x):
    """Latents as the DiT sees them, after `fold_normalisation`."""
    mu = vae.encode(x).float()
    shape = (1, -1, 1, 1, 1)
    return (mu - mu.new_tensor(LATENT_MEAN).view(shape)) / mu.new_tensor(LATENT_STD).view(shape)


def normalised_decode(vae, latents):
    shape = (1, -1, 1, 1, 1)
    z = latents * latents.new_tensor(LATENT_STD).view(shape) + latents.new_tensor(LATENT_MEAN).view(shape)
    return vae.decode(z).float().clamp(-1, 1)
