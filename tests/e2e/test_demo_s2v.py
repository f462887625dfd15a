"""The bundled speech-to-video demo: the mouth follows the sound, the rest is the given picture."""

import math
import struct
import unittest
import wave

from support import SOURCE, WanTest, read_png

CHECKPOINT = SOURCE / "models/demo-s2v"
PICTURE, SOUND = CHECKPOINT / "face.png", CHECKPOINT / "hello.wav"
RATE = 16  # frames a second
HELD = 3  # frames that stand for those left out
DARKER = 60  # grey levels by which a mouth is darker than the skin that it opened in
LEAST_CORRELATION, MOST_LAG, LEAST_PSNR = 0.8, 1, 26.0  # as tools/demo_model/speech_judge.py demands
WINDOW, EXPONENT = 0.16, 0.6  # as there: seconds of sound that count for a frame, and how loud it is perceived


def grey(pixels):
    return [(3 * red + 6 * green + blue) / 10 for red, green, blue in zip(pixels[::3], pixels[1::3], pixels[2::3])]


def read_sound(path):
    with wave.open(str(path)) as file:
        samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
        return samples, file.getframerate()


def loudness(samples, rate, frames):
    """Of each frame, in its middle."""
    half = round(WINDOW * rate / 2)
    window = [0.5 + 0.5 * math.cos(math.pi * i / half) for i in range(-half, half + 1)]
    result = []
    for frame in range(frames):
        middle = round((frame + 0.5) / RATE * rate)
        power = sum(weight * samples[middle + i] ** 2 for weight, i in zip(window, range(-half, half + 1))
                    if 0 <= middle + i < len(samples))
        result.append((power / sum(window)) ** (EXPONENT / 2))
    return result


def correlation(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    products = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    return products / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b) + 1e-9)


def late(opening, loud, frames):
    """The correlation with the mouth so many frames late."""
    return correlation(opening[max(0, frames) : len(opening) + min(0, frames)], loud[max(0, -frames) : len(loud) + min(0, -frames)])


class DemoS2v(WanTest):
    def speak(self, name, sound):
        """Greys of each frame, [frames][pixels], from the fourth on."""
        folder = self.folder / name
        folder.mkdir()
        result = self.run_wan("generate", "--task", "s2v-14B", "--ckpt_dir", CHECKPOINT, "--image", PICTURE, "--audio", sound,
                              "--prompt", "A face talks.", "--num_clip", "1", "--base_seed", "1", "--threads", "1",
                              "--infer_frames", "44", "--sample_steps", "6", "--save_file", folder / "%05d.png")
        self.assertEqual(result.status, 0, result.err)
        samples, rate = read_sound(sound)
        count = math.ceil(len(samples) / rate * RATE)
        files = sorted(folder.iterdir())
        self.assertGreaterEqual(len(files), count)
        return [grey(read_png(path)[2]) for path in files[HELD:count]]

    def test_the_mouth_follows_the_sound_and_the_rest_stays(self):
        width, height, pixels, _ = read_png(PICTURE)
        given = grey(pixels)
        frames = self.speak("spoken", SOUND)
        samples, rate = read_sound(SOUND)
        loud = loudness(samples, rate, HELD + len(frames))[HELD:]
        mouths = [[i for i, (level, before) in enumerate(zip(frame, given)) if level < before - DARKER] for frame in frames]
        opening = [len(mouth) for mouth in mouths]
        self.assertGreater(max(opening), 100)
        silent = [width for width, heard in zip(opening, loud) if heard < 0.02 * max(loud)]
        self.assertLess(sorted(silent)[len(silent) // 2], 0.25 * max(opening), "it does not close in the silence at the end")
        self.assertGreaterEqual(correlation(opening, loud), LEAST_CORRELATION)
        self.assertLessEqual(abs(max(range(-6, 7), key=lambda lag: late(opening, loud, lag))), MOST_LAG)
        self.assertLess(correlation(opening[::-1], loud), 0.6, "any sound would do")

        # What lies eight pixels and more from where the mouth was ever open, or is in the picture.
        every = set().union(*mouths)
        left, right = min(i % width for i in every) - 8, max(i % width for i in every) + 8
        top, bottom = min(i // width for i in every) - 8, max(i // width for i in every) + 8
        still = [i for i in range(width * height) if not (left <= i % width <= right and top <= i // width <= bottom)]
        self.assertGreater(len(still), 0.6 * width * height)
        for frame in frames[::6]:
            error = sum((frame[i] - given[i]) ** 2 for i in still) / len(still)
            self.assertGreater(10 * math.log10(255**2 / max(error, 1e-9)), LEAST_PSNR)


if __name__ == "__main__":
    unittest.main()
