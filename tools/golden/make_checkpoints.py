"""Writes the small PyTorch checkpoints under tests/golden/checkpoints/ that the `.pth` reader is tested with.

Values are ranges (0, 1, 2 ...), so that the tests state what they expect. Run it with the versions pinned in
requirements.txt:

    python tools/golden/make_checkpoints.py --out tests/golden/checkpoints
"""

import argparse
import collections
import os
import pathlib
import zipfile

import torch


class RunsCommand:
    """Pickles to a call of os.system: what a malicious checkpoint does."""

    def __reduce__(self):
        return (os.system, ("echo a pickle ran a command",))


def views():
    """Several tensors in one storage: at offsets, transposed, with gaps."""
    base = torch.arange(24, dtype=torch.float32)
    grid = base.view(4, 6)
    return {
        "whole": base,
        "tail": base[20:],
        "transposed": grid.t(),
        "window": grid[1:3, 2:5],
        "every_second": base[1::2],
        "scalar": base[7],
        "empty": base[:0].view(0, 3),
        "permuted": base.view(2, 3, 4).permute(2, 0, 1),
    }


def dtypes():
    ramp = torch.arange(-3, 5)
    kinds = {
        "f64": torch.float64,
        "f32": torch.float32,
        "f16": torch.float16,
        "bf16": torch.bfloat16,
        "i64": torch.int64,
        "i32": torch.int32,
    }
    made = {name: ramp.to(dtype) for name, dtype in kinds.items()}
    made["u8"] = torch.arange(250, 256).to(torch.uint8)
    made["bool"] = ramp > 0
    return made


def codes():
    """fp8, all numbers of small size; int8 with a scale a row."""
    ramp = torch.arange(-3, 5).to(torch.float32).view(2, 4)
    return {
        "e4m3.weight": ramp.to(torch.float8_e4m3fn),
        "e4m3.weight_scale": torch.tensor([[0.5], [2.0]]),
        "e5m2": ramp.to(torch.float8_e5m2)[1],
        "i8": torch.arange(-3, 5).to(torch.int8),
    }


def module_state():
    """An OrderedDict with the version metadata that nn.Module.state_dict() hangs on it, and a Parameter."""
    module = torch.nn.Linear(3, 2)
    with torch.no_grad():
        module.weight.copy_(torch.arange(6.0).view(2, 3))
        module.bias.copy_(torch.arange(2.0))
    state = module.state_dict()
    state["parameter"] = torch.nn.Parameter(torch.arange(4.0))
    return state


def nested():
    """Containers five deep, beside things that are no tensors."""
    return {
        "epoch": 3,
        "rate": 0.5,
        "note": "text",
        "nothing": None,
        "flag": True,
        "large": 1 << 40,
        "negative": -(1 << 40),
        "a": {"b": {"c": {"d": {"e": torch.arange(2.0)}}}},
        "list": [torch.arange(3.0), (torch.arange(4.0),)],
        "ordered": collections.OrderedDict(x=torch.arange(5.0)),
    }


def too_deep():
    value = torch.arange(1.0)
    for _ in range(40):
        value = {"a": value}
    return value


def rewrite_as_zip64(source, target):
    """The same archive with zip64 fields in every local header and with the entries' sizes in them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            with new.open(zipfile.ZipInfo(info.filename), "w", force_zip64=True) as entry:
                entry.write(old.read(info))


def rewrite_compressed(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the files")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.save(views(), out / "views.pth")
    torch.save(dtypes(), out / "dtypes.pth")
    torch.save(codes(), out / "codes.pth")
    torch.save({"weight": codes()["e4m3.weight"].t()}, out / "transposed_codes.pth")
    torch.save(dtypes(), out / "protocol4.pth", pickle_protocol=4)
    torch.save(dtypes(), out / "protocol5.pth", pickle_protocol=5)
    torch.save(module_state(), out / "module.pth")
    torch.save({"state_dict": module_state(), "optimizer": {"lr": 0.1}}, out / "wrapped.pth")
    torch.save(nested(), out / "nested.pth")
    torch.save(too_deep(), out / "too_deep.pth")
    torch.save({"weight": torch.arange(2.0), "payload": RunsCommand()}, out / "malicious.pth")
    torch.save({"epoch": 3}, out / "no_tensors.pth")
    torch.save({"weight": torch.arange(2.0)}, out / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.arange(4.0)[:1].expand(8)}, out / "expanded.pth")
    rewrite_as_zip64(out / "module.pth", out / "zip64.pth")
    rewrite_compressed(out / "module.pth", out / "compressed.pth")


if __name__ == "__main__":
    main()
