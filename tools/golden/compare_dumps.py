"""Compare two folders written by `--dump`: of `wan generate`, of reference.py, or of any other implementation.

    python tools/golden/compare_dumps.py REFERENCE OTHER

Prints, for every file, the relative RMS ||other - reference|| / ||reference|| and the largest absolute difference, and
fails (exit status 1) where one is above its tolerance, a file is missing, extra or of another shape or dtype, or a value
is not finite. Tolerances (docs/testing.md gives the reasons):

  tokens, masks, timesteps     equal
  noise                        2e-6 absolute: PyTorch computes its normals with vector approximations
  sigmas                       1e-6 relative RMS
  context, image, condition    2e-5 relative RMS, as taps
  the rest                     --rms (2e-5 unless given) relative RMS, times the growth allowed by --growth per step
  frames                       one grey level

A step's `uncond` may be missing from OTHER (guidance scale 1 needs no second pass), and where all of them are, the negative
prompt's files. Of the taps (DUMP/taps), only those that both have are compared, and OTHER may have none that REFERENCE
lacks: the reference names every module, an engine the layers that it keeps apart. Taps are numbered by call, so they match
only where no pass was skipped.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EXACT = re.compile(r"(tokens|mask)_\w+|timesteps|step_\d+_timestep")
BEFORE_STEPS = re.compile(r"context_\w+|image|condition")
STEP = re.compile(r"step_(\d+)_(input|cond|uncond|guided|latent)")


@dataclass(frozen=True)
class Result:
    name: str
    rms: float = 0.0
    largest: float = 0.0
    problem: str = ""


def relative_rms(reference, other):
    """Relative RMS and largest absolute difference, in fp64; 0 / 0 is 0, x / 0 infinite, NaN anywhere is infinite."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (reference, other))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf, np.inf
    gap, size = np.linalg.norm(b - a), np.linalg.norm(a)
    rms = 0.0 if gap == 0 else np.inf if size == 0 else gap / size
    return float(rms), float(np.abs(b - a).max(initial=0.0))


def compare_arrays(name, a, b, limits):
    if a.shape != b.shape:
        return Result(name, problem=f"shape {list(b.shape)}, expected {list(a.shape)}")
    if a.dtype != b.dtype:
        return Result(name, problem=f"dtype {b.dtype}, expected {a.dtype}")
    rms, largest = relative_rms(a, b)
    if EXACT.fullmatch(name):
        bad = largest > 0
    elif name == "noise":
        bad = largest > limits.noise
    elif name == "frames":
        bad = largest > limits.grey
    elif name == "sigmas":
        bad = rms > limits.sigmas
    else:
        match = STEP.fullmatch(name)
        steps = int(match[1]) if match else 0 if BEFORE_STEPS.fullmatch(name) else limits.steps
        bad = rms > limits.rms * limits.growth ** steps
    return Result(name, rms, largest, "above the tolerance" if bad else "")


def names_of(folder):
    return {path.stem: path for path in sorted(folder.glob("*.npy"))}


def compare_folders(reference, other, limits, taps=False):
    """Yields a Result a file."""
    a, b = names_of(reference), names_of(other)
    guided = any(name.endswith("_uncond") for name in b)
    skippable = re.compile(r"step_\d+_uncond" if guided else r"step_\d+_uncond|(tokens|mask|context)_negative")
    for name in a.keys() | b.keys() if not taps else b.keys():
        if name not in b:
            if not skippable.fullmatch(name):
                yield Result(name, problem="missing")
        elif name not in a:
            yield Result(name, problem="not in the reference")
        else:
            yield compare_arrays(name, np.load(a[name]), np.load(b[name]), limits)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rms", type=float, default=2e-5)
    parser.add_argument("--growth", type=float, default=1.0, help="factor a step; guidance above 1 amplifies rounding")
    parser.add_argument("--noise", type=float, default=2e-6)
    parser.add_argument("--sigmas", type=float, default=1e-6)
    parser.add_argument("--grey", type=float, default=1.0)
    limits = parser.parse_args()
    for folder in (limits.reference, limits.other):
        if not names_of(folder):
            sys.exit(f"{folder}: no .npy files")
    limits.steps = sum(bool(re.fullmatch(r"step_\d+_cond", name)) for name in names_of(limits.reference))
    results = sorted(compare_folders(limits.reference, limits.other, limits), key=lambda r: r.name)
    results += sorted(compare_folders(limits.reference / "taps", limits.other / "taps", limits, taps=True),
                      key=lambda r: r.name)
    width = max(len(result.name) for result in results)
    print(f"{'file':{width}}  relative RMS  largest diff")
    for result in results:
        print(f"{result.name:{width}}  {result.rms:12.3e}  {result.largest:12.3e}  {result.problem}".rstrip())
    bad = sum(bool(result.problem) for result in results)
    print(f"{len(results)} files, {bad} beyond tolerance")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
