"""The demo's world: coloured shapes that move over coloured backgrounds, and how its clips are drawn."""

import math
import random
from dataclasses import astuple, dataclass
from itertools import product

SIZE = 128  # pixels a side
FRAMES = 17
FPS = 8

PALETTE = {  # 8-bit RGB, far apart from each other even where chroma is subsampled
    "red": (225, 35, 35),
    "green": (30, 165, 50),
    "blue": (35, 60, 225),
    "yellow": (245, 220, 40),
    "purple": (165, 40, 190),
    "white": (242, 242, 242),
    "black": (18, 18, 18),
    "cyan": (60, 205, 225),
}
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
BACKGROUNDS = tuple(PALETTE)
SHAPES = ("circle", "square", "triangle", "star")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # y points down

HELD_OUT = 100  # whole combinations that training never shows


@dataclass(frozen=True)
class Scene:
    colour: str
    shape: str
    direction: str
    background: str


SHOWN_IN_README = Scene("red", "circle", "right", "blue")


def all_scenes():
    return [Scene(*parts) for parts in product(COLOURS, SHAPES, DIRECTIONS, BACKGROUNDS) if parts[0] != parts[3]]


def split_scenes():
    """(trained, held out): a fixed random split; every value of every attribute stays in the trained part."""
    scenes = all_scenes()
    random.Random(20260301).shuffle(scenes)
    scenes.remove(SHOWN_IN_README)
    return sorted(scenes[HELD_OUT:] + [SHOWN_IN_README], key=astuple), sorted(scenes[:HELD_OUT], key=astuple)


def outline(shape):
    """Corners of a shape of radius 1 (y down), counted so that every polygon has 10; None for the circle."""
    if shape == "circle":
        return None
    if shape == "square":
        corners = [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    elif shape == "triangle":
        corners = [(0.0, -0.95), (1.05, 0.85), (-1.05, 0.85)]
    else:
        corners = []
        for i in range(10):
            radius, angle = (1.12, 0.5)[i % 2], math.pi * i / 5
            corners.append((radius * math.sin(angle), -radius * math.cos(angle)))
    # Corners in the middle of an edge change nothing: repeat the last edge's until there are ten.
    (ax, ay), (bx, by) = corners[-1], corners[0]
    missing = 10 - len(corners)
    return corners + [(ax + (bx - ax) * i / (missing + 1), ay + (by - ay) * i / (missing + 1))
                      for i in range(1, missing + 1)]


EXTENT = 1.12  # the farthest any outline reaches, in radii


def uniform_draws(generator, count, device):
    import torch
    return lambda low, high: low + (high - low) * torch.rand(count, generator=generator, device=device)


def draw_motion(generator, count, device):
    """Random radius, start along the motion and across it, and travel, each [n] in pixels."""
    uniform = uniform_draws(generator, count, device)
    radius = uniform(24.0, 34.0)
    reach = EXTENT * radius + 1
    travel = 28 + uniform(0.0, 1.0) * ((SIZE - 2 * reach).clamp(max=52) - 28)
    along = reach + uniform(0.0, 1.0) * (SIZE - 2 * reach - travel)
    across = reach + uniform(0.0, 1.0) * (SIZE - 2 * reach)
    return radius, along, across, travel


def draw_motion_anywhere(generator, count, device):
    """As `draw_motion`, from nearly everywhere: where a shape stands says little of where it will go."""
    uniform = uniform_draws(generator, count, device)
    least = 16.0  # of travel
    radius = uniform(24.0, 34.0)
    reach = EXTENT * radius + 1
    along = reach + uniform(0.0, 1.0) * (SIZE - 2 * reach - least)
    across = reach + uniform(0.0, 1.0) * (SIZE - 2 * reach)
    travel = least + uniform(0.0, 1.0) * ((SIZE - reach - along).clamp(max=52) - least)
    return radius, along, across, travel


class Renderer:
    """Draws batches of clips from signed distances, on any device; every draw is a function of its generator."""

    def __init__(self, scenes, device="cpu", size=SIZE, draw=draw_motion):
        import torch
        self.device, self.size, self.draw = device, size, draw
        corners = [outline(s.shape) or [(0.0, 0.0)] * 10 for s in scenes]
        self.corners = torch.tensor(corners, device=device)  # [scenes, 10, 2]
        self.circle = torch.tensor([s.shape == "circle" for s in scenes], device=device)
        self.heading = torch.tensor([DIRECTIONS[s.direction] for s in scenes], device=device, dtype=torch.float32)
        self.colour = torch.tensor([PALETTE[s.colour] for s in scenes], device=device) / 127.5 - 1
        self.background = torch.tensor([PALETTE[s.background] for s in scenes], device=device) / 127.5 - 1

    def __call__(self, index, frames, generator):
        """index [B] into the scenes; frames [T] frame numbers -> clips [B, 3, T, size, size] in [-1, 1]."""
        colour, background = (c[index][:, :, None, None, None] for c in (self.colour, self.background))
        return background + self.cover(index, frames, generator) * (colour - background)

    def cover(self, index, frames, generator):
        """How much of each pixel the shape covers: [B, 1, T, size, size] in 0..1."""
        import torch
        radius, along, across, travel = self.draw(generator, len(index), self.device)
        heading = self.heading[index]
        horizontal = heading[:, 0].abs() > 0
        # The motion starts at `along` seen in its own direction: mirrored where it goes left or up.
        backward = heading.sum(1) < 0
        step = (frames / (FRAMES - 1))[None] * travel[:, None]
        path = along[:, None] + step
        path = torch.where(backward[:, None], SIZE - path, path)
        side = across[:, None].expand_as(path)
        centre = torch.stack([torch.where(horizontal[:, None], path, side),
                              torch.where(horizontal[:, None], side, path)], dim=-1)  # [B, T, 2]
        scale = SIZE / self.size
        axis = (torch.arange(self.size, device=self.device) + 0.5) * scale
        px = axis[None, None, None, :] - centre[:, :, 0, None, None]
        py = axis[None, None, :, None] - centre[:, :, 1, None, None]
        distance = self.signed_distance(px, py, radius, index)
        return (0.5 - distance / scale).clamp(0, 1)[:, None]

    def signed_distance(self, px, py, radius, index):
        """Pixels to the outline, negative inside; [B, T, H, W] from offsets to the centre."""
        import torch
        corners = self.corners[index] * radius[:, None, None]  # [B, 10, 2]
        nearest = torch.full_like(px + py, 1e9)
        inside = torch.zeros_like(nearest, dtype=torch.bool)
        for i in range(10):
            ax, ay = (corners[:, i, k].view(-1, 1, 1, 1) for k in (0, 1))
            bx, by = (corners[:, (i + 1) % 10, k].view(-1, 1, 1, 1) for k in (0, 1))
            ex, ey = bx - ax, by - ay
            wx, wy = px - ax, py - ay
            place = ((wx * ex + wy * ey) / (ex * ex + ey * ey).clamp(min=1e-6)).clamp(0, 1)
            nearest = torch.minimum(nearest, (wx - ex * place).square() + (wy - ey * place).square())
            crosses = (ay <= py) != (by <= py)
            inside ^= crosses & ((ex * wy - ey * wx > 0) == (ey > 0)) & (ey != 0)
        polygon = torch.where(inside, -nearest.sqrt(), nearest.sqrt())
        disc = (px.square() + py.square()).sqrt() - 0.98 * radius.view(-1, 1, 1, 1)
        return torch.where(self.circle[index].view(-1, 1, 1, 1), disc, polygon)
