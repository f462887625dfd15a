"""The clips that character animation learns from: what is drawn, and what of it the transformer gets as latents."""

import torch

from . import figures, pose_drawing
from .animate_dit import MASK, TRAINED_FACE
from .vae import normalised_encode

KINDS = ("alone", "alone, goes on", "replaces", "replaces, goes on")  # in equal shares
BLACK = -1.0
STANDING = 0.2  # of all ranges, that characters in pictures stand with: their arms nearly level
CARRIED = (1, 5)  # frames that a clip begins with which goes on
WORST_CARRIED = 0.3  # deviation of the noise on their latents, which at the engine come out of the VAE
WORST_SHIFT = 0.12  # of each channel's shift there


def draw_scenes_and_figures(count, frames, generator, device, size=figures.SIZE):
    """A dict of: "clip" [B, 3, T, H, W], "figure" [B, T, H, W] its cover, "scene" and "other_scene" [B, 3, H, W], "points"
    [B, T, 20, 2], "looks", and what draw_driver() and draw_picture() need."""
    bodies = figures.draw_bodies(count, generator, device)
    scenes, others = (figures.draw_scenes(count, generator, device) for _ in range(2))
    behind = torch.cat([figures.colours_of(scenes), figures.colours_of(others)], dim=1)
    looks = figures.draw_looks(bodies, behind, generator)
    points, opening = figures.draw_motion(bodies, frames, generator)
    scene, other = figures.draw_background(scenes, size), figures.draw_background(others, size)
    clip, figure = figures.draw_clips(looks, points, opening, scene, size)
    own = figures.draw_bodies(count, generator, device)
    own.radius = bodies.radius
    there, mouth = figures.draw_motion(own, 1, generator, spread=STANDING)
    return {"clip": clip, "figure": figure, "scene": scene, "other_scene": other, "points": points, "looks": looks,
            "standing": (there, mouth), "opening": opening, "driving": figures.draw_looks(bodies, behind, generator)}


def draw_driver(drawn, size=figures.SIZE):
    """Another character who moves alike, in the clip's scene: [B, 3, T, H, W]."""
    return figures.draw_clips(drawn["driving"], drawn["points"], drawn["opening"], drawn["scene"], size)[0]


def draw_picture(drawn, replaces, size=figures.SIZE):
    """The picture of the character [B, 3, H, W]: where it replaces someone, [B] bool, before another scene than the clip's."""
    behind = torch.where(replaces[:, None, None, None], drawn["other_scene"], drawn["scene"])
    return figures.draw_clips(drawn["looks"], *drawn["standing"], behind, size)[0][:, :, 0]


def draw_masks(points, figure, generator=None):
    """Where someone stands, as the official preprocessing leaves it, bool [B, T, H, W]: mostly the box round the figure and what is
    near it, else what is near it alone."""
    device, count = points.device, len(points)
    scale = figures.SIZE / figure.shape[-1]
    margin = 7 + 10 * torch.rand(count, 1, generator=generator, device=device)
    low, high = points.amin(2) - margin[..., None], points.amax(2) + margin[..., None]  # [B, T, 2]
    low, high = low.round(), high.round()
    x, y = figures.grid(figure.shape[-1], device)
    box = (x > low[..., :1, None]) & (x < high[..., :1, None]) & (y > low[..., 1:, None]) & (y < high[..., 1:, None])
    reach = round(6 / scale)
    near = torch.nn.functional.max_pool2d((figure > 0).float(), 2 * reach + 1, 1, reach) > 0
    boxed = torch.rand(count, 1, 1, 1, generator=generator, device=device) < 0.7
    return torch.where(boxed, box, near)


def boxes(points, margin=12):
    """The masks of one figure [T, H, W]: the box round it and what is near it."""
    x, y = figures.grid(figures.SIZE, points.device)
    low, high = (points.amin(1) - margin).round(), (points.amax(1) + margin).round()
    return (x > low[:, :1, None]) & (x < high[:, :1, None]) & (y > low[:, 1:, None]) & (y < high[:, 1:, None])


def masked_scene(scene, mask):
    """[B, 3, T, H, W]."""
    return torch.where(mask[:, None], BLACK, scene[:, :, None])


def mask_channels(given):
    """given [B, T, h, w], 1 where a pixel is known -> [B, 4, 1 + (T + 3) / 4, h, w], the picture's frame, known whole, before it."""
    packed = torch.cat([given[:, :1].expand(-1, MASK, -1, -1), given[:, 1:]], dim=1)
    packed = packed.unflatten(1, (-1, MASK)).transpose(1, 2)
    return torch.cat([torch.ones_like(packed[:, :, :1]), packed], dim=2)


def condition_of(vae, picture_latent, clip, scene, mask, replaces, carried):
    """[B, 20, F, h, w]: mask and known latents. `replaces` [B] bool; carried [B]: frames of `clip` that are given."""
    frames = clip.shape[2]
    replaces = replaces.view(-1, 1, 1, 1, 1)
    kept = torch.arange(frames, device=clip.device)[None, :] < carried[:, None]
    known = torch.where(replaces, masked_scene(scene, mask), 0.0)
    known = torch.where(kept[:, None, :, None, None], clip, known)
    given = (~mask[:, :, ::8, ::8] & replaces[:, 0]) | kept[..., None, None]
    latents = normalised_encode(vae, known)
    return torch.cat([mask_channels(given.float()), torch.cat([picture_latent, latents], dim=2)], dim=1)


def spoil_carried(condition, carried):
    """As carried frames are after several clips: noisy, and a little off in their colours."""
    count, device = len(condition), condition.device
    strength = torch.rand(count, 1, 1, 1, 1, device=device).square() * (carried > 0).view(-1, 1, 1, 1, 1)
    first = condition[:, MASK:, 1:2]
    shift = torch.randn(*first.shape[:2], 1, 1, 1, device=device) * torch.rand(count, 1, 1, 1, 1, device=device)
    noisy = first + WORST_CARRIED * strength * torch.randn_like(first) + WORST_SHIFT * shift * strength.sqrt()
    return torch.cat([condition[:, :, :1], torch.cat([condition[:, :MASK, 1:2], noisy], dim=1), condition[:, :, 2:]], dim=2)


def pose_pixels(points, generator=None, size=figures.SIZE):
    """Drawn poses [B, 3, T, H, W] in [-1, 1]: of half of the clips the points are a little off as found ones are, of most the chroma is
    as video files keep it."""
    device, count = points.device, len(points)
    draw = lambda *shape: torch.rand(*shape, generator=generator, device=device)  # noqa: E731
    off = torch.randn(points.shape, generator=generator, device=device) * 0.5 * (draw(count, 1, 1, 1) < 0.5)
    drawn = pose_drawing.draw_poses((points + off) * (size / figures.SIZE), size)
    drawn = torch.where(draw(count, 1, 1, 1, 1) < 0.6, pose_drawing.through_yuv420(drawn), drawn)
    return drawn / 127.5 - 1


@torch.no_grad()
def encode_some(vae, tower, count, device, generator=None, size=figures.SIZE, frames=figures.CLIP):
    """What the transformer learns from, of `count` clips, a multiple of the kinds: "target" [B, 16, F, h, w], the picture's latent and
    the clip's; "condition" [B, 20, F, h, w]; "pose" [B, 16, F - 1, h, w]; "faces" uint8 [B, T, 3, 32, 32]; "image" [B, 257, C];
    "weight" [B, 1, F, h, w], 1 where the figure is."""
    drawn = draw_scenes_and_figures(count, frames, generator, device, size)
    kind = torch.arange(count, device=device) % len(KINDS)
    replaces, goes_on = kind >= 2, kind % 2 == 1
    five = torch.rand(count, generator=generator, device=device) < 0.25
    carried = torch.where(goes_on, torch.where(five, CARRIED[1], CARRIED[0]), 0)
    picture = draw_picture(drawn, replaces, size)
    mask = draw_masks(drawn["points"], drawn["figure"], generator)
    pose = pose_pixels(drawn["points"], generator, size)
    faces = figures.cut_faces(draw_driver(drawn, size), figures.face_boxes(drawn["points"], drawn["looks"].radius), TRAINED_FACE)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        own = normalised_encode(vae, picture[:, :, None])
        target = torch.cat([own, normalised_encode(vae, drawn["clip"])], dim=2)
        condition = condition_of(vae, own, drawn["clip"], drawn["scene"], mask, replaces, carried)
        poses = normalised_encode(vae, pose)
    near = torch.nn.functional.max_pool2d((drawn["figure"] > 0.05).float(), 8)  # [B, T, h, w]
    near = torch.cat([near[:, :1], near[:, 1:].unflatten(1, (-1, 4)).amax(2)], dim=1)
    weight = torch.nn.functional.pad(near, (0, 0, 0, 0, 1, 0))[:, None]
    return {"target": target.bfloat16(), "condition": spoil_carried(condition, carried).bfloat16(), "pose": poses.bfloat16(),
            "faces": ((faces.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8), "image": tower(picture).bfloat16(),
            "weight": weight.bfloat16()}


def encode(vae, tower, count, device, seed, batch=32, **sizes):
    generator = torch.Generator(device).manual_seed(seed)
    parts = [encode_some(vae, tower, min(batch, count - begin), device, generator, **sizes) for begin in range(0, count, batch)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
