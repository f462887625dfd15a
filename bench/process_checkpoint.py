"""A process_checkpoint of random weights in the published sizes, for preprocessing with nothing to download.

    python bench/process_checkpoint.py --sam2 sam2 --out /tmp/process_checkpoint
    build/bench/preprocessing /tmp/process_checkpoint replace

YOLOv10m and ViTPose-H, of whole-body points, as ONNX files, of the published networks' layers and sizes; SAM 2 hiera-large as a .pt, whose tensors are named by --sam2, a clone of
facebookresearch/sam2 at commit 0e78a118995e66bb27d78518c4bd9a3e95b4e266 (left out: no .pt). Biases say that people are seen, so that boxes are compared and points drawn. Takes 3.6 GB of disk.
Needs PyTorch and its exporter's onnx.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from vs_official import stand_in

HERE = Path(__file__).resolve().parent
CLASSES, BINS, MOST_BOXES = 80, 16, 300
POINTS = 133


class Conv(nn.Module):
    """A convolution into which its batch norm is folded, and SiLU."""

    def __init__(self, into, out, kernel=1, stride=1, groups=1, activated=True):
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups)
        self.activated = activated

    def forward(self, x):
        x = self.conv(x)
        return x * x.sigmoid() if self.activated else x


class Added(nn.Sequential):
    """x + layers(x)"""

    def forward(self, x):
        return x + super().forward(x)


def bottleneck(width):
    return Added(Conv(width, width, 3), Conv(width, width, 3))


def inverted_bottleneck(width):
    return Added(Conv(width, width, 3, groups=width), Conv(width, 2 * width), Conv(2 * width, 2 * width, 3, groups=2 * width),
                 Conv(2 * width, width), Conv(width, width, 3, groups=width))


class Stages(nn.Module):
    """Half of the channels go through stages one after another; all of their results are joined."""

    def __init__(self, into, out, count, stage, added=True):
        super().__init__()
        half = out // 2
        self.first, self.last = Conv(into, out), Conv((2 + count) * half, out)
        self.stages = nn.ModuleList(stage(half) if added else nn.Sequential(*stage(half)) for _ in range(count))

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for stage in self.stages:
            parts.append(stage(parts[-1]))
        return self.last(torch.cat(parts, 1))


def halving(into, out):
    return nn.Sequential(Conv(into, out), Conv(out, out, 3, 2, groups=out, activated=False))


class Pooling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.last = Conv(width, width // 2), Conv(2 * width, width)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.last(torch.cat(parts, 1))


class PictureAttention(nn.Module):
    """Heads of 64 values or a few more, and half as many of queries and keys."""

    def __init__(self, width):
        super().__init__()
        self.heads = width // 64
        self.keys = width // self.heads // 2
        self.qkv = Conv(width, 2 * width, activated=False)
        self.places, self.out = Conv(width, width, 3, groups=width, activated=False), Conv(width, width, activated=False)

    def forward(self, x):
        n, width, height, length = x.shape
        q, k, v = self.qkv(x).view(n, self.heads, 4 * self.keys, height * length).split([self.keys, self.keys, 2 * self.keys], dim=2)
        weights = ((q.transpose(-2, -1) @ k) * self.keys**-0.5).softmax(-1)
        values = (v @ weights.transpose(-2, -1)).view(n, width, height, length)
        return self.out(values + self.places(v.reshape(n, width, height, length)))


class PartialAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        half = width // 2
        self.first, self.last = Conv(width, width), Conv(width, width)
        self.attention = PictureAttention(half)
        self.ffn = Added(Conv(half, 2 * half), Conv(2 * half, half, activated=False))

    def forward(self, x):
        a, b = self.first(x).chunk(2, 1)
        return self.last(torch.cat([a, self.ffn(b + self.attention(b))], 1))


class Boxes(nn.Module):
    """The best of all places' boxes, [1, 300, 6]: corners, score, class."""

    def __init__(self, widths, side):
        super().__init__()
        box, kind = 64, max(widths[0], min(CLASSES, 100))
        self.boxes = nn.ModuleList(nn.Sequential(Conv(w, box, 3), Conv(box, box, 3), nn.Conv2d(box, 4 * BINS, 1)) for w in widths)
        self.kinds = nn.ModuleList(nn.Sequential(Conv(w, w, 3, groups=w), Conv(w, kind), Conv(kind, kind, 3, groups=kind), Conv(kind, kind),
                                                 nn.Conv2d(kind, CLASSES, 1)) for w in widths)
        for last in self.kinds:  # most boxes show people
            last[-1].bias.data.fill_(-6.0)[0] = -2.0
        strides = [8, 16, 32]
        grids = [torch.stack(torch.meshgrid(*[torch.arange(side // s) + 0.5] * 2, indexing="xy"), 0).flatten(1) for s in strides]
        self.register_buffer("places", torch.cat(grids, 1)[None])
        self.register_buffer("strides", torch.cat([torch.full((1, grid.shape[1]), float(s)) for s, grid in zip(strides, grids)], 1))
        self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1))

    def forward(self, levels):
        both = [torch.cat([boxes(x), kinds(x)], 1).flatten(2) for x, boxes, kinds in zip(levels, self.boxes, self.kinds)]
        sides, scores = torch.cat(both, 2).split([4 * BINS, CLASSES], 1)
        shares = sides.view(1, 4, BINS, -1).transpose(1, 2).softmax(1)
        first, second = functional.conv2d(shares, self.bins.view(1, BINS, 1, 1)).view(1, 4, -1).chunk(2, 1)
        boxes = torch.cat([self.places - first, self.places + second], 1) * self.strides
        boxes, scores = boxes.transpose(1, 2), scores.sigmoid().transpose(1, 2)
        _, best = scores.amax(-1).topk(MOST_BOXES, dim=-1)
        boxes = boxes.gather(1, best[..., None].repeat(1, 1, 4))
        scores = scores.gather(1, best[..., None].repeat(1, 1, CLASSES))
        scores, index = scores.flatten(1).topk(MOST_BOXES, dim=-1)
        boxes = boxes.gather(1, (index // CLASSES)[..., None].repeat(1, 1, 4))
        return torch.cat([boxes, scores[..., None], (index % CLASSES)[..., None].float()], -1)


class Detector(nn.Module):
    """YOLOv10m"""

    def __init__(self, side=640):
        super().__init__()
        self.start = nn.Sequential(Conv(3, 48, 3, 2), Conv(48, 96, 3, 2), Stages(96, 96, 2, bottleneck), Conv(96, 192, 3, 2))
        self.eighth = Stages(192, 192, 4, bottleneck)
        self.sixteenth = nn.Sequential(halving(192, 384), Stages(384, 384, 4, bottleneck))
        self.last = nn.Sequential(halving(384, 576), Stages(576, 576, 2, inverted_bottleneck), Pooling(576), PartialAttention(576))
        plain = lambda width: [Conv(width, width, 3), Conv(width, width, 3)]
        self.up_sixteenth = Stages(576 + 384, 384, 2, plain, added=False)
        self.up_eighth = Stages(384 + 192, 192, 2, plain, added=False)
        self.down_eighth = Conv(192, 192, 3, 2)
        self.down_sixteenth = Stages(192 + 384, 384, 2, inverted_bottleneck)
        self.halve_sixteenth = halving(384, 384)
        self.down_last = Stages(384 + 576, 576, 2, inverted_bottleneck)
        self.head = Boxes([192, 384, 576], side)

    def forward(self, x):
        eighth = self.eighth(self.start(x))
        sixteenth = self.sixteenth(eighth)
        last = self.last(sixteenth)
        twice = lambda x: functional.interpolate(x, scale_factor=2.0, mode="nearest")
        middle = self.up_sixteenth(torch.cat([twice(last), sixteenth], 1))
        fine = self.up_eighth(torch.cat([twice(middle), eighth], 1))
        middle = self.down_sixteenth(torch.cat([self.down_eighth(fine), middle], 1))
        return self.head([fine, middle, self.down_last(torch.cat([self.halve_sixteenth(middle), last], 1))])


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Estimator(nn.Module):
    """ViTPose-H: heatmaps [1, 133, 64, 48] of a picture of 192x256."""

    def __init__(self, width=1280, layers=32, heads=16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16, padding=2)
        self.places = nn.Parameter(torch.randn(1, 16 * 12 + 1, width) * 0.02)
        self.layers = nn.Sequential(*[Layer(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        enlarged = [[nn.ConvTranspose2d(into, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU()] for into in (width, 256)]
        self.enlarge = nn.Sequential(*enlarged[0], *enlarged[1])
        self.maps = nn.Conv2d(256, POINTS, 1)
        self.maps.bias.data.fill_(1.0)  # points that are shown

    def forward(self, x):
        x = self.patches(x)
        n, width, height, length = x.shape
        x = self.layers(x.flatten(2).transpose(1, 2) + self.places[:, 1:] + self.places[:, :1])
        x = self.norm(x).permute(0, 2, 1).reshape(n, width, height, length)
        return self.maps(self.enlarge(x))


def export(network, height, width, path, opset):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(network.eval(), (torch.rand(1, 3, height, width),), str(path), opset_version=opset, input_names=["images"], output_names=["output0"],
                      dynamo=False)


def segmenter_state(clone):
    """Random tensors under the official names."""
    stand_in("hydra", initialize_config_module=lambda *_, **__: None)
    sys.path[:0] = [str(clone), str(HERE.parent / "tools" / "golden")]
    import make_sam2
    from sam2.modeling.sam2_base import SAM2Base
    sizes = {"image_size": 1024, "dim": 256, "memory_dim": 64, "memories": 7, "pointers": 16, "windows": (8, 4, 16, 8), "global_blocks": (23, 33, 43),
             "stages": (2, 6, 36, 4), "channels": 144, "heads": 2, "hidden": 2048, "layers": 4}
    model = make_sam2.build(lambda fill_hole_area, **given: SAM2Base(**given), **sizes)
    is_scale = lambda name, tensor: name.endswith("weight") and tensor.dim() == 1
    return {name: torch.randn(tensor.shape) * 0.02 + (1.0 if is_scale(name, tensor) else 0.0) for name, tensor in model.state_dict().items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam2", type=Path, help="a clone of facebookresearch/sam2")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    with torch.no_grad():
        export(Detector(), 640, 640, args.out / "det" / "yolov10m.onnx", opset=13)
        export(Estimator(), 256, 192, args.out / "pose2d" / "vitpose_h_wholebody.onnx" / "end2end.onnx", opset=11)
        if args.sam2:
            (args.out / "sam2").mkdir(parents=True, exist_ok=True)
            torch.save({"model": segmenter_state(args.sam2)}, args.out / "sam2" / "sam2_hiera_large.pt")


if __name__ == "__main__":
    main()
