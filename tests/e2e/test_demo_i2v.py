"""The bundled image-to-video demo: videos begin with the picture, and its shape goes where the prompt says."""

import math
import unittest

from support import SOURCE, WanTest, read_png

CHECKPOINT = SOURCE / "models/demo-i2v"
PICTURE = CHECKPOINT / "red_circle.png"  # in the middle, on blue
LEAST_PSNR = 28.0  # dB
SHORTEST_WAY = 8.0  # pixels


def psnr(a, b):
    return 10 * math.log10(255 ** 2 * len(a) / max(1e-9, sum((x - y) ** 2 for x, y in zip(a, b))))


def centre_of_red(width, pixels):
    """(x, y) of the middle of all pixels that are more red than blue."""
    places = [(i % width, i // width) for i in range(len(pixels) // 3) if pixels[3 * i] > pixels[3 * i + 2]]
    return sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places)


class DemoI2v(WanTest):
    def test_first_frame_and_direction(self):
        width, height, picture, _ = read_png(PICTURE)
        for direction, (dx, dy) in {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}.items():
            with self.subTest(direction):
                frames = self.folder / direction
                frames.mkdir()
                result = self.run_wan("generate", "--task", "i2v-A14B", "--ckpt_dir", CHECKPOINT, "--image", PICTURE,
                                      "--prompt", f"a red circle moves {direction} on a blue background",
                                      "--base_seed", "1", "--threads", "1", "--save_file", frames / "%05d.png")
                self.assertEqual(result.status, 0, result.err)
                self.assertEqual(len(list(frames.iterdir())), 17)
                first, last = (read_png(frames / f"{number:05d}.png") for number in (0, 16))
                self.assertEqual(first[:2], (width, height))
                self.assertGreater(psnr(first[2], picture), LEAST_PSNR)
                (x0, y0), (x1, y1) = (centre_of_red(width, frame[2]) for frame in (first, last))
                along, across = (x1 - x0) * dx + (y1 - y0) * dy, (x1 - x0) * dy + (y1 - y0) * dx
                self.assertGreater(along, SHORTEST_WAY)
                self.assertLess(abs(across), along / 2)


if __name__ == "__main__":
    unittest.main()
