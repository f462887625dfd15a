"""The networks that preprocessing takes for the figures of character animation: a detector and an estimator of body points, trained on
drawn frames and exported as ONNX in the layout of process_checkpoint.

    python -m tools.demo_model.pose_networks --state STATE --minutes 2                                   trains them; 1 GPU
    python -m tools.demo_model.pose_networks --state STATE --out models/demo-animate/process_checkpoint  exports them

The detector sees a frame stretched to 64x64, red first, in 0..1, and gives one row: a box in its own pixels, a score, a class. The estimator sees
a crop of 128x96 as the official code makes it (blue first, normalised) and gives a map of 64x48 for each point of COCO-WholeBody. Figures
have no hands: their maps are below zero. A face's 68 points are the edges of its box and its middle.
"""

import argparse
import contextlib
import io
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from . import figures, pose_drawing
from .kept import Log
from .optim import cosine, training_device

DETECTOR_SIDE = 64
INPUT, MAP = (128, 96), (64, 48)  # height and width
ROOM = 1.25
WIDTHS = (12, 16, 24, 32)  # of the estimator's levels, from half the input's size on
FEATURES = 32  # that maps are sums of: fewer than maps, and two points look alike
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # by plane, whatever colour is in it
SIGMA = 1.6  # of a point's spot, in the map's pixels
GAIN = 1.5  # of the exported maps: what is seen at all is drawn
POINTS = 133
# The points of figures.py that COCO's body points are, by COCO's numbers: nose, eyes, ears, shoulders, .. ankles; then the toes and heels.
BODY = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10, 18, 18, 13, 19, 19, 10)
FACE = range(23, 91)
EDGES = figures.POINTS  # the first of the four further maps: left, top, right and bottom of a face
LEARNT = figures.POINTS + 4
NECK = figures.NECK  # the mean of both shoulders: not learnt for itself
EMPTY = 0.15  # of the detector's frames show nobody


def conv(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv(3, 12, 2), conv(12, 20, 2), conv(20, 28), conv(28, 32, 2), conv(32, 24, 2))
        self.box = nn.Sequential(nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, x):
        """[B, 3, 64, 64] -> box in 0..1 and the score's logit, [B, 5]."""
        return self.box(self.features(x).flatten(1))


class Row(nn.Module):
    """The detector with the answer of YOLOv10: [1, 1, 6]."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, x):
        y = self.detector(x)
        return torch.cat([y[:, :4] * DETECTOR_SIDE, torch.sigmoid(y[:, 4:]), y[:, 4:] * 0], dim=1)[:, None]


class Estimator(nn.Module):
    def __init__(self, maps=LEARNT):
        super().__init__()
        widths = WIDTHS
        self.down = nn.ModuleList([conv(3, widths[0], 2), *(nn.Sequential(conv(a, b, 2), conv(b, b)) for a, b in zip(widths, widths[1:]))])
        self.middle = nn.Sequential(*(conv(widths[-1], widths[-1]) for _ in range(2)))
        self.up = nn.ModuleList(nn.Sequential(nn.ConvTranspose2d(b, a, 4, 2, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU())
                                for a, b in zip(widths, widths[1:]))
        self.after = nn.ModuleList(conv(a, b) for a, b in zip(widths, (FEATURES, *widths[1:-1])))
        self.maps = nn.Conv2d(FEATURES, maps, 1)

    def forward(self, x):
        seen = []
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        x = x + self.middle(x)
        for up, after, before in reversed(list(zip(self.up, self.after, seen))):
            x = after(up(x) + before)
        return self.maps(x)


def draw_frames(count, generator, device):
    """Frames [B, 3, 128, 128] in 0..1, a little noisy, as from a video file; their points [B, 24, 2] with the edges of their faces; the scenes alone."""
    bodies = figures.draw_bodies(count, generator, device)
    scenes = figures.draw_scenes(count, generator, device)
    looks = figures.draw_looks(bodies, figures.colours_of(scenes), generator)
    points, opening = figures.draw_motion(bodies, 1, generator)
    scene = figures.draw_background(scenes)
    frames = figures.draw_clips(looks, points, opening, scene)[0]
    low, high = figures.face_extent(points, looks.radius)
    middle = points[:, 0, figures.NOSE]
    low, high = low[:, 0], high[:, 0]
    edges = [torch.stack(pair, dim=-1) for pair in ((low[:, 0], middle[:, 1]), (middle[:, 0], low[:, 1]), (high[:, 0], middle[:, 1]),
                                                    (middle[:, 0], high[:, 1]))]
    points = torch.cat([points[:, 0], torch.stack(edges, dim=1)], dim=1)

    def filmed(pictures):
        levels = pose_drawing.through_yuv420((pictures[:, :, None] + 1) * 127.5)[:, :, 0] / 255
        noise = 0.03 * torch.rand(count, 1, 1, 1, generator=generator, device=device)
        return (levels + noise * torch.randn(levels.shape, generator=generator, device=device)).clamp(0, 1)

    return filmed(frames[:, :, 0]), points, filmed(scene)


def box_of(points, margin=4.0):
    """[B, 4]."""
    body = points[:, :figures.POINTS]
    return torch.cat([body.amin(1) - margin, body.amax(1) + margin], dim=1).clamp(0, figures.SIZE)


def regions_of(boxes):
    """The parts of frames that the estimator sees, of boxes [B, 4]: middle and size, [B, 2] each, as preprocessing chooses them."""
    size, aspect = boxes[:, 2:] - boxes[:, :2], INPUT[0] / INPUT[1]
    tall = torch.maximum(size[:, 0] * aspect, size[:, 1]) * ROOM
    return (boxes[:, :2] + boxes[:, 2:]) / 2, torch.stack([tall / aspect, tall], dim=1)


def crops_of(frames, middle, size):
    """Normalised inputs [B, 3, 128, 96], blue first, black outside of the frames."""
    height, width = INPUT
    device = frames.device
    x = middle[:, :1] + size[:, :1] * ((torch.arange(width, device=device) + 0.5) / width - 0.5)
    y = middle[:, 1:] + size[:, 1:] * ((torch.arange(height, device=device) + 0.5) / height - 0.5)
    where = torch.stack([(2 * x / figures.SIZE - 1)[:, None].expand(-1, height, -1), (2 * y / figures.SIZE - 1)[:, :, None].expand(-1, -1, width)], dim=-1)
    crops = nn.functional.grid_sample(frames.flip(1), where, align_corners=False)
    return (crops - crops.new_tensor(MEAN)[:, None, None]) / crops.new_tensor(DEVIATION)[:, None, None]


def spots(points, middle, size):
    """Maps [B, N, 64, 48] with a spot of height 1 at each point."""
    height, width = MAP
    at = (points - (middle - size / 2)[:, None]) / size[:, None] * points.new_tensor([width, height])
    x = torch.arange(width, device=points.device) - at[..., :1]
    y = torch.arange(height, device=points.device) - at[..., 1:]
    return (-(x.square() / (2 * SIGMA ** 2)))[:, :, None].exp() * (-(y.square() / (2 * SIGMA ** 2)))[..., None].exp()


def losses(detector, estimator, count, generator, device):
    frames, points, scenes = draw_frames(count, generator, device)
    boxes = box_of(points)
    empty = torch.rand(count, generator=generator, device=device) < EMPTY
    seen = detector(nn.functional.interpolate(torch.where(empty[:, None, None, None], scenes, frames), size=DETECTOR_SIDE, mode="bilinear"))
    away = nn.functional.smooth_l1_loss(seen[:, :4], boxes / figures.SIZE, beta=0.02, reduction="none").mean(1)
    found = nn.functional.binary_cross_entropy_with_logits(seen[:, 4], (~empty).float())
    moved = boxes + 5 * (2 * torch.rand(boxes.shape, generator=generator, device=device) - 1)
    middle, size = regions_of(moved)
    wanted = spots(points, middle, size)
    error = (estimator(crops_of(frames, middle, size)) - wanted).square() * (1 + 20 * wanted)
    return (away * ~empty).mean() + 0.1 * found, error.mean()


@torch.no_grad()
def measure(detector, estimator, device, count=64):
    """Pixels by which boxes and points are off (points by the highest place of their maps), and the lowest peak."""
    generator = torch.Generator(device).manual_seed(77)
    detector.eval(), estimator.eval()
    frames, points, scenes = draw_frames(count, generator, device)
    seen, nobody = (detector(nn.functional.interpolate(x, size=DETECTOR_SIDE, mode="bilinear")) for x in (frames, scenes))
    boxes = seen[:, :4] * figures.SIZE
    middle, size = regions_of(boxes)
    maps = estimator(crops_of(frames, middle, size))
    best = maps.flatten(2).argmax(2)
    at = torch.stack([best % MAP[1], best // MAP[1]], dim=-1) * (size / points.new_tensor(MAP[::-1]))[:, None] + (middle - size / 2)[:, None]
    away = (at - points).norm(dim=-1)
    away[:, NECK] = 0
    detector.train(), estimator.train()
    return {"box": round((boxes - box_of(points)).abs().mean().item(), 2), "found": (seen[:, 4] > 0).float().mean().item(),
            "nobody": (nobody[:, 4] < 0).float().mean().item(), "points": round(away.mean().item(), 2),
            "beyond 5": round((away > 5).float().mean().item(), 4), "lowest peaks": round((GAIN * maps.amax((2, 3))).quantile(0.01).item(), 2)}


def keep(detector, estimator, file):
    save_file({key: value.cpu().contiguous() for key, value in nn.ModuleDict({"detector": detector, "estimator": estimator}).state_dict().items()}, file)


def train(device, seconds, log, file, batch=64, peak=3e-3):
    torch.manual_seed(616)
    generator = torch.Generator(device).manual_seed(617)
    detector, estimator = Detector().to(device).train(), Estimator().to(device).train()
    optimizer = torch.optim.AdamW([*detector.parameters(), *estimator.parameters()], lr=peak, weight_decay=1e-4)
    begun = logged = time.time()
    step = 0
    while (spent := time.time() - begun) < seconds:
        optimizer.param_groups[0]["lr"] = peak * cosine(spent / seconds)
        optimizer.zero_grad()
        parts = losses(detector, estimator, batch, generator, device)
        sum(parts).backward()
        optimizer.step()
        step += 1
        if time.time() - logged > 20:
            logged = time.time()
            log({"step": step, "detector": round(parts[0].item(), 5), "estimator": round(parts[1].item(), 5), **measure(detector, estimator, device)})
            keep(detector, estimator, file)
    keep(detector, estimator, file)
    log({"step": step, **measure(detector, estimator, device, 256)})


@torch.no_grad()
def whole_body(estimator):
    """An estimator with a map for each of COCO-WholeBody's points, of one with the learnt ones."""
    whole = Estimator(POINTS).eval()
    state = estimator.state_dict()
    rows = [*BODY, *([EDGES, EDGES + 1, EDGES + 2, EDGES + 3, figures.NOSE][number % 5] for number in range(len(FACE)))]
    weight, bias = torch.zeros(POINTS, FEATURES, 1, 1), torch.full((POINTS,), -1.0)
    weight[:len(rows)], bias[:len(rows)] = GAIN * state["maps.weight"][rows], GAIN * state["maps.bias"][rows]
    whole.load_state_dict({**state, "maps.weight": weight, "maps.bias": bias})
    return whole


def export(model, size, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(model, (torch.zeros(1, 3, *size),), str(path), opset_version=17, input_names=["pictures"], output_names=["result"],
                          dynamo=False)


def write(detector, estimator, out):
    """As preprocessing finds them."""
    export(Row(detector), (DETECTOR_SIDE, DETECTOR_SIDE), out / "det/yolov10m.onnx")
    export(whole_body(estimator), INPUT, out / "pose2d/vitpose_h_wholebody.onnx/end2end.onnx")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--out", type=Path, help="folder to export to; without it the networks are trained")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training")
    args = parser.parse_args()
    file = args.state / "pose_networks.safetensors"
    if args.out:
        state = load_file(file)
        networks = Detector().eval(), Estimator().eval()
        for name, network in zip(("detector.", "estimator."), networks):
            network.load_state_dict({key.removeprefix(name): value for key, value in state.items() if key.startswith(name)})
        write(*networks, args.out)
    else:
        args.state.mkdir(parents=True, exist_ok=True)
        train(training_device(), 60 * args.minutes, Log(args.state / "pose_networks.jsonl"), file)


if __name__ == "__main__":
    main()
