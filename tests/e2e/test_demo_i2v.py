"""The bundled image-to-video demo: videos begin or end with the given pictures; the shape goes where the prompt says."""

import math
import unittest

from support import SOURCE, WanTest, psnr, read_png, write_png

CHECKPOINT = SOURCE / "models/demo-i2v"
PICTURE = CHECKPOINT / "red_circle.png"  # in the middle, on blue
LEAST_PSNR = 28.0  # dB
LEAST_PSNR_ELSEWHERE = 26.0  # dB: in colours outside the demo's palette, and of the last frame
SIDE, RADIUS = 128, 28.0  # pixels
SHORTEST_WAY = 8.0  # pixels
FEW = ("--sample_steps", "8")  # where the pictures matter and not how well the rest is made: 31 dB and more all the same


def centre_of_red(width, pixels):
    """(x, y) of the middle of all pixels that are more red than blue."""
    places = [(i % width, i // width) for i in range(len(pixels) // 3) if pixels[3 * i] > pixels[3 * i + 2]]
    return sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places)


def draw_disc(path, colour, ground, x, y):
    """A disc round (x, y), its edge smooth, as a PNG file; returns the file's pixels."""
    def pixel(column, row):
        cover = min(1.0, max(0.0, 0.5 + RADIUS - math.hypot(column + 0.5 - x, row + 0.5 - y)))
        return tuple(round(below + cover * (above - below)) for above, below in zip(colour, ground))
    write_png(path, SIDE, SIDE, pixel)
    return read_png(path)[2]


class DemoI2v(WanTest):
    def ends(self, name, prompt, *options, count=17):
        """Pixels of the first and the last of so many frames made from these pictures."""
        frames = self.folder / name
        frames.mkdir()
        result = self.run_wan("generate", "--task", "i2v-A14B", "--ckpt_dir", CHECKPOINT, "--prompt", prompt, *options,
                              "--frame_num", str(count), "--base_seed", "1", "--threads", "1", "--save_file", frames / "%05d.png")
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(len(list(frames.iterdir())), count)
        ends = [read_png(frames / f"{number:05d}.png") for number in (0, count - 1)]
        self.assertEqual([end[:2] for end in ends], [(SIDE, SIDE)] * 2)
        return [end[2] for end in ends]

    def test_first_frame_and_direction(self):
        picture = read_png(PICTURE)[2]
        # To the right as the checkpoint asks for; elsewhere fewer frames after fewer steps go as far as they must.
        for direction, (dx, dy), options, count in (("right", (1, 0), (), 17), ("left", (-1, 0), FEW, 13), ("up", (0, -1), FEW, 13),
                                                    ("down", (0, 1), FEW, 13)):
            with self.subTest(direction):
                first, last = self.ends(direction, f"a red circle moves {direction} on a blue background",
                                        "--image", PICTURE, *options, count=count)
                self.assertGreater(psnr(first, picture), LEAST_PSNR)
                (x0, y0), (x1, y1) = (centre_of_red(SIDE, frame) for frame in (first, last))
                along, across = (x1 - x0) * dx + (y1 - y0) * dy, (x1 - x0) * dy + (y1 - y0) * dx
                self.assertGreater(along, SHORTEST_WAY)
                self.assertLess(abs(across), along / 2)

    def test_pure_colours_stay_as_they_are(self):
        pairs = {"red on blue": ((255, 0, 0), (0, 0, 255)), "cyan on yellow": ((0, 255, 255), (255, 255, 0))}
        for name, (colour, ground) in pairs.items():
            with self.subTest(name):
                picture = draw_disc(self.folder / f"{name}.png", colour, ground, 64, 64)
                shape, background = name.split(" on ")
                first, _ = self.ends(name, f"a {shape} circle moves up on a {background} background",
                                     "--image", f"{name}.png", *FEW, count=5)
                self.assertGreater(psnr(first, picture), LEAST_PSNR_ELSEWHERE)

    def test_the_last_frame_is_the_last_image(self):
        red, blue = (225, 35, 35), (35, 60, 225)  # the palette's
        prompt = "a red circle moves right on a blue background"
        begin, end = (draw_disc(self.folder / name, red, blue, x, 64) for name, x in (("begin.png", 44), ("end.png", 84)))
        first, last = self.ends("both", prompt, "--image", "begin.png", "--last_image", "end.png", *FEW)
        self.assertGreater(psnr(first, begin), LEAST_PSNR_ELSEWHERE)
        self.assertGreater(psnr(last, end), LEAST_PSNR_ELSEWHERE)
        first, last = self.ends("last", prompt, "--last_image", "end.png", *FEW, count=13)
        self.assertGreater(psnr(last, end), LEAST_PSNR_ELSEWHERE)
        self.assertLess(centre_of_red(SIDE, first)[0], centre_of_red(SIDE, last)[0] - SHORTEST_WAY)


if __name__ == "__main__":
    unittest.main()
