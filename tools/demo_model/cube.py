"""Clips in colours of the whole cube, for image to video: flat ones, smooth pictures, and the words nearest to them."""

from itertools import product

import torch
import torch.nn.functional as F

from . import world

NAMES = tuple(world.PALETTE)
TEXTURED = 0.1  # of the clips have a smooth picture behind the shape
LEAST_DISTANCE = 0.6  # between shape and background, of 3.46 from corner to corner


def palette(device):
    return torch.tensor([world.PALETTE[name] for name in NAMES], device=device) / 127.5 - 1


def scenes():
    """Every shape colour, shape, direction and background of which a sentence can speak, but for the combinations held out."""
    _, held_out = world.split_scenes()
    every = [world.Scene(*parts) for parts in product(NAMES, world.SHAPES, world.DIRECTIONS, NAMES)]
    return [scene for scene in every if scene not in set(held_out)]


def rows_by_colours(every):
    """[8, 8, 16] rows of `every` with that shape colour and background, repeated to fill 16."""
    found = {pair: [] for pair in product(NAMES, NAMES)}
    for row, scene in enumerate(every):
        found[scene.colour, scene.background].append(row)
    return torch.tensor([rows[i % len(rows)] for rows in found.values() for i in range(16)]).view(8, 8, 16)


def colours(generator, count, device):
    """[count, 3] in [-1, 1]: a quarter are corners of the cube; of the others' channels a quarter are at an end."""
    def draw(*shape):
        return torch.rand(*shape, generator=generator, device=device)

    inside = 2 * draw(count, 3) - 1
    at_end = draw(count, 3) < 0.25 + (draw(count, 1) < 0.25)
    return torch.where(at_end, inside.sign(), inside)


def colour_pairs(generator, count, device):
    """Of shape and background, [count, 3] each, never so near that the shape is lost."""
    shape, background = colours(generator, count, device), colours(generator, count, device)
    near = (shape - background).norm(dim=1, keepdim=True) < LEAST_DISTANCE
    return shape, torch.where(near, torch.where(background > 0, background - 1, background + 1), background)


def smooth_pictures(generator, around, size):
    """[B, 3, 1, size, size] that vary smoothly round the colours [B, 3]: slopes and soft spots, as photographs have."""
    total = around[:, :, None, None].expand(-1, -1, size, size)
    for cells, strength in ((2, 0.5), (5, 0.3), (12, 0.12)):
        grid = torch.randn(len(around), 3, cells, cells, generator=generator, device=around.device)
        total = total + strength * F.interpolate(grid, size=(size, size), mode="bicubic", align_corners=True)
    return total.clamp(-1, 1)[:, :, None]


class CubeRenderer:
    """Draws clips whose colours are anywhere in the cube; every draw is a function of its generator."""

    def __init__(self, every, device="cpu", size=world.SIZE, draw=world.draw_motion_anywhere):
        self.renderer = world.Renderer(every, device, size, draw)
        self.device, self.size = device, size
        self.palette, self.rows = palette(device), rows_by_colours(every).to(device)

    def rows_for(self, shape, background, generator):
        """A row [B] each, whose words are nearest to the colours and whose combination is not held out."""
        words = [(c[:, None] - self.palette).square().sum(-1).argmin(1) for c in (shape, background)]
        pick = torch.randint(self.rows.shape[2], (len(shape),), generator=generator, device=self.device)
        return self.rows[words[0], words[1], pick]

    def __call__(self, count, frames, generator, textured=TEXTURED):
        """frames [T] -> clips [count, 3, T, size, size] in [-1, 1], and the rows [count] of their words."""
        shape, background = colour_pairs(generator, count, self.device)
        rows = self.rows_for(shape, background, generator)
        behind = background[:, :, None, None, None].expand(-1, -1, 1, self.size, self.size)
        if textured:
            chosen = torch.rand(count, generator=generator, device=self.device) < textured
            pictures = smooth_pictures(generator, background, self.size)
            behind = torch.where(chosen.view(-1, 1, 1, 1, 1), pictures, behind)
        cover = self.renderer.cover(rows, frames, generator)
        return behind + cover * (shape[:, :, None, None, None] - behind), rows
