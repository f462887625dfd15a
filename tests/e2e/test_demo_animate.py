"""The bundled character animation demo: a figure moves as the poses say, in the picture's colours, alone or in a scene that stays."""

import json
import math
import unittest

from support import SOURCE, WanTest, read_png

CHECKPOINT = SOURCE / "models/demo-animate"
EXAMPLE = CHECKPOINT / "example"
REACH, SHARE, LEAST_PSNR = 6.0, 0.9, 30.0  # as tools/demo_model/animate_judge.py demands
MOST_COLOUR, NEAR_COLOUR = 40.0, 75.0  # as there: RMS of a part's colour; distance at which a pixel counts for a part
ROUND = 5.0  # pixels that the end of a limb reaches past its joint
LEAST_PIXELS = 25


class Frame:
    """Which pixels are whose, by the parts' colours."""

    def __init__(self, path, colours):
        self.width, self.height, pixels, _ = read_png(path)
        self.rows = [[tuple(pixels[3 * (y * self.width + x) :][:3]) for x in range(self.width)] for y in range(self.height)]
        self.colours = colours
        self.parts = [[] for _ in colours]
        for y, row in enumerate(self.rows):
            for x, pixel in enumerate(row):
                away = [math.dist(pixel, colour) for colour in colours]
                nearest = min(away)
                if nearest < NEAR_COLOUR:
                    self.parts[away.index(nearest)].append((x, y))

    def near(self, part, middle, reach):
        """The part's pixels that are not far from where it should be: others are of the scene."""
        return [place for place in self.parts[part] if math.dist(place, middle) < reach]

    def has_colour(self, part, places):
        """Whether the median there is the part's colour. What other parts hide has no places."""
        if not places:
            return True
        seen = [sorted(self.rows[y][x][channel] for x, y in places)[len(places) // 2] for channel in range(3)]
        away = [math.dist(seen, colour) / math.sqrt(3) for colour in self.colours]
        return away[part] == min(away) and away[part] <= MOST_COLOUR


class DemoAnimate(WanTest):
    def animate(self, name, *options, source=("--src_root_path", EXAMPLE)):
        folder = self.folder / name
        folder.mkdir()
        result = self.run_wan("generate", "--task", "animate-14B", "--ckpt_dir", CHECKPOINT, *source, "--base_seed", "1",
                              "--threads", "1", "--save_file", folder / "%05d.png", *options)
        self.assertEqual(result.status, 0, result.err)
        wanted = json.loads((EXAMPLE / "points.json").read_text())
        files = sorted(folder.iterdir())
        self.assertEqual(len(files), len(wanted["frames"]))
        return [(Frame(path, wanted["colours"]), parts) for path, parts in zip(files[::3], wanted["frames"][::3])], wanted

    def shares(self, frames, other=None):
        """Of the frames: those in which every part is where it is asked for, and those in which all have their colours."""
        there, coloured = [], []
        for number, (frame, parts) in enumerate(frames):
            asked = other[number] if other else parts
            there.append(all(self.is_there(frame, part, one) for part, one in enumerate(asked)))
            coloured.append(all(frame.has_colour(part, one["seen"]) for part, one in enumerate(asked)))
        return sum(there) / len(there), sum(coloured) / len(coloured)

    def is_there(self, frame, part, one):
        pixels = frame.near(part, one["middle"], 32)
        if len(pixels) < LEAST_PIXELS:
            return False
        middle = [sum(place[axis] for place in pixels) / len(pixels) for axis in (0, 1)]
        right = math.dist(middle, one["middle"]) <= REACH
        if "end" in one:
            right &= min(math.dist(place, one["end"]) for place in pixels) <= REACH
            farthest = max(math.dist(place, one["root"]) for place in pixels)
            right &= farthest <= math.dist(one["root"], one["end"]) + ROUND + REACH or math.dist(one["root"], one["end"]) < 20
        return right

    def check(self, frames):
        there, coloured = self.shares(frames)
        self.assertGreaterEqual(there, SHARE)
        self.assertGreaterEqual(coloured, SHARE)
        late = [parts for _, parts in frames[3:]] + [parts for _, parts in frames[:3]]
        self.assertLess(self.shares(frames, late)[0], SHARE / 2, "any pose would do")

    def test_the_figure_moves_as_the_poses_say(self):
        frames, _ = self.animate("alone")
        self.check(frames)

    def test_the_figure_moves_as_somebody_in_a_raw_video(self):
        raw = ("--video", EXAMPLE / "driver.mp4", "--image", EXAMPLE / "src_ref.png", "--resolution_area", "128", "128", "--fps", "16")
        frames, _ = self.animate("raw", source=raw)
        self.check(frames)

    def test_the_figure_stands_in_a_scene_that_stays(self):
        frames, wanted = self.animate("replaces", "--replace_flag")
        self.check(frames)
        scene = wanted["scene"]
        left, top, right, bottom = wanted["box"]
        for frame, _ in frames:
            places = [(x, y) for y in range(frame.height) for x in range(frame.width) if not (left <= x <= right and top <= y <= bottom)]
            self.assertGreater(len(places), 0.15 * frame.width * frame.height)
            error = sum((frame.rows[y][x][channel] - scene[y // 8][x // 8][channel]) ** 2 for x, y in places for channel in range(3))
            self.assertGreater(10 * math.log10(255**2 * 3 * len(places) / max(error, 1)), LEAST_PSNR)


if __name__ == "__main__":
    unittest.main()
