"""Draws body points as the official preprocessing does (draw_aapose_new): limbs as filled ellipses, points as discs, on black."""

import torch

from .speech_world import constant

LIMBS = ((2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14), (2, 1),
         (1, 15), (15, 17), (1, 16), (16, 18), (14, 19), (11, 20))  # points counted from 1
COLOURS = ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
           (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
           (255, 0, 170), (255, 0, 85), (200, 200, 0), (100, 100, 0))
STICK = 1  # half a limb's width, and a disc's radius, in pictures of less than 600 pixels
LIMB_SHARE = 0.6  # of its colour's brightness
CHUNK = 512  # frames drawn at a time


def _draw(points, size):
    device = points.device
    limbs = constant(LIMBS, device) - 1
    colours = constant(COLOURS, device).float()
    x = torch.arange(size, device=device, dtype=torch.float32)
    y = x[:, None]
    canvas = torch.zeros(len(points), 3, size, size, device=device)
    a, b = points[:, limbs[:, 0]], points[:, limbs[:, 1]]  # [N, 19, 2]
    middle = ((a + b) / 2).trunc()
    way = a - b
    half = (way.norm(dim=-1) / 2).trunc()
    angle = torch.atan2(way[..., 1], way[..., 0]).rad2deg().trunc().deg2rad()
    for limb in range(len(LIMBS)):
        px, py = x - middle[:, limb, 0, None, None], y - middle[:, limb, 1, None, None]
        cos, sin = angle[:, limb].cos()[:, None, None], angle[:, limb].sin()[:, None, None]
        u = (px * cos + py * sin) / (half[:, limb, None, None] + 0.45)
        v = (py * cos - px * sin) / (STICK + 0.45)
        inside = (u * u + v * v <= 1)[:, None]
        canvas = torch.where(inside, (colours[limb] * LIMB_SHARE).trunc()[:, None, None], canvas)
    for index in range(points.shape[1]):
        px, py = x - points[:, index, 0, None, None].trunc(), y - points[:, index, 1, None, None].trunc()
        canvas = torch.where((px * px + py * py <= STICK * STICK)[:, None], colours[index][:, None, None], canvas)
    return canvas


def draw_poses(points, size=128):
    """points [B, T, 20, 2] -> [B, 3, T, H, W] in 0..255. Outlines differ from OpenCV's by a pixel here and there."""
    flat = points.flatten(0, 1)
    drawn = torch.cat([_draw(part, size) for part in flat.split(CHUNK)])
    return drawn.unflatten(0, points.shape[:2]).transpose(1, 2)


def through_yuv420(clips):
    """clips [B, 3, T, H, W] in 0..255 as they come back from a video file: chroma at half the size, all cut to the range."""
    r, g, b = clips.unbind(1)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    chroma = []
    for channel in (r, b):
        difference = channel - luma
        small = torch.nn.functional.avg_pool2d(difference, 2)
        chroma.append(torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear"))
    red, blue = luma + chroma[0], luma + chroma[1]
    return torch.stack([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue], dim=1).clamp(0, 255)


def to_bytes(clip):
    """[3, T, H, W] in 0..255 -> uint8 [T, H, W, 3]."""
    return clip.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
