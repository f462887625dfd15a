#!/usr/bin/env python3
"""Golden files of VAE 2.2: small random checkpoints and what the official code computes with them, in fp32 on a CPU.

Reads wan/modules/vae2_2.py under --wan_dir, a checkout of Wan-Video/Wan2.2 at
42bf4cfaa384bc21833865abc2f9e6c0e67233dc. What the files hold: vae_golden.py; beside the levels, a level's shortcut
("upsamples.0.avg_shortcut") and the residual blocks inside it ("upsamples.0.upsamples.1") are kept. Versions:
requirements.txt beside this file, safetensors and einops included.

    python tools/golden/make_vae22.py --wan_dir Wan2.2 --out tests/golden/vae22
"""

import torch

import vae_golden
from vae_golden import Case, Vae

LATENT_MEAN = (-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813,
               0.0891, 0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108,
               -0.2158, 0.2502, -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313,
               -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944,
               0.3573, -0.0548, -0.1681, -0.0667)
LATENT_STD = (0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
              0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
              0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
              0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744)

# The widths of encoder and decoder differ; a shortcut's groups and repeats are smaller than, equal to and larger than a
# cell of 2 x 2 or 2 x 2 x 2 values, and the last level of "levels4" averages two channels. In "levels4_early" the two
# frames that a shortcut makes of one differ (four repeats), so that it counts which one the first group keeps. The
# encoder of "levels2" is so narrow that its pixels are the most memory it takes.
CASES = {
    "levels4": Case(dict(dim=4, dec_dim=3, dim_mult=[1, 2, 4, 2], num_res_blocks=1,
                         temperal_downsample=[False, True, True]),
                    (1, 3), 3, 9, torch.bfloat16, ("decode", "encode")),
    "levels3": Case(dict(dim=3, dec_dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True]),
                    (3, 5), 5, 17, torch.bfloat16),
    "levels2": Case(dict(dim=2, dec_dim=5, dim_mult=[2, 1], num_res_blocks=2, temperal_downsample=[True]),
                    (3, 5), 4, 5, torch.bfloat16, ("decode",)),
    "levels4_early": Case(dict(dim=3, dec_dim=2, dim_mult=[1, 2, 4, 4], num_res_blocks=1,
                               temperal_downsample=[True, False, True]),
                          (3, 1), 2, 5, torch.bfloat16),
}


def layers(part, stages):
    """Where a level ends with a change of resolution, that layer's output is fused with the shortcut's; where it does not,
    the decoder's has no shortcut and is its last residual block."""
    found = {}
    for i, level in enumerate(getattr(part, stages)):
        inside = getattr(level, stages)
        blocks = [layer for layer in inside if type(layer).__name__ == "ResidualBlock"]
        found.update({f"{stages}.{i}.{stages}.{j}": block for j, block in enumerate(blocks)})
        if level.avg_shortcut is not None:
            found[f"{stages}.{i}.avg_shortcut"] = level.avg_shortcut
            found[f"{stages}.{i}"] = level
    return found


if __name__ == "__main__":
    vae_golden.main(__doc__, Vae("vae2_2.py", LATENT_MEAN, LATENT_STD, seed=22, layers=layers), CASES)
