#!/usr/bin/env python3
"""Golden ONNX networks: thin versions of the detector and the pose network of character animation's preprocessing, as their
own exporters write them, with what ONNX Runtime computes.

    python make_onnx.py [--out DIR]   (torch, ultralytics, onnx, onnxruntime: see requirements.txt)

Writes below DIR (tests/golden/onnx):
  detector/end2end.onnx    YOLOv10 of the published small one's plan, an eighth as wide, for pictures of 64x64; opset 13
  pose_11/, pose_17/       ViTPose of two layers, as operators of their own and with LayerNormalization; any number of pictures
  expected.safetensors
    NAME.weights           int64 [N, 3]: the weights that the model takes from `weights.bin` beside it, in its order: count, exponent,
                           shift
    NAME.OUTPUT            float32: for inputs whose values are (u(i) + 1) / 2

Weights are a rule's: value i of the file is shift / 256 + 2^exponent u(i), with u(i) in [-1, 1): the upper 24 bits of SplitMix64's i-th
state, which is mixed i + 1 times its constant. Tests write the file by the same rule.
"""
import argparse
import contextlib
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

from thin import save

WEIGHTS = "weights.bin"


def uniform(first, count):
    """u(first) .. u(first + count - 1), float32."""
    with np.errstate(over="ignore"):
        z = (np.arange(first, first + count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = ((q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(dim, eps=1e-6), Attention(dim, heads), nn.LayerNorm(dim, eps=1e-6)
        self.first, self.second = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.second(nn.functional.gelu(self.first(self.norm2(x))))


class Pose(nn.Module):
    """ViTPose: patches of 16 with 2 zeros round the picture, two transposed convolutions, a map a joint."""

    def __init__(self, dim, heads, layers, filters, joints, height, width):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 16, 16, padding=2)
        self.positions = nn.Parameter(torch.zeros(1, height // 16 * (width // 16) + 1, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        layers = []
        for inputs in (dim, filters):
            layers += [nn.ConvTranspose2d(inputs, filters, 4, 2, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        self.up = nn.Sequential(*layers)
        self.maps = nn.Conv2d(filters, joints, 1)

    def forward(self, x):
        x = self.patch(x)
        batch, dim, height, width = x.shape
        x = x.flatten(2).transpose(1, 2) + self.positions[:, 1:] + self.positions[:, :1]
        for block in self.blocks:
            x = block(x)
        return self.maps(self.up(self.norm(x).permute(0, 2, 1).reshape(batch, dim, height, width)))


def detector():
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load
    plan = yaml_model_load("yolov10s.yaml")
    plan.update(nc=5, scale="s", scales={"s": [0.33, 0.125, 1024]})
    model = DetectionModel(plan, ch=3, verbose=False).eval()
    model.model[-1].end2end = True
    for parameter in model.parameters():
        parameter.requires_grad = False
    model = model.fuse(verbose=False)
    for module in model.modules():
        for name, value in {"export": True, "format": "onnx", "dynamic": False, "max_det": 20}.items():
            if hasattr(module, name):
                setattr(module, name, value)
    return model


def exported(model, size, opset, batches):
    buffer = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(model, (torch.zeros(1, 3, *size),), buffer, opset_version=opset, input_names=["pictures"],
                          output_names=["result"], dynamo=False,
                          dynamic_axes={"pictures": {0: "n"}, "result": {0: "n"}} if batches else None)
    return onnx.load_from_string(buffer.getvalue())


def rename(model, further):
    """Short names, and no others than the graph needs; `further`: values that become outputs too, by their new names."""
    graph = model.graph
    names = {"": ""} | {value.name: value.name for value in [*graph.input, *graph.output]} | further
    kept = {}

    def short(name):
        return kept.setdefault(name, names.get(name) if name in names else f"v{len(kept)}")

    for node in graph.node:
        node.name = ""
        node.doc_string = ""
        for list_of in (node.input, node.output):
            new = [short(name) for name in list_of]
            del list_of[:]
            list_of.extend(new)
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
        tensor.doc_string = ""
    for name in further.values():
        graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    del graph.value_info[:]
    model.producer_name = model.producer_version = ""
    del model.metadata_props[:]


def rule_of(name, shape, role):
    """Exponent and shift of a weight, so that what goes through the network neither grows nor vanishes."""
    if len(shape) == 1:
        if role in {"gain", "variance"}:
            return -2, 256
        return -2, 0
    if len(shape) == 3:  # positions
        return -3, 0
    fan = shape[0] if len(shape) == 2 else shape[0] * 4 if role == "transposed" else math.prod(shape[1:])
    return round(math.log2(math.sqrt(3 * (2.5 if role == "silu" else 1.0) / fan))), 0


def take_weights_out(model, roles):
    """Weights of 8 and more values into weights.bin, by the rule. Returns the table of them and the file's values."""
    table, values, first = [], [], 0
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        role = roles.get(tensor.name)
        if array.dtype != np.float32 or array.size < 8 or role is None:
            continue
        exponent, shift = rule_of(tensor.name, array.shape, role)
        values.append(np.float32(shift / 256) + np.float32(2.0**exponent) * uniform(first, array.size))
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": WEIGHTS, "offset": 4 * first, "length": 4 * array.size}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        table.append([array.size, exponent, shift])
        first += array.size
    return np.array(table, np.int64), np.concatenate(values)


def roles_of(model, product):
    """What the weights of a graph are for, by the nodes that take them."""
    roles = {}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name not in constants:
                continue
            roles[name] = {("ConvTranspose", 1): "transposed", ("BatchNormalization", 1): "gain",
                           ("BatchNormalization", 4): "variance", ("LayerNormalization", 1): "gain",
                           ("Mul", 1): "gain"}.get((node.op_type, place), product)
    return roles


def make(folder, name, model, pictures, arrays, further=()):
    rename(model, dict(further))
    small = {tensor.name for tensor in model.graph.initializer if numpy_helper.to_array(tensor).shape == (1, 16, 1, 1)}
    roles = {key: role for key, role in roles_of(model, "silu" if name == "detector" else "linear").items() if key not in small}
    table, values = take_weights_out(model, roles)
    (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / name / "end2end.onnx"
    onnx.save(model, path)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "end2end.onnx"
        copy.write_bytes(path.read_bytes())
        values.tofile(Path(scratch) / WEIGHTS)
        session = onnxruntime.InferenceSession(copy, providers=["CPUExecutionProvider"])
        given = ((uniform(0, math.prod(pictures)) + 1) / 2).reshape(pictures)
        results = session.run(None, {"pictures": given})
    arrays[f"{name}.weights"] = table
    for output, result in zip(session.get_outputs(), results):
        print(f"{name}.{output.name}", result.shape, "mean", result.mean(), "deviation", result.std())
        arrays[f"{name}.{output.name}"] = result
    return {output.name: result for output, result in zip(session.get_outputs(), results)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "tests/golden/onnx")
    args = parser.parse_args()
    torch.manual_seed(0)
    arrays = {}
    model = exported(detector(), (64, 64), 13, batches=False)
    split = next(node for node in model.graph.node if node.op_type == "ReduceMax").input[0]
    before = next(node for node in model.graph.node if split in node.output)
    found = make(args.out, "detector", model, (1, 3, 64, 64), arrays, further={before.input[0]: "all"}.items())
    scores = found["result"][0, :, 4]
    gaps = scores[:-1] - scores[1:]
    assert gaps.min() > 1e-5 and 1e-3 < scores.min() < scores.max() < 0.99, (gaps.min(), scores)
    for opset in (11, 17):
        network = Pose(32, 4, 2, 8, 5, 64, 48).eval()
        make(args.out, f"pose_{opset}", exported(network, (64, 48), opset, batches=True), (2, 3, 64, 48), arrays)
    save(args.out / "expected.safetensors", arrays, lambda name: False)


if __name__ == "__main__":
    main()
