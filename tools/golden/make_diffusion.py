"""Make the golden files of the schedulers and of the CPU random numbers: tests/golden/diffusion/*.json.

Runs the official Wan2.2 schedulers (wan/utils/fm_solvers.py and fm_solvers_unipc.py under --wan_dir, a checkout of
Wan-Video/Wan2.2 at 42bf4cfaa384bc21833865abc2f9e6c0e67233dc), diffusers' flow Euler scheduler, and PyTorch's CPU
generator. Versions: requirements.txt beside this file.

    python tools/golden/make_diffusion.py --wan_dir Wan2.2 --out tests/golden/diffusion

scheduler.json
  digests: for each grid ("unipc", "dpm++") and shift two strings of 8 hex digits for each steps = 1..200: FNV-1a (32 bit)
    of the timesteps as little-endian int16 and of the steps + 1 sigmas as little-endian float32.
  model, start, bias: the fake velocity tanh(a * x + (b * t / 1000 + bias_i)) and the first sample.
  trajectories: samples after the steps listed in "after" (1-based), state and coefficients in fp64 and in fp32.
random_cpu.json
  each case draws torch.randn(n) for the listed n in turn from one generator; of a draw the values at "indices" and the
  sum (fp64) of all are kept.
"""

import argparse
import importlib.util
import json
import pathlib
import struct

import numpy as np
import torch
from diffusers.schedulers import scheduling_flow_match_euler_discrete as flow_euler

MODEL = {"a": 0.9, "b": -0.8}
START = [1.25, -0.5, 0.03125]
BIAS = [0.25, -0.125, 0.5]
SHIFTS = [1.0, 2.5, 3.0, 5.0, 7.0, 8.0, 12.0, 17.0]
ALL_STEPS = [1, 2, 3, 4, 5, 6, 8, 10, 14, 15, 16, 20, 30, 40, 50, 100]
FEW_STEPS = [2, 10, 50]
ALL_STEPS_SHIFTS = [1.0, 5.0, 12.0]


class TorchWithoutFloat32:
    """Stands in for the module `torch` inside a scheduler's module: its casts to fp32 become casts to fp64."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fnv1a(data):
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{value:08x}"


class Official:
    def __init__(self, wan_dir):
        self.unipc = load(wan_dir / "wan/utils/fm_solvers_unipc.py")
        self.dpmpp = load(wan_dir / "wan/utils/fm_solvers.py")

    def make(self, solver, steps, shift):
        """A scheduler set up as text2video.py does it, to be stepped by index; its module; its timesteps."""
        if solver == "unipc":
            scheduler = self.unipc.FlowUniPCMultistepScheduler(
                num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
            scheduler.set_timesteps(steps, device="cpu", shift=shift)
            timesteps, module = scheduler.timesteps, self.unipc
        else:
            scheduler = self.dpmpp.FlowDPMSolverMultistepScheduler(
                num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
            sigmas = self.dpmpp.get_sampling_sigmas(steps, shift)
            timesteps, _ = self.dpmpp.retrieve_timesteps(scheduler, device="cpu", sigmas=sigmas)
            module = self.dpmpp
        if solver == "euler":
            sigmas = scheduler.sigmas[:-1].numpy()
            scheduler = flow_euler.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)
            scheduler.set_timesteps(sigmas=sigmas.tolist(), device="cpu")
            module = flow_euler
        scheduler.set_begin_index(0)
        return scheduler, module, timesteps

    def trajectory(self, solver, steps, shift, dtype):
        scheduler, module, timesteps = self.make(solver, steps, shift)
        if dtype == torch.float64:
            scheduler.sigmas = scheduler.sigmas.to(torch.float64)
        sample = torch.tensor(START, dtype=dtype).view(1, -1, 1, 1)
        bias = torch.tensor(BIAS, dtype=dtype).view(1, -1, 1, 1)
        samples = []
        for index, t in enumerate(timesteps):
            velocity = torch.tanh(MODEL["a"] * sample + (MODEL["b"] * t.item() / 1000 + bias))
            if dtype == torch.float64:
                module.torch = TorchWithoutFloat32()
            sample = scheduler.step(velocity, t.double() if solver == "euler" else t, sample, return_dict=False)[0]
            module.torch = torch
            assert sample.dtype == dtype and bool(torch.isfinite(sample).all())
            samples.append(sample.flatten().tolist())
        return samples


def scheduler_golden(official):
    digests = []
    for grid in ["unipc", "dpm++"]:
        for shift in SHIFTS:
            timestep_digests, sigma_digests = [], []
            for steps in range(1, 201):
                scheduler, _, timesteps = official.make(grid, steps, shift)
                sigmas = scheduler.sigmas.numpy().astype("<f4")
                assert len(sigmas) == steps + 1
                timestep_digests.append(fnv1a(struct.pack(f"<{steps}h", *timesteps.tolist())))
                sigma_digests.append(fnv1a(sigmas.tobytes()))
            digests.append({"grid": grid, "shift": shift, "timesteps": "".join(timestep_digests),
                            "sigmas": "".join(sigma_digests)})
    trajectories = []
    for solver in ["unipc", "dpm++", "euler"]:
        for shift in SHIFTS:
            for steps in ALL_STEPS if shift in ALL_STEPS_SHIFTS else FEW_STEPS:
                after = sorted({*range(max(1, steps // 15), steps + 1, max(1, steps // 15)), steps})
                case = {"solver": solver, "shift": shift, "steps": steps, "after": after}
                for name, dtype, digits in [("fp64", torch.float64, 13), ("fp32", torch.float32, 9)]:
                    samples = official.trajectory(solver, steps, shift, dtype)
                    case[name] = [float(f"{x:.{digits}g}") for k in after for x in samples[k - 1]]
                trajectories.append(case)
    timesteps = {f"{grid} {steps} {shift:g}": official.make(grid, steps, shift)[2].tolist()
                 for grid, steps, shift in [("unipc", 40, 12.0), ("dpm++", 40, 12.0), ("unipc", 20, 5.0)]}
    return {"model": MODEL, "start": START, "bias": BIAS, "digests": digests, "timesteps": timesteps,
            "trajectories": trajectories}


def random_golden():
    cases = [(0, [n]) for n in [1, 7, 15, 16, 17, 31, 100, 1000, 16 * 5 * 16 * 16]]
    cases += [(42, [16, 7, 7, 1, 100, 3, 1000]), (2**32 + 5, [1, 17, 1]), (5, [1, 17, 1]),
              (2**63 - 1, [100, 15, 100]), (123456789012345678, [9, 640, 9])]
    golden = []
    for seed, sizes in cases:
        generator = torch.Generator("cpu").manual_seed(seed)
        draws = []
        for n in sizes:
            values = torch.randn(n, generator=generator).numpy()
            indices = sorted({*range(min(n, 40)), *range(max(0, n - 40), n), *range(0, n, max(1, n // 40))})
            draws.append({"n": n, "indices": indices, "values": [float(f"{values[i]:.9g}") for i in indices],
                          "sum": float(values.astype(np.float64).sum())})
        golden.append({"seed": str(seed), "draws": draws})
    return {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability(), "cases": golden}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", type=pathlib.Path, required=True, help="checkout of the official Wan2.2 code")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the JSON files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = {"scheduler.json": scheduler_golden(Official(arguments.wan_dir)), "random_cpu.json": random_golden()}
    for name, content in files.items():
        (arguments.out / name).write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
