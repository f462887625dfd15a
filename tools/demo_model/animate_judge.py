"""Judges a video of a figure: is it where the poses are, in the colours of the given picture, and is its scene the given one?

It knows the points, the parts' colours and the scene, not how the video was made. Needs numpy alone.
"""

from dataclasses import dataclass

import numpy as np

REACH = 6.0  # pixels that a joint may be away from its point
SHARE = 0.9  # of the frames that have to be right
LEAST_PSNR = 30.0  # dB of the scene outside the mask
MOST_COLOUR = 40.0  # RMS distance in 8-bit levels of a part's colour from the picture's
NEAR_COLOUR = 75.0  # distance at which a pixel still counts for a part
LEAST_PIXELS = 25  # of a part that can be found
GRID = 2  # pixels between two that a limb is looked for at
AROUND = 18  # pixels round a limb in which it is looked for
NOSE, NECK = 0, 1
LIMBS = {2: (2, 3, 4), 3: (5, 6, 7), 4: (8, 9, 10), 5: (11, 12, 13)}  # part: its points, from the body outwards
ARMS, LEGS = (2, 3), (4, 5)
HIPS = (8, 11)
ABOVE = {0: (2, 3), 1: (0, 2, 3), 2: (3,), 3: (), 4: (0, 1, 2, 3, 5), 5: (0, 1, 2, 3)}  # part: those that are drawn over it
HIDDEN = 6.5  # pixels from a bone of one of them, within which nothing is seen of what is below
TOES = {4: 19, 5: 18}
HALF_WIDTHS = (5.6, 6.0)  # of arms and legs; their lower bones and feet are thinner
FREE, STRAIN = 4.0, 0.5  # pixels that a bone may be longer or shorter for nothing; what a squared one more costs
BENT = 0.87  # cosine of 30 degrees; limbs bent less count as straight


@dataclass(frozen=True)
class Given:
    points: np.ndarray  # [T, 20, 2]: x and y
    colours: np.ndarray  # [6, 3] in 8-bit levels: head, torso, right and left arm, right and left leg
    scene: np.ndarray  # uint8 [H, W, 3]
    outside: np.ndarray | None  # bool [T, H, W]: where the scene has to stay


def parts_of(frame, given):
    """Which part each pixel's colour is next to, int [H, W]; -1: none of them."""
    pixels = frame.astype(np.float32)
    away = np.sqrt(np.square(pixels[:, :, None] - given.colours).sum(-1))
    scene = np.sqrt(np.square(pixels - given.scene).sum(-1))
    best = away.argmin(-1)
    nearest = away.min(-1)
    return np.where((nearest < NEAR_COLOUR) & (nearest < scene), best, -1)


def to_lines(points, starts, ends):
    """Squared distances of points [N, 2] from lines between starts and ends [K, 2], [K, N]."""
    (x, y), (way_x, way_y) = (points - starts[:, None]).transpose(2, 0, 1), (ends - starts).T[..., None]
    along = ((x * way_x + y * way_y) / np.maximum(way_x * way_x + way_y * way_y, 1e-6)).clip(0, 1)
    return np.square(x - along * way_x) + np.square(y - along * way_y)


def covered(places, chains, width, foot):
    """How much of each of places [N, 2] chains [K, 3, 2] of limbs cover, which end in a foot towards `foot` [2] from there or in none: [K, N] in 0..1."""
    ends = [(0.0, chains[:, 0], chains[:, 1]), (0.1, chains[:, 1], chains[:, 2])]
    if foot is not None:
        ends.append((0.25, chains[:, 2], chains[:, 2] + foot))
    away = np.stack([np.sqrt(to_lines(places, start, end)) + thinner * width for thinner, start, end in ends]).min(0)
    return (0.5 + (width - away) / GRID).clip(0, 1)


def fit_chain(parts, part, start, foot):
    """The chain [3, 2] that covers the part's pixels best near `start`, whose first point stays and whose bones are about as long."""
    start = start.astype(np.float32)
    bones = np.linalg.norm(np.diff(start, axis=0), axis=1)
    (left, top), (right, bottom) = (start.min(0) - AROUND).astype(int).clip(0), (start.max(0) + AROUND).astype(int)
    labels = parts[top:bottom:GRID, left:right:GRID]
    places = np.argwhere(labels == labels)[:, ::-1].astype(np.float32) * GRID + np.array([left + 0.5, top + 0.5], np.float32)
    labels = labels.ravel()
    known = ~np.isin(labels, ABOVE[part])
    places, wanted = places[known], (labels[known] == part).astype(np.float32)
    width = HALF_WIDTHS[part in LEGS]
    chain = start
    for step in (4.0, 2.0, 1.0):
        offsets = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), axis=-1).reshape(-1, 2).astype(np.float32) * step
        offsets = offsets[np.argsort(np.abs(offsets).sum(1), kind="stable")]  # the first is none
        for joint in (2, 1, 2, 1):
            tried = np.repeat(chain[None], len(offsets), axis=0)
            tried[:, joint] += offsets
            stretched = np.abs(np.linalg.norm(np.diff(tried, axis=1), axis=2) - bones)
            strain = np.square(np.maximum(stretched - FREE, 0)).sum(1)
            chain = tried[int((np.abs(covered(places, tried, width, foot) - wanted).sum(1) + STRAIN * strain).argmin())]
    return chain


def is_straight(chain):
    """Whether nothing is seen of where its middle joint is along it."""
    upper, lower = chain[1] - chain[0], chain[2] - chain[1]
    return float(upper @ lower) > BENT * np.linalg.norm(upper) * np.linalg.norm(lower)


def joints_of(frame, given, index):
    """{point: how far its joint is away in pixels}; infinite where its part is not found."""
    parts, points = parts_of(frame, given), given.points[index]
    found = {}
    head = np.argwhere(parts == 0)[:, ::-1] + 0.5
    found[NOSE] = float(np.linalg.norm(np.median(head, axis=0) - points[NOSE])) if len(head) >= LEAST_PIXELS else np.inf
    for part, (root, middle, end) in LIMBS.items():
        if np.count_nonzero(parts == part) < LEAST_PIXELS:
            found[middle] = found[end] = np.inf
            continue
        start = points[[root, middle, end]]
        chain = fit_chain(parts, part, start, points[TOES[part]] - points[end] if part in TOES else None)
        found[end] = float(np.linalg.norm(chain[2] - points[end]))
        found[middle] = float(np.linalg.norm(chain[1] - points[middle]))
        if is_straight(start):
            lines = (to_lines(points[middle][None], chain[None, i], chain[None, i + 1]) for i in (0, 1))
            found[middle] = float(np.sqrt(min(line.item() for line in lines)))
    return found


def core(points, part):
    """Where a part has to be seen: x and y [N, 2] in its middle."""
    share = np.linspace(0.15, 0.95, 9)[:, None]
    if part == 0:
        across = np.array([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
        up = (points[NOSE] - points[NECK]) / max(np.linalg.norm(points[NOSE] - points[NECK]), 1e-6)
        return points[NOSE] + 6.5 * up + across
    if part == 1:
        root = points[list(HIPS)].mean(0)
        return points[NECK] + np.linspace(0.2, 0.8, 9)[:, None] * (root - points[NECK])
    a, b, c = points[list(LIMBS[part])]
    return np.concatenate([b + share * (c - b)] if part in LEGS else [a + share * (b - a), b + share * (c - b)])


def seen_of(points, part):
    """Those of core() over which no other limb lies."""
    places = core(points, part)
    bones = [points[[a, b]] for limb in ABOVE[part] if limb in LIMBS for a, b in zip(LIMBS[limb][:-1], LIMBS[limb][1:])]
    if not bones:
        return places
    starts, ends = np.stack(bones, axis=1)
    return places[to_lines(places, starts, ends).min(0) > HIDDEN ** 2]


def colours_right(frame, given, index):
    """Which of the six parts have the picture's colours, where other limbs do not hide them."""
    result = []
    for part in range(6):
        places = seen_of(given.points[index], part)
        if not len(places):
            result.append(True)  # there is nothing to be right or wrong
            continue
        x, y = (np.clip(places[:, axis].astype(int), 0, frame.shape[1 - axis] - 1) for axis in (0, 1))
        seen = np.median(frame[y, x].astype(np.float64), axis=0)
        away = np.sqrt(np.square(given.colours - seen).mean(1))
        result.append(bool(away.argmin() == part and away[part] <= MOST_COLOUR))
    return result


def psnr(frames, given):
    """dB of the scene outside the mask, over the video."""
    count = min(len(frames), len(given.outside))
    error = np.square(frames[:count].astype(np.float32) - given.scene)[given.outside[:count]].mean()
    return float(10 * np.log10(255 ** 2 / max(error, 1e-9)))


def judge(frames, given):
    """frames uint8 [T, H, W, 3] -> what is seen: shares of the frames in which all nine joints, and all six colours, are right; the dB of
    the scene; the joint that is wrong most often."""
    count = len(given.points)
    if len(frames) != count:
        return {"frames": len(frames), "joints": 0.0, "colours": 0.0, "scene": 0.0, "failed": ["frames"]}
    away = [joints_of(frame, given, index) for index, frame in enumerate(frames)]
    colours = [colours_right(frame, given, index) for index, frame in enumerate(frames)]
    wrong = {joint: float(np.mean([one[joint] > REACH for one in away])) for joint in away[0]}
    seen = {"frames": count, "joints": float(np.mean([max(one.values()) <= REACH for one in away])),
            "each_joint": 1 - float(np.mean(list(wrong.values()))), "colours": float(np.mean([all(one) for one in colours])),
            "worst_joint": max(wrong, key=wrong.get), "worst_part": int(np.argmin(np.mean(colours, axis=0)))}
    if given.outside is not None:
        seen["scene"] = psnr(frames, given)
    met = {"joints": seen["joints"] >= SHARE, "colours": seen["colours"] >= SHARE, "scene": seen.get("scene", np.inf) >= LEAST_PSNR}
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in seen.items()}
    return {**rounded, "failed": [name for name, is_met in met.items() if not is_met]}


def summary(every):
    """Of several videos, all of the same length."""
    scenes = [seen["scene"] for seen in every if "scene" in seen]
    result = {"videos": len(every), "right": sum(not seen["failed"] for seen in every),
              "joints": round(float(np.mean([seen["joints"] for seen in every])), 3),
              "each_joint": round(float(np.mean([seen.get("each_joint", 0.0) for seen in every])), 3),
              "colours": round(float(np.mean([seen["colours"] for seen in every])), 3)}
    if scenes:
        result["scene"] = {"mean": round(float(np.mean(scenes)), 2), "lowest": min(scenes)}
    return result


def reached(total):
    """Whether a summary meets the limits: joints and colours in SHARE of all frames, every scene within LEAST_PSNR."""
    return total["joints"] >= SHARE and total["colours"] >= SHARE and total.get("scene", {"lowest": LEAST_PSNR})["lowest"] >= LEAST_PSNR
