"""Videos that begin with an image: sizes, first and last frames, refusals, and runs that go on without the image."""

import json
import shutil
import signal
import subprocess
import unittest

from support import (BAD_FILE, CANCELLED, CHECKPOINT, INVALID_ARGUMENT, UNPACKED, WAN, WanTest, environment,
                     generate_arguments, read_mp4, read_npy, read_safetensors, write_png)

GOLDEN = UNPACKED / "pipeline"
LANDSCAPE, PORTRAIT = GOLDEN / "landscape.png", GOLDEN / "portrait.png"  # 150x102, 21x34
I2V = {"checkpoint": GOLDEN / "checkpoint_i2v", "task": "i2v-A14B", "size": "48*48"}
TI2V = {"checkpoint": GOLDEN / "checkpoint_ti2v", "task": "ti2v-5B", "size": "32*64"}


class Images(WanTest):
    def condition(self, name, **options):
        """mask [4][F] of the first pixel, and all values, of an I2V dump."""
        self.generate(save_file=f"{name}_%d.png", dump=name, frame_num="9", **{**I2V, **options})
        dumped = read_npy(self.folder / name / "condition.npy")
        channels, frames, height, width = dumped.shape
        self.assertEqual((channels, frames), (20, 3))
        plane = height * width
        mask = [[dumped.values[(c * frames + f) * plane] for f in range(frames)] for c in range(4)]
        for c in range(4):
            for f in range(frames):
                values = dumped.values[(c * frames + f) * plane : (c * frames + f + 1) * plane]
                self.assertEqual(set(values), {mask[c][f]})
        return mask, dumped.values

    def test_size_follows_the_image(self):
        for options, image, expected in ((I2V, LANDSCAPE, (48, 32)), ({**I2V, "size": "48*64"}, PORTRAIT, (32, 64)),
                                         (TI2V, LANDSCAPE, (64, 32))):
            self.generate(save_file="video.mp4", image=image, **options)
            movie = read_mp4(self.folder / "video.mp4")
            self.assertEqual((movie.width, movie.height, movie.frames), (*expected, 5))
            self.assertEqual(movie.metadata["image"], str(image))
            self.assertEqual(movie.metadata["area"], options["size"])

    def test_mask_says_which_frames_are_given(self):
        first, first_values = self.condition("first", image=LANDSCAPE)
        last, last_values = self.condition("last", last_image=LANDSCAPE)
        both, both_values = self.condition("both", image=LANDSCAPE, last_image=PORTRAIT)
        self.assertEqual(first, [[1, 0, 0]] * 4)
        self.assertEqual(last, [[0, 0, 0]] * 3 + [[0, 0, 1]])
        self.assertEqual(both, [[1, 0, 0]] * 3 + [[1, 0, 1]])
        self.assertTrue((self.folder / "both/last_image.npy").exists())
        self.assertEqual(read_npy(self.folder / "both/last_image.npy").shape, (3, 32, 48))
        # Causal: what the clip ends with changes nothing before its last latent frame.
        plane = 4 * 6
        for channel in range(4, 20):
            start = channel * 3 * plane
            self.assertEqual(both_values[start : start + 2 * plane], first_values[start : start + 2 * plane])
            self.assertNotEqual(both_values[start + 2 * plane : start + 3 * plane],
                                first_values[start + 2 * plane : start + 3 * plane])
        self.assertNotEqual(first_values[4 * 3 * plane :], last_values[4 * 3 * plane :])

    def test_last_image_of_another_shape_is_cropped_at_its_middle(self):
        inner = lambda x, y: (8 * x % 256, 16 * y % 256, 100)
        write_png(self.folder / "exact.png", 48, 32, inner)
        # Eight columns of white at each side, which the crop takes away.
        write_png(self.folder / "wide.png", 64, 32, lambda x, y: inner(x - 8, y) if 8 <= x < 56 else (255, 255, 255))
        frames = []
        for name in ("exact", "wide"):
            self.condition(name, image=LANDSCAPE, last_image=f"{name}.png")
            frames.append(read_npy(self.folder / name / "last_image.npy").values)
        self.assertEqual(frames[0], frames[1])

    def test_first_latent_frame_of_ti2v_stays_the_image(self):
        self.generate(save_file="f_%d.png", dump="dump", image=LANDSCAPE, **TI2V)
        condition = read_npy(self.folder / "dump/condition.npy")
        latents = read_npy(self.folder / "dump/latents.npy")
        self.assertEqual(condition.shape, (48, 1, 2, 4))
        self.assertEqual(latents.shape, (48, 2, 2, 4))
        for channel in range(48):
            self.assertEqual(latents.values[channel * 16 : channel * 16 + 8],
                             condition.values[channel * 8 : channel * 8 + 8])

    def test_prompt_may_be_empty_beside_an_image(self):
        self.generate(save_file="a_%d.png", image=LANDSCAPE, prompt="", **I2V)
        result = self.run_wan(*generate_arguments(save_file="b.mp4", image=LANDSCAPE, prompt=None, **I2V))
        self.assert_refused(result, INVALID_ARGUMENT, "--prompt is missing")
        result = self.run_wan(*generate_arguments(save_file="b.mp4", prompt="", **TI2V))
        self.assert_refused(result, INVALID_ARGUMENT, "--prompt is empty")

    def test_refusals(self):
        (self.folder / "text.png").write_text("no image")
        (self.folder / "cut.png").write_bytes(LANDSCAPE.read_bytes()[:200])
        write_png(self.folder / "line.png", 2000, 1, lambda x, y: (0, 0, 0))
        for options, status, words in (
            (I2V, INVALID_ARGUMENT, ["--image is missing"]),
            ({**I2V, "image": "nowhere.jpg"}, BAD_FILE, ["nowhere.jpg"]),
            ({**I2V, "image": "."}, BAD_FILE, ["."]),
            ({**I2V, "image": "text.png"}, BAD_FILE, ["text.png", "PNG"]),
            ({**I2V, "image": "cut.png"}, BAD_FILE, ["cut.png"]),
            ({**I2V, "image": "line.png"}, INVALID_ARGUMENT, ["aspect ratio"]),
            ({**TI2V, "image": "line.png"}, INVALID_ARGUMENT, ["aspect ratio"]),
            ({**I2V, "image": LANDSCAPE, "last_image": "nowhere.png"}, BAD_FILE, ["nowhere.png"]),
            ({**I2V, "image": LANDSCAPE, "last_image": PORTRAIT, "frame_num": "1"}, INVALID_ARGUMENT,
             ["--last_image", "--frame_num 1"]),
            ({**TI2V, "last_image": LANDSCAPE}, INVALID_ARGUMENT, ["--last_image: ti2v-5B", "i2v-A14B"]),
            ({**TI2V, "task": "i2v-A14B", "image": LANDSCAPE}, INVALID_ARGUMENT, ["Wan2.2-TI2V-5B", "--task ti2v-5B"]),
            ({**TI2V, "size": "48*64"}, INVALID_ARGUMENT, ["--size 48*64", "multiples of 32"]),
            ({**TI2V, "audio": "a.wav"}, INVALID_ARGUMENT, ["--audio", "s2v-14B"]),
        ):
            with self.subTest(**options):
                self.assert_refused(self.run_wan(*generate_arguments(save_file="video.mp4", **options)), status, *words)

    def test_checkpoints_of_mixed_parts_are_refused(self):
        mixed = self.folder / "mixed"
        shutil.copytree(I2V["checkpoint"], mixed)
        shutil.rmtree(mixed / "high_noise_model")
        shutil.copytree(CHECKPOINT / "high_noise_model", mixed / "high_noise_model")
        result = self.run_wan(*generate_arguments(save_file="a.mp4", **{**I2V, "checkpoint": mixed, "image": LANDSCAPE}))
        self.assert_refused(result, BAD_FILE, "do not belong together")

    def interrupt(self, video, **options):
        arguments = generate_arguments(json=True, save_file=video, sample_steps="400", sample_solver="euler", **options)
        process = subprocess.Popen([WAN, *arguments], cwd=self.folder, env=environment(), stdout=subprocess.PIPE,
                                   text=True)
        for line in process.stdout:
            if json.loads(line).get("step", 0) == 2:
                process.send_signal(signal.SIGINT)
        process.stdout.close()
        self.assertEqual(process.wait(timeout=60), CANCELLED)

    def test_interrupted_runs_go_on_without_the_image(self):
        for name, options in (("i2v", I2V), ("ti2v", TI2V)):
            with self.subTest(task=name):
                image = self.folder / f"{name}.png"
                shutil.copy(LANDSCAPE, image)
                run = {**options, "image": image, "sample_steps": "400", "sample_solver": "euler"}
                self.generate(save_file=f"{name}-whole.mp4", **run)
                run.pop("sample_steps"), run.pop("sample_solver")
                self.interrupt(f"{name}.mp4", **run)
                kept = f"{name}.mp4.latents.safetensors"
                self.assertIn("condition", read_safetensors(self.folder / kept)[0])
                image.unlink()
                result = self.run_wan("generate", "--task", options["task"], "--ckpt_dir", options["checkpoint"],
                                      "--from_latents", kept, "--save_file", f"{name}.mp4", "--threads", "1")
                self.assertEqual(result.status, 0, result.err)
                self.assertEqual((self.folder / f"{name}.mp4").read_bytes(),
                                 (self.folder / f"{name}-whole.mp4").read_bytes())

    def test_streamed_and_tiled_runs_fit_into_less(self):
        plans = []
        for room in (1_000_000_000, 18_000_000):  # beside the program itself
            limit = room + (plans[0]["program"] if plans else 0)
            result = self.generate("--plan", json=True, save_file="video.mp4", image=LANDSCAPE,
                                   memory_limit=f"{limit}B", **{**I2V, "size": "480*320"})
            plans.append(json.loads(result.out))
        self.assertTrue(plans[0]["blocks_resident"])
        smaller, larger = (plan["peak"] - plan["program"] for plan in reversed(plans))
        self.assertLess(smaller, larger)


if __name__ == "__main__":
    unittest.main()
