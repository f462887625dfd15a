"""The world of character animation: a figure of coloured parts before a simple background, posed by 20 body points.

A figure is drawn from its points alone, so that one with the points of another moves as the other does.
"""

import math
from dataclasses import dataclass, fields

import torch

from . import world
from .speech_world import EYE, MOUTH, blend, constant, luma

SIZE = world.SIZE
FPS = 16
CLIP = 21  # frames of a clip
PARTS = ("head", "torso", "right arm", "left arm", "right leg", "left leg")
# As the official preprocessing numbers them; right is the figure's own.
NOSE, NECK = 0, 1
SHOULDERS, ELBOWS, WRISTS = (2, 5), (3, 6), (4, 7)
HIPS, KNEES, ANKLES = (8, 11), (9, 12), (10, 13)
EYES, EARS, TOES = (14, 15), (16, 17), (19, 18)
POINTS = 20
HEAD_WIDTH = 0.92  # half axis across, of the head's radius


def select(value, index):
    return type(value)(**{field.name: getattr(value, field.name)[index] for field in fields(value)})


@dataclass
class Bodies:
    """What a figure's points follow from, beside its motion; each [B], in pixels."""
    torso: torch.Tensor
    shoulder: torch.Tensor  # half the width
    hip: torch.Tensor
    upper_arm: torch.Tensor
    forearm: torch.Tensor
    thigh: torch.Tensor
    shin: torch.Tensor
    radius: torch.Tensor  # of the head
    neck: torch.Tensor

    def __getitem__(self, index):
        return select(self, index)


@dataclass
class Looks:
    """What a figure is drawn with; colours in [-1, 1]."""
    colours: torch.Tensor  # [B, 6, 3], by PARTS
    arm: torch.Tensor  # [B], half a limb's width
    leg: torch.Tensor
    waist: torch.Tensor  # half the torso's width
    radius: torch.Tensor

    def __getitem__(self, index):
        return select(self, index)


@dataclass
class Scenes:
    """Backgrounds: two colours that flow into each other along a direction, and a floor, each [B] or [B, 3]."""
    colour: torch.Tensor
    change: torch.Tensor  # from one side of the picture to the other
    angle: torch.Tensor
    floor: torch.Tensor
    horizon: torch.Tensor  # y at which the floor begins; below the picture where there is none

    def __getitem__(self, index):
        return select(self, index)


def draw_bodies(count, generator=None, device="cpu"):
    uniform = world.uniform_draws(generator, count, device)
    scale = uniform(0.86, 1.06)

    def length(mean, spread=0.08):
        return mean * scale * (1 + spread * uniform(-1, 1))

    return Bodies(torso=length(30), shoulder=length(13), hip=length(8), upper_arm=length(16.5), forearm=length(16.5),
                  thigh=length(20), shin=length(20), radius=length(12.5, 0.05), neck=length(3.5))


def draw_looks(bodies, backgrounds, generator=None):
    """Of each figure the best of many sets of colours: far from each other and from the colours of `backgrounds` [B, N, 3]. The
    head is bright enough for its mouth to show."""
    device, count = bodies.torso.device, len(bodies.torso)
    sets = 256
    colours = 1.9 * torch.rand(count, sets, len(PARTS), 3, generator=generator, device=device) - 0.95
    head = colours[:, :, :1]
    head = (head + (0.2 - luma(head)).clamp(min=0)[..., None]).clamp(max=0.95)
    colours = torch.cat([head, colours[:, :, 1:]], dim=2)
    every = torch.cat([colours, backgrounds[:, None].expand(-1, sets, -1, -1)], dim=2)
    apart = torch.cdist(colours, every) + 10 * torch.eye(len(PARTS), every.shape[2], device=device)
    best = apart.flatten(2).amin(2).argmax(1)
    uniform = world.uniform_draws(generator, count, device)
    return Looks(colours=colours[torch.arange(count, device=device), best], arm=uniform(5.2, 6.0), leg=uniform(5.6, 6.4),
                 waist=uniform(9.0, 10.5), radius=bodies.radius)


def draw_scenes(count, generator=None, device="cpu"):
    """A third are of one colour, a third have two, a third have a floor."""
    def colours(scale=1.0):
        return scale * (1.9 * torch.rand(count, 3, generator=generator, device=device) - 0.95)

    uniform = world.uniform_draws(generator, count, device)
    kind = torch.randint(3, (count,), generator=generator, device=device)
    colour = colours()
    change = colours(0.7) * (kind > 0)[:, None]
    floor = torch.where((kind == 2)[:, None], (colour + colours(0.6)).clamp(-0.95, 0.95), colour)
    return Scenes(colour=colour, change=change, angle=uniform(0, 2 * math.pi), floor=floor,
                  horizon=torch.where(kind == 2, uniform(70, 112), 10.0 * SIZE))


def colours_of(scenes):
    """A few that stand for the background, [B, 4, 3]."""
    ends = [(scenes.colour + share * scenes.change).clamp(-0.95, 0.95) for share in (-0.5, 0.0, 0.5)]
    return torch.stack([*ends, scenes.floor], dim=1)


def wave(count, frames, rates, generator, device, start=0.0):
    """[B, frames]: sums of three sine waves of random rates and phases, nearly always in -1..1; `rates` in turns a second."""
    def uniform(low, high):
        return low + (high - low) * torch.rand(count, 3, 1, generator=generator, device=device)

    time = (start + torch.arange(frames, device=device)) / FPS
    share = uniform(0.3, 1.0)
    turn = 2 * math.pi * (uniform(*rates) * time + uniform(0, 1))
    return ((share / share.sum(1, keepdim=True)) * turn.sin()).sum(1) * 1.25


def draw_motion(bodies, frames, generator=None, fastest=0.45, spread=1.0):
    """The points of bodies in motion, [B, frames, 20, 2] as x and y in pixels, and how far their mouths are open, [B, frames] in
    0..1. Of the videos an eighth stand still. `spread`: how much of the range of every angle and place is used, round its middle."""
    device, count = bodies.torso.device, len(bodies.torso)
    uniform = world.uniform_draws(generator, count, device)
    still = (uniform(0, 1) < 0.125)[:, None]
    slow = uniform(0.5, 1.0)[:, None]

    def about(low, high, rates=(0.1, fastest)):
        """Between the two in degrees, round a middle of the video's own."""
        moved = wave(count, frames, rates, generator, device)
        moved = torch.where(still, moved[:, :1], moved)
        middle, reach = (low + high) / 2, spread * (high - low)
        moved = reach * (uniform(-0.5, 0.5)[:, None] + slow * 0.42 * moved)
        return (middle + moved.clamp(-reach / 2, reach / 2)).deg2rad()

    def turned(vector, angle):
        """A vector ([B, T] each) turned, x to the right and y down."""
        x, y = vector
        return x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()

    def column(value):
        return value[:, None]

    zero = torch.zeros(count, frames, device=device)
    lean, tilt = about(-8, 8), about(-12, 12)
    root = (64 + 9 * spread * column(uniform(-1, 1)) + 5 * about(-57, 57, (0.1, 0.5)),
            column(128 - 6 - bodies.thigh - bodies.shin - uniform(3, 7)) + 2.5 * about(-57, 57, (0.1, 0.6)))
    points = [None] * POINTS

    def place(index, base, vector):
        points[index] = (base[0] + vector[0], base[1] + vector[1])
        return points[index]

    neck = place(NECK, root, turned((zero, zero - column(bodies.torso)), lean))
    head_angle = lean + tilt
    nose = place(NOSE, neck, turned((zero, zero - column(bodies.neck + bodies.radius)), head_angle))
    for side, sign in enumerate((-1, 1)):
        r = column(bodies.radius)
        place(EYES[side], nose, turned((zero + sign * 0.4 * r, zero - 0.3 * r), head_angle))
        place(EARS[side], nose, turned((zero + sign * 0.9 * r, zero - 0.1 * r), head_angle))
        shoulder = place(SHOULDERS[side], neck, turned((zero + sign * column(bodies.shoulder), zero), lean))
        angle = lean - sign * about(38, 140)
        elbow = place(ELBOWS[side], shoulder, turned((zero, zero + column(bodies.upper_arm)), angle))
        place(WRISTS[side], elbow, turned((zero, zero + column(bodies.forearm)), angle - sign * about(-30, 50)))
        hip = place(HIPS[side], root, turned((zero + sign * column(bodies.hip), zero), lean))
        angle = -sign * about(8, 36)
        knee = place(KNEES[side], hip, turned((zero, zero + column(bodies.thigh)), angle))
        angle = angle - sign * about(-16, 10)
        ankle = place(ANKLES[side], knee, turned((zero, zero + column(bodies.shin)), angle))
        place(TOES[side], ankle, (zero + sign * 4.5, zero + 3.0))
    opening = wave(count, frames, (0.3, 1.2), generator, device) * 0.7 + column(uniform(0.0, 0.8))
    opening = torch.where(still, opening[:, :1], opening).clamp(0, 1)
    return torch.stack([torch.stack(point, dim=-1) for point in points], dim=2), opening


def grid(size, device):
    """x [W] and y [H, 1] of the middles of a picture's pixels."""
    axis = (torch.arange(size, device=device) + 0.5) * (SIZE / size)
    return axis, axis[:, None]


def capsule(x, y, a, b, half_width, scale):
    """How much of each pixel lies within `half_width` [..] of the line from a to b [.., 2]: [.., H, W] in 0..1."""
    way = b - a
    px, py = x - a[..., 0, None, None], y - a[..., 1, None, None]
    wx, wy = way[..., 0, None, None], way[..., 1, None, None]
    along = ((px * wx + py * wy) / (wx * wx + wy * wy + 1e-6)).clamp(0, 1)
    distance = ((px - along * wx).square() + (py - along * wy).square() + 1e-9).sqrt()
    return (0.5 + (half_width[..., None, None] - distance) / scale).clamp(0, 1)


def tilted_ellipse(x, y, middle, across, along, size, scale):
    """As capsule(), of an ellipse round `middle` [.., 2] with half axes `size` (two of [..]) along the unit vectors."""
    px, py = x - middle[..., 0, None, None], y - middle[..., 1, None, None]
    u = (px * across[..., 0, None, None] + py * across[..., 1, None, None]) / size[0][..., None, None]
    v = (px * along[..., 0, None, None] + py * along[..., 1, None, None]) / size[1][..., None, None]
    radius = (u * u + v * v + 1e-9).sqrt()
    slope = ((u / size[0][..., None, None]).square() + (v / size[1][..., None, None]).square() + 1e-12).sqrt() / radius
    return (0.5 - (radius - 1) / (slope * scale)).clamp(0, 1)


def head_axes(points):
    """Unit vectors [.., 2] across the head and down it."""
    across = points[..., EARS[1], :] - points[..., EARS[0], :]
    across = across / across.norm(dim=-1, keepdim=True)
    return across, torch.stack([-across[..., 1], across[..., 0]], dim=-1)


def draw_background(scenes, size=SIZE):
    """[B, 3, H, W]."""
    x, y = grid(size, scenes.angle.device)
    along = ((x - 64) * scenes.angle.cos()[:, None, None] + (y - 64) * scenes.angle.sin()[:, None, None]) / SIZE
    picture = (scenes.colour[:, :, None, None] + along[:, None] * scenes.change[:, :, None, None]).clamp(-0.95, 0.95)
    floor = (0.5 + (y - scenes.horizon[:, None, None]) / (SIZE / size)).clamp(0, 1).expand(-1, -1, size)
    return blend(picture, scenes.floor[:, :, None, None], floor[:, None])


def part_covers(looks, points, size=SIZE):
    """(part, cover [B, T, H, W]) in the order in which they are drawn over each other."""
    x, y = grid(size, points.device)
    scale = SIZE / size
    at = lambda index: points[:, :, index]  # noqa: E731
    wide = lambda value: value[:, None].expand(points.shape[:2])  # noqa: E731
    for side in (0, 1):
        hip, knee, ankle, toe = (at(group[side]) for group in (HIPS, KNEES, ANKLES, TOES))
        leg = capsule(x, y, hip, knee, wide(looks.leg), scale)
        leg = torch.maximum(leg, capsule(x, y, knee, ankle, wide(0.9 * looks.leg), scale))
        yield 4 + side, torch.maximum(leg, capsule(x, y, ankle, toe, wide(0.75 * looks.leg), scale))
    root = (at(HIPS[0]) + at(HIPS[1])) / 2
    way = root - at(NECK)
    inside = (wide(looks.waist) * 0.75 / way.norm(dim=-1).clamp(min=1))[..., None]
    body = capsule(x, y, at(NECK) + inside * way, root - 0.5 * inside * way, wide(looks.waist), scale)
    yield 1, torch.maximum(body, capsule(x, y, at(SHOULDERS[0]), at(SHOULDERS[1]), wide(0.95 * looks.arm), scale))
    across, down = head_axes(points)
    yield 0, tilted_ellipse(x, y, at(NOSE), across, down, (wide(HEAD_WIDTH * looks.radius), wide(looks.radius)), scale)
    for side in (0, 1):
        shoulder, elbow, wrist = (at(group[side]) for group in (SHOULDERS, ELBOWS, WRISTS))
        arm = capsule(x, y, shoulder, elbow, wide(looks.arm), scale)
        yield 2 + side, torch.maximum(arm, capsule(x, y, elbow, wrist, wide(0.9 * looks.arm), scale))


def draw_face(picture, looks, points, opening, size=SIZE):
    """Eyes and mouth onto pictures [B, 3, T, H, W]."""
    x, y = grid(size, points.device)
    scale = SIZE / size
    across, down = head_axes(points)
    wide = lambda value: value[:, None].expand(points.shape[:2])  # noqa: E731
    for eye in EYES:
        cover = tilted_ellipse(x, y, points[:, :, eye], across, down, (wide(0.17 * looks.radius), wide(0.22 * looks.radius)), scale)
        picture = blend(picture, constant(EYE, picture.device)[:, None, None, None], cover[:, None])
    middle = points[:, :, NOSE] + down * (0.42 * looks.radius)[:, None, None]
    height = (0.06 + 0.30 * opening) * looks.radius[:, None]
    cover = tilted_ellipse(x, y, middle, across, down, (wide(0.42 * looks.radius), height), scale)
    return blend(picture, constant(MOUTH, picture.device)[:, None, None, None], cover[:, None])


def draw_clips(looks, points, opening, background, size=SIZE):
    """background [B, 3, H, W] -> clips [B, 3, T, H, W] in [-1, 1] and the figure's cover [B, T, H, W]."""
    picture = background[:, :, None].expand(-1, -1, points.shape[1], -1, -1)
    figure = torch.zeros_like(picture[:, 0])
    for part, cover in part_covers(looks, points, size):
        picture = blend(picture, looks.colours[:, part, :, None, None, None], cover[:, None])
        figure = torch.maximum(figure, cover)
        if part == 0:  # arms are drawn over the face
            picture = draw_face(picture, looks, points, opening, size)
    return picture, figure


def face_boxes(points, radius):
    """What the official preprocessing cuts out as the face, of heads whose box is as below: [B, T, 4] as x, y of a corner and of the
    opposite one, in pixels, cut to whole numbers."""
    low, high = face_extent(points, radius)
    width, height = (high - low).unbind(-1)
    ratio = math.sqrt(1.3)
    more_x, more_y = width * (ratio - 1), height * (ratio - 1)
    left, right = low[..., 0] - more_x / 2, high[..., 0] + more_x / 2
    top, bottom = low[..., 1] - 0.75 * more_y, high[..., 1] + 0.25 * more_y
    return torch.stack([left, top, right, bottom], dim=-1).clamp(0, SIZE).trunc()


def face_extent(points, radius):
    """Corners [B, T, 2] of the box of the points of a face."""
    middle = points[:, :, NOSE]
    reach = radius[:, None, None] * constant((0.85, 0.85), points.device)
    return middle - reach, middle + reach


def cut_faces(clips, boxes, side):
    """clips [B, 3, T, H, W], boxes [B, T, 4] -> [B, T, 3, side, side], bilinear as OpenCV's."""
    batch, _, frames, height, width = clips.shape
    flat, box = clips.transpose(1, 2).flatten(0, 1), boxes.flatten(0, 1)
    step = (torch.arange(side, device=clips.device) + 0.5) / side
    x = box[:, :1] + (box[:, 2:3] - box[:, :1]) * step
    y = box[:, 1:2] + (box[:, 3:] - box[:, 1:2]) * step
    x = torch.minimum(torch.maximum(x, box[:, :1] + 0.5), box[:, 2:3] - 0.5)
    y = torch.minimum(torch.maximum(y, box[:, 1:2] + 0.5), box[:, 3:] - 0.5)
    where = torch.stack([(2 * x / width - 1)[:, None].expand(-1, side, -1), (2 * y / height - 1)[:, :, None].expand(-1, -1, side)], dim=-1)
    return torch.nn.functional.grid_sample(flat, where, align_corners=False).unflatten(0, (batch, frames))
