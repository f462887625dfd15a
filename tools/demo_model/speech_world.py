"""The world of speech to video: a drawn face over a coloured background, whose mouth opens as the sound is loud."""

from dataclasses import dataclass, fields
from functools import cache

import torch

from . import world

SIZE = world.SIZE
FPS = 16
CLIP = 80  # frames of a clip, as officially
MOTION = 73  # frames before it that a later clip sees
MOUTH = (-0.55, -0.85, -0.78)  # colour of every open mouth, a dark red, in [-1, 1]
EYE = (-0.88, -0.88, -0.82)
CLOSED = 1.4  # pixels, half the height of a closed mouth
RATE = 16_000  # samples a second
SAMPLES_A_FRAME = RATE // FPS
SMOOTHING = 0.04  # seconds, deviation of the window in which a sound's power is taken
WIDE_OPEN = 2.0  # loudness of a widest open mouth, in the whole sound's deviation
EXPONENT = 0.6  # loudness as it is perceived, of an amplitude (Stevens)


@dataclass
class Faces:
    """Each [B] but for the colours, which are [B, 3] in [-1, 1]; lengths in pixels of a picture of SIZE a side."""
    background: torch.Tensor
    skin: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    width: torch.Tensor  # half axes of the face
    height: torch.Tensor
    squareness: torch.Tensor  # exponent of the outline: 2 is an ellipse, more has corners
    eye_gap: torch.Tensor  # from the middle to an eye
    eye_size: torch.Tensor
    mouth_width: torch.Tensor  # half
    mouth_height: torch.Tensor  # half of the widest opening

    def __getitem__(self, index):
        return Faces(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def __len__(self):
        return len(self.x)


@cache
def constant(values, device):
    """Made once: a CUDA graph in the making cannot take numbers from Python."""
    return torch.tensor(values, device=device)


def luma(colour):
    return (colour * constant((0.299, 0.587, 0.114), colour.device)).sum(-1)


def draw_faces(count, generator, device="cpu"):
    """Random faces: skins bright enough for eyes and mouth to show, backgrounds of any colour far from the skin."""
    uniform = world.uniform_draws(generator, count, device)

    def colours():
        return 2 * torch.rand(count, 3, generator=generator, device=device) - 1

    skin = 0.85 * colours()
    skin = (skin + (0.15 - luma(skin)).clamp(min=0)[:, None]).clamp(max=0.95)
    background = 0.9 * colours()
    near = (skin - background).norm(dim=1, keepdim=True) < 0.7
    background = torch.where(near, skin - 0.6 * skin.sign() - 0.2, background).clamp(-0.95, 0.95)
    width, height = uniform(38.0, 48.0), uniform(44.0, 54.0)
    return Faces(background=background, skin=skin,
                 x=64 + uniform(-1.0, 1.0) * (60 - width), y=64 + uniform(-1.0, 1.0) * (60 - height),
                 width=width, height=height, squareness=uniform(2.0, 3.2), eye_gap=uniform(0.36, 0.46) * width,
                 eye_size=uniform(4.5, 7.5), mouth_width=uniform(0.40, 0.52) * width,
                 mouth_height=uniform(0.24, 0.31) * height)


def mouth_centre(faces):
    return faces.x, faces.y + 0.42 * faces.height


def grid(size, device):
    axis = (torch.arange(size, device=device) + 0.5) * (SIZE / size)
    return axis[None, None, :], axis[None, :, None]


def cover(px, py, half_width, half_height, power, scale):
    """How much of each pixel a rounded shape covers, from offsets to its centre: [.., H, W] in 0..1, edges a pixel wide."""
    u, v = (px / half_width).abs() + 1e-6, (py / half_height).abs() + 1e-6
    radius = (u.pow(power) + v.pow(power)).pow(1 / power)
    # Of first order: distance to the outline, by the radius's slope.
    slope = ((u.pow(power - 1) / half_width).square() + (v.pow(power - 1) / half_height).square()).sqrt()
    distance = (radius - 1) * radius.pow(power - 1) / slope
    return (0.5 - distance / scale).clamp(0, 1)


def column(value):
    return value[:, None, None]


def face_cover(faces, size=SIZE):
    """How much of each pixel is face: [B, H, W]."""
    px, py = grid(size, faces.x.device)
    return cover(px - column(faces.x), py - column(faces.y), column(faces.width), column(faces.height),
                 column(faces.squareness), SIZE / size)


def still_part(faces, size=SIZE):
    """Pictures without mouths: [B, 3, H, W]."""
    px, py = grid(size, faces.x.device)
    scale, two = SIZE / size, torch.full_like(column(faces.x), 2.0)
    picture = blend(faces.background[:, :, None, None], faces.skin[:, :, None, None], face_cover(faces, size)[:, None])
    for side in (-1, 1):
        eye = cover(px - column(faces.x + side * faces.eye_gap), py - column(faces.y - 0.22 * faces.height),
                    column(faces.eye_size), column(1.25 * faces.eye_size), two, scale)
        picture = blend(picture, constant(EYE, picture.device)[:, None, None], eye[:, None])
    return picture


def mouth_cover(faces, opening, size=SIZE):
    """opening [B, T] in 0..1 -> how much of each pixel is mouth: [B, T, H, W]."""
    x, y = mouth_centre(faces)
    px, py = grid(size, x.device)
    px, py = (px - x[:, None, None])[:, None], (py - y[:, None, None])[:, None]
    half_height = CLOSED + opening * (faces.mouth_height[:, None] - CLOSED)
    half_width = faces.mouth_width[:, None] * (1 - 0.12 * opening)
    return cover(px, py, half_width[..., None, None], half_height[..., None, None], 2.0, SIZE / size)


def blend(under, over, share):
    return under + share * (over - under)


def draw_clips(faces, opening, size=SIZE):
    """opening [B, T] in 0..1 -> clips [B, 3, T, H, W] in [-1, 1]."""
    still = still_part(faces, size)[:, :, None]
    mouth = mouth_cover(faces, opening, size)[:, None]
    return blend(still, constant(MOUTH, still.device)[:, None, None, None], mouth)


def openings(sound, frames, rate=FPS):
    """sound [B, n], of zero mean and unit variance each as the audio encoder gets it -> how far the mouth is open, [B, frames]
    in 0..1, in the middle of each frame at `rate` frames a second."""
    # The mean power of every 5 ms says enough of so smooth a curve.
    part = RATE // 200
    parts = torch.nn.functional.pad(sound.square(), (0, -sound.shape[1] % part)).unflatten(1, (-1, part)).mean(2)
    reach = round(4 * SMOOTHING * 200)
    window = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=sound.device) / (SMOOTHING * 200)).square())
    power = torch.nn.functional.conv1d(parts[:, None], (window / window.sum())[None, None], padding=reach)[:, 0]
    place = ((torch.arange(frames, device=sound.device) + 0.5) / rate * 200 - 0.5).clamp(min=0)
    before = place.long().clamp(max=power.shape[1] - 1)
    after = (before + 1).clamp(max=power.shape[1] - 1)
    smooth = torch.lerp(power[:, before], power[:, after], (place - before).clamp(0, 1))
    return (smooth.clamp(min=0).sqrt() / WIDE_OPEN).pow(EXPONENT).clamp(max=1)


def normalised(sound):
    """As the audio encoder's preprocessor does, over the whole sound [B, n]."""
    centred = sound - sound.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()


def mouth_area(clips, faces, region):
    """Pixels of mouth in each frame of clips [B, 3, T, H, W], [B, T]; region [B, 1, 1, H, W]: above 0 where a mouth may be. A
    pixel counts by its place on the line from the skin's colour to the mouth's, so that blur does not matter."""
    skin = faces.skin[:, :, None, None, None]
    way = constant(MOUTH, skin.device)[:, None, None, None] - skin
    share = ((clips - skin) * way).sum(1) / way.square().sum(1)  # [B, T, H, W]
    near = torch.nn.functional.max_pool2d(region[:, :, 0], 5, 1, 2) > 0
    return (share.clamp(-0.2, 1.2) * near).sum((2, 3))
