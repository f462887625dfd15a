#!/usr/bin/env python3
"""Golden ONNX networks: thin versions of the detector and the pose network of character animation's preprocessing, as their
own exporters write them, with what ONNX Runtime computes.

    python make_onnx.py [--out DIR]   (torch, ultralytics, onnx, onnxruntime: see requirements.txt)

Writes below DIR (tests/golden/onnx):
  detector/end2end.onnx    YOLOv10 of the published small one's plan, an eighth as wide, for pictures of 64x64; opset 13
  pose_11/, pose_17/       ViTPose of two layers, as operators of their own and with LayerNormalization; any number of pictures
  operators/               operators of these networks with the arguments that they do not have: groups, dilations, uneven padding, ..
  expected.safetensors
    NAME.weights           int64 [N, 3]: the weights that the model takes from `weights.bin` beside it, in its order: count, exponent,
                           shift
    NAME.OUTPUT            float32: for inputs whose values are (u(i) + 1) / 2; those of operators/ thinned out (thin.py)

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


def operators():
    """Each node's result is an output."""
    nodes, weights, outputs = [], [], []
    make_node = onnx.helper.make_node

    def add(op, *inputs, keep=True, **attributes):
        name = f"y{len(nodes)}"
        nodes.append(make_node(op, list(inputs), [name], **attributes))
        if keep:
            outputs.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        return name

    def weight(*shape):
        weights.append(numpy_helper.from_array(np.zeros(shape, np.float32), f"w{len(weights)}"))
        return weights[-1].name

    def constant(values, dtype=np.int64):
        weights.append(numpy_helper.from_array(np.array(values, dtype), f"w{len(weights)}"))
        return weights[-1].name

    def number(value):
        return constant(value, np.float32)

    x = "pictures"  # [2, 6, 9, 7]
    add("Conv", x, weight(4, 6, 3, 3), weight(4), strides=[2, 1], pads=[1, 0, 2, 1])
    add("Conv", x, weight(6, 1, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2], group=6)
    add("Conv", x, weight(9, 2, 3, 2), weight(9), group=3)
    add("Conv", x, weight(12, 1, 3, 3), group=6, auto_pad="SAME_UPPER", strides=[2, 2])
    add("Conv", x, weight(4, 6, 2, 2), weight(4), dilations=[2, 3])
    add("Relu", add("BatchNormalization", add("Conv", x, weight(8, 6, 1, 1), keep=False), weight(8), weight(8), weight(8),
                    weight(8), keep=False))
    add("ConvTranspose", x, weight(6, 4, 3, 3), weight(4), strides=[3, 2], pads=[1, 0, 1, 1], output_padding=[1, 0])
    add("ConvTranspose", x, weight(6, 2, 2, 3), group=3)
    small = add("ConvTranspose", x, weight(6, 8, 1, 2), strides=[2, 3], keep=False)
    add("Sigmoid", add("BatchNormalization", small, weight(8), weight(8), weight(8), weight(8), keep=False))
    add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    add("MaxPool", x, kernel_shape=[2, 3], dilations=[3, 2])
    add("Resize", x, "", constant([1, 1, 2, 3], np.float32), mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor")
    add("Resize", x, "", "", constant([2, 6, 13, 5]), mode="linear", coordinate_transformation_mode="half_pixel")
    erf = add("Erf", add("Div", x, number(2**0.5), keep=False), keep=False)
    add("Mul", add("Mul", x, add("Add", erf, number(1), keep=False), keep=False), number(0.5))
    half = add("Mul", x, number(0.5), keep=False)
    erf = add("Erf", add("Mul", x, number(0.5**0.5), keep=False), keep=False)
    add("Mul", half, add("Add", erf, number(1), keep=False))
    add("Clip", x, number(0.25), number(0.75))
    add("Mul", x, add("Sigmoid", x, keep=False))
    add("Softmax", x, axis=1)
    flat = add("Reshape", x, constant([2, 6, 63]), keep=False)
    turned = add("Transpose", flat, perm=[0, 2, 1], keep=False)
    scores = add("Div", add("MatMul", flat, turned, keep=False), number(4), keep=False)
    add("MatMul", add("Softmax", scores, axis=-1, keep=False), flat)
    part = add("Slice", flat, constant([3]), constant([13]), constant([2]), keep=False)
    scores = add("MatMul", flat, turned)
    add("MatMul", add("Softmax", scores, axis=-1, keep=False), part)
    mean = add("ReduceMean", flat, axes=[-1], keep=False)
    centred = add("Sub", flat, mean, keep=False)
    square = add("Pow", add("Sub", flat, mean, keep=False), number(2), keep=False)
    deviation = add("Sqrt", add("Add", add("ReduceMean", square, axes=[-1], keep=False), number(1e-5), keep=False), keep=False)
    add("Add", add("Mul", add("Div", centred, deviation, keep=False), weight(63), keep=False), weight(63))
    product = add("MatMul", flat, weight(63, 10), keep=False)
    add("Tanh", add("Add", product, weight(10), keep=False))
    add("MatMul", weight(3, 1, 8, 6), flat)
    rows = add("Reshape", x, constant([84, 9]), keep=False)
    add("Gemm", rows, weight(12, 9), weight(12), transB=1)
    add("Gemm", rows, weight(84, 12), weight(12), transA=1, alpha=0.5, beta=2.0)
    add("Concat", x, add("Conv", x, weight(3, 6, 1, 1), keep=False), x, axis=1)
    add("ReduceMean", x, axes=[2, 3])
    add("ReduceMax", x, axes=[1], keepdims=0)
    add("ReduceMin", x, axes=[0, 3])
    add("Gather", x, constant([3, 0, 5]), axis=1)
    add("Gather", x, constant(-1), axis=2)
    add("Slice", x, constant([8, 1]), constant([-100, 6]), constant([2, 3]), constant([-2, 2]))
    add("Add", x, add("Expand", weight(9, 1), constant([6, 9, 7]), keep=False))
    add("Tile", x, constant([1, 2, 1, 3]))
    graph = onnx.helper.make_graph(nodes, "operators", [onnx.helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, [2, 6, 9, 7])],
                                   outputs, weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)


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
    make(args.out, "operators", operators(), (2, 6, 9, 7), arrays)
    save(args.out / "expected.safetensors", arrays, lambda name: name.startswith("operators.y"))


if __name__ == "__main__":
    main()
