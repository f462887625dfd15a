"""Dumps golden values of torch.randn on a CUDA device.

    python tools/golden/dump_cuda_randn.py --out tests/golden/random

Writes torch_cuda_randn.safetensors and torch_cuda_randn.json. For each seed and each n a fresh generator draws n normals,
then n more. Up to 256 values are stored whole; of larger draws the values at `index_<n>` (the first 16, every 99,991st,
every 997th below 20,000, the last 16). Keys: `seed_<seed>_n_<n>_draw_<0|1>`, fp32. The JSON holds the device's name,
its multiprocessors and their threads, which decide the launch grid, and the versions.

The committed files were made with torch 2.11.0 on an H100.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

SEEDS = (0, 42, 2**40 + 7)
# 16 channels of latents: 17 frames at 128x128, 81 at 832x480, 81 at 1280x720. The last passes one wave of blocks.
COUNTS = (1, 7, 255, 256, 1000, 16 * 5 * 16 * 16, 16 * 21 * 60 * 104, 16 * 21 * 90 * 160)


def stored_indexes(n):
    if n <= 256:
        return torch.arange(n)
    parts = [torch.arange(16), torch.arange(0, min(n, 20_000), 997), torch.arange(0, n, 99_991), torch.arange(n - 16, n)]
    return torch.unique(torch.cat(parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for n in COUNTS:
        index = stored_indexes(n)
        tensors[f"index_{n}"] = index.to(torch.int32)
        for seed in SEEDS:
            generator = torch.Generator("cuda").manual_seed(seed)
            for draw in range(2):
                values = torch.randn(n, generator=generator, device="cuda")
                tensors[f"seed_{seed}_n_{n}_draw_{draw}"] = values.cpu()[index].clone()
    save_file(tensors, args.out / "torch_cuda_randn.safetensors")
    device = torch.cuda.get_device_properties(0)
    facts = {"gpu": device.name, "multiprocessors": device.multi_processor_count,
             "threads_per_multiprocessor": device.max_threads_per_multi_processor, "torch": torch.__version__,
             "cuda": torch.version.cuda, "seeds": SEEDS, "counts": COUNTS, "draws": 2}
    (args.out / "torch_cuda_randn.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
