#!/usr/bin/env python3
"""Golden files of VAE 2.1: small random checkpoints and what the official code computes with them, in fp32 on a CPU.

Reads wan/modules/vae2_1.py under --wan_dir, a checkout of Wan-Video/Wan2.2 at
42bf4cfaa384bc21833865abc2f9e6c0e67233dc. What the files hold: vae_golden.py. Versions: requirements.txt beside this file,
safetensors and einops included.

    python tools/golden/make_vae21.py --wan_dir Wan2.2 --out tests/golden/vae21
"""

import torch

import vae_golden
from vae_golden import Case, Vae

LATENT_MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
               0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
LATENT_STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
              3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)

CASES = {
    "levels4": Case(dict(dim=4, dim_mult=[1, 2, 2, 3], num_res_blocks=1, temperal_downsample=[False, True, True]),
                    (2, 3), 3, 9, torch.bfloat16, ("decode", "encode")),
    "levels3": Case(dict(dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True]),
                    (3, 5), 9, 33, torch.bfloat16),
    "levels2": Case(dict(dim=6, dim_mult=[1, 2], num_res_blocks=2, temperal_downsample=[True]),
                    (3, 5), 4, 5, torch.bfloat16, ("decode",)),
}


def layers(part, stages):
    return {f"{stages}.{i}": layer for i, layer in enumerate(getattr(part, stages))}


if __name__ == "__main__":
    vae_golden.main(__doc__, Vae("vae2_1.py", LATENT_MEAN, LATENT_STD, seed=21, layers=layers), CASES)
