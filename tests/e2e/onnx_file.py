"""Small ONNX files for tests, in protobuf's wire format: opset 17, f32, one input and one output."""

import struct
from array import array


def varint(value):
    out = b""
    value &= (1 << 64) - 1
    while True:
        byte = value & 0x7F
        value >>= 7
        out += bytes([byte | (0x80 if value else 0)])
        if not value:
            return out


def field(number, content):
    """A number, or bytes, texts and messages with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name, dims, values, integers=False):
    raw = array("q" if integers else "f", values).tobytes()
    return b"".join(field(1, dim) for dim in dims) + field(2, 7 if integers else 1) + field(8, name) + field(9, raw)


def attribute(name, value):
    """An integer or a list of them."""
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, 2)
    return field(1, name) + b"".join(field(8, item) for item in value) + field(20, 7)


def node(kind, inputs, outputs, **attributes):
    return (b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs) + field(3, f"{kind} {outputs[0]}")
            + field(4, kind) + b"".join(field(5, attribute(name, value)) for name, value in attributes.items()))


def value_info(name, dims):
    shape = b"".join(field(1, field(1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def model(nodes, initializers, input_dims, output_dims):
    """Nodes read "input" and write "output"."""
    graph = (b"".join(field(1, item) for item in nodes) + field(2, "made") + b"".join(field(5, item) for item in initializers)
             + field(11, value_info("input", input_dims)) + field(12, value_info("output", output_dims)))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17))
