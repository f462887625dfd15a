"""The cases that character animation is judged by: thirty lively pose sequences, characters and scenes, none of them trained, as the
folders that the official preprocessing leaves. Needs the ffmpeg program."""

import functools
import subprocess
from dataclasses import dataclass

import numpy as np
import torch

from . import animate_clips, figures, pose_drawing
from .animate_dit import FACE
from .animate_judge import Given
from .animate_sampler import given_of, levels
from .evaluate_i2v import write_image

COUNT = 30
FRAMES = 41  # two clips
SEED = 20270
LIVELY = 24.0  # pixels that some joint of a case goes at least


@dataclass(frozen=True)
class Case:
    name: str
    replaces: bool
    given: Given
    videos: dict  # {file: uint8 [T, H, W, 3]}
    picture: np.ndarray


@functools.cache
def numbers():
    """The first COUNT sequences in which someone moves: some stand still in this world, and show nothing."""
    found = []
    number = 0
    while len(found) < COUNT:
        points = animate_clips.draw_scenes_and_figures(1, FRAMES, torch.Generator().manual_seed(SEED + number), "cpu", size=8)["points"][0]
        if (points.amax(0) - points.amin(0)).amax() >= LIVELY:
            found.append(number)
        number += 1
    return tuple(found)


def write_video(frames, path, crf=23):
    """As the official preprocessing writes them."""
    height, width = frames.shape[1:3]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(figures.FPS),
                    "-i", "-", "-c:v", "libx264", "-preset", "medium", "-crf", str(crf), "-pix_fmt", "yuv420p", str(path)],
                   input=np.ascontiguousarray(frames).tobytes(), check=True)


def write_folder(case, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in case.videos.items():
        write_video(frames, folder / f"src_{name}.mp4")
    write_image(folder / "src_ref.png", case.picture)


def make(number, replaces, frames=FRAMES, seed=SEED):
    generator = torch.Generator().manual_seed(seed + number)
    drawn = animate_clips.draw_scenes_and_figures(1, frames, generator, "cpu")
    picture = levels(animate_clips.draw_picture(drawn, torch.tensor([replaces]))[:, :, None])[0, 0]
    points, looks = drawn["points"], drawn["looks"]
    driver = animate_clips.draw_driver(drawn)
    faces = figures.cut_faces(driver, figures.face_boxes(points, looks.radius), FACE)
    videos = {"pose": pose_drawing.to_bytes(pose_drawing.draw_poses(points)[0]), "face": levels(faces.transpose(1, 2))[0]}
    mask = animate_clips.boxes(points[0])
    if replaces:
        videos["bg"] = levels(animate_clips.masked_scene(drawn["scene"], mask[None]))[0]
        videos["mask"] = np.zeros((frames, figures.SIZE, figures.SIZE, 3), np.uint8)
        videos["mask"][..., 0] = 255 * mask.numpy()
    given = given_of(drawn, 0, replaces)
    return Case(f"{number:02d}_{'replaces' if replaces else 'alone'}", replaces, given, videos, picture)


def driving_video(number, frames=FRAMES, seed=SEED):
    """The video that a sequence's poses and faces are of: uint8 [T, H, W, 3]."""
    drawn = animate_clips.draw_scenes_and_figures(1, frames, torch.Generator().manual_seed(seed + number), "cpu")
    return levels(animate_clips.draw_driver(drawn))[0]


def drawn_video(number, replaces, frames=FRAMES, points=None, colours=None):
    """What is asked for, drawn: uint8 [T, H, W, 3]; with other points [T, 20, 2] or other colours [6, 3], a wrong one."""
    generator = torch.Generator().manual_seed(SEED + number)
    drawn = animate_clips.draw_scenes_and_figures(1, frames, generator, "cpu")
    looks = drawn["looks"]
    if colours is not None:
        looks.colours = torch.tensor(colours, dtype=torch.float32)[None] / 127.5 - 1
    where = drawn["points"] if points is None else torch.tensor(points, dtype=torch.float32)[None]
    return levels(figures.draw_clips(looks, where, drawn["opening"], drawn["scene"])[0])[0]
