#!/usr/bin/env python3
"""Holds the include direction of docs/architecture.md: a folder of src/ includes itself and the folders below it.

    tools/checks/include_direction.py [ROOT]

Prints every include that breaks the rule and exits with 1 if there is one. A folder that LAYERS does not name is an error
too, so that a new one gets its place on purpose.
"""

import re
import sys
from pathlib import Path

# Folder -> folders that it may include, all of which stand above it. "wan" is include/wan.
MATH = {"base", "tensor", "parallel", "ops"}
MODELS = MATH | {"json", "weights", "nn", "models"}
STEPS = MODELS | {"wan", "request", "diffusion", "media", "cleaning", "tokenizers", "dump", "settings", "kept"}
LAYERS = {
    "base": {"wan"},
    "json": {"base"},
    "net": {"base", "wan"},
    "download": {"base", "json", "net", "wan"},
    "text": {"base"},
    "cleaning": {"base", "text"},
    "tokenizers": {"base", "json", "text", "cleaning"},
    "request": {"base", "wan", "json"},
    "diffusion": {"base", "wan"},
    "media": {"base", "json"},
    "tensor": {"base"},
    "parallel": {"base", "tensor"},
    "ops": {"base", "tensor", "parallel"},
    "onnx": MATH,
    "backends": MATH,
    "weights": {"base", "tensor", "parallel", "json"},
    "layouts": {"base", "tensor", "json", "weights"},
    "nn": MATH | {"weights"},
    "models": (MODELS - {"models"}) | {"media"},
    "dump": MATH | {"json", "media"},
    "settings": MATH | {"wan", "request", "diffusion", "media", "dump"},
    "kept": MATH | {"wan", "weights", "media", "settings"},
    "pipeline": STEPS,
    "tasks": STEPS | {"layouts", "pipeline"},
    "engine": STEPS | {"layouts", "pipeline", "tasks", "backends"},
    "preprocess": STEPS | {"onnx", "pipeline", "engine"},
    "extension": STEPS | {"layouts", "pipeline", "tasks", "engine", "net"},
    "published": STEPS | {"tasks", "engine"},
    "doctor": STEPS | {"tasks", "backends", "engine", "published"},
}
# Implementations side by side that must not know one another: what is below one of these folders includes nothing below the
# others.
APART = [{"backends/cpu", "backends/cuda"}, {"parallel/local", "parallel/mpi"}]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def neighbours(path, included):
    inside = "/".join(path.parts[1:3])
    target = "/".join(included.split("/")[:2])
    for group in APART:
        if inside in group and target in group and inside != target:
            yield f"{path}: {inside} must not include {target} (\"{included}\")"


def disorder(layers):
    """Places in the table that name a folder of the same height or above: two folders could then include each other."""
    lower = {"wan"}
    for folder, allowed in layers.items():
        for target in sorted(allowed - lower):
            yield f"LAYERS: {folder} may include {target}, which does not stand above it"
        lower.add(folder)


def violations(root):
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        folder = path.relative_to(root / "src").parts[0]
        allowed = LAYERS.get(folder)
        for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
            target = included.split("/")[0]
            if "/" not in included:
                yield f"{path.relative_to(root)}: \"{included}\": include by the path below src/"
            elif allowed is None:
                yield f"{path.relative_to(root)}: src/{folder} has no place in LAYERS"
            elif target != folder and target not in allowed:
                yield f"{path.relative_to(root)}: {folder} must not include {target} (\"{included}\")"
            else:
                yield from neighbours(path.relative_to(root), included)
    for path in sorted((root / "include").rglob("*.h")):
        for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if not included.startswith("wan/"):
                yield f"{path.relative_to(root)}: a public header includes \"{included}\""


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    found = list(disorder(LAYERS)) + list(violations(root))
    print("\n".join(found) if found else "include direction: clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
