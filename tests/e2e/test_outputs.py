"""What a generation writes: MP4, PNG frames, a still, the dump; and that it is the same where it must be."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import unittest

from support import (CANCELLED, CHECKPOINT, INVALID_ARGUMENT, UNSUPPORTED, WAN, WanTest, environment, frame_values,
                     generate_arguments, read_mp4, read_npy, read_png)


LATENT_CHANNELS, TEXT_DIM, TEXT_LEN = 16, 64, 512


class Outputs(WanTest):
    def bytes_of(self, name, **options):
        self.generate(save_file=name, **options)
        return (self.folder / name).read_bytes()

    def frames_of(self, count=5, **options):
        self.generate(save_file="f_%05d.png", **options)
        return frame_values(self.folder, "f_%05d.png", count)

    def test_mp4(self):
        result = self.generate("--json", save_file="video.mp4", size="48*32", negative_prompt="",
                               sample_guide_scale="2,3")
        self.assertEqual(self.names(), ["video.mp4"])
        movie = read_mp4(self.folder / "video.mp4")
        self.assertEqual((movie.width, movie.height, movie.frames), (48, 32, 5))
        self.assertAlmostEqual(movie.seconds, 5 / 16, delta=0.002)
        self.assertLess(movie.order.index("moov"), movie.order.index("mdat"), "playable while it downloads")
        settings = next(event["values"] for event in result.events if event["event"] == "settings")
        expected = {"prompt": "a red circle moves right", "seed": "7", "model": "checkpoint", "sample_solver": "unipc",
                    "sample_steps": "3", "sample_guide_scale": "2,3", "size": "48*32", "precision": "fp32",
                    "vae_precision": "fp32"}
        for key, value in expected.items():
            self.assertEqual((settings[key], movie.metadata[key]), (value, value), key)
        self.assertEqual(settings["negative_prompt"], "")
        self.assertRegex(movie.metadata["version"], r"^wan\.cpp \d")

    @unittest.skipUnless(shutil.which("ffprobe"), "needs ffprobe")
    def test_mp4_as_ffprobe_sees_it(self):
        self.generate(save_file="video.mp4", size="48*32")
        probe = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json",
                                self.folder / "video.mp4"], capture_output=True, check=True)
        (stream,) = json.loads(probe.stdout)["streams"]
        expected = {"codec_name": "h264", "pix_fmt": "yuv420p", "width": 48, "height": 32, "avg_frame_rate": "16/1",
                    "nb_read_frames": "5", "color_range": "tv"}
        self.assertEqual({key: stream[key] for key in expected}, expected)
        for key in ("color_space", "color_transfer", "color_primaries"):
            self.assertIn(key, stream)

    def test_frames_and_dump_agree(self):
        self.generate(save_file="f_%05d.png", size="32*48", dump="dump")
        self.assertEqual(self.names(), ["dump"] + [f"f_{number:05d}.png" for number in range(5)])
        width, height, _, texts = read_png(self.folder / "f_00004.png")
        self.assertEqual((width, height), (32, 48))
        self.assertEqual(texts["seed"], "7")
        frames = read_npy(self.folder / "dump/frames.npy")
        self.assertEqual(frames.values.tobytes(), frame_values(self.folder, "f_%05d.png", 5))
        # The official code truncates (x + 1) / 2 * 255.
        floats = read_npy(self.folder / "dump/frames_float.npy")
        plane = 32 * 48
        for index in range(0, len(frames.values), 97):
            frame, rest = divmod(index, 3 * plane)
            pixel, channel = divmod(rest, 3)
            value = floats.values[(channel * 5 + frame) * plane + pixel]
            self.assertLessEqual(abs(value), 1.0)
            self.assertLessEqual(abs(frames.values[index] - int((value + 1) / 2 * 255)), 1)  # 1: rounding of the sum

    def test_ffmpeg_is_loaded_where_it_is_needed(self):
        def libraries_of(**options):
            result = self.generate(frame_num="1", sample_steps="1", env={"LD_DEBUG": "files"}, **options)
            return set(re.findall(r"calling init: \S*/(libav\w+\.so\.\d+)", result.err))
        self.assertEqual(libraries_of(save_file="still.png"), set())
        (codecs,) = (name for name in libraries_of(save_file="still.mp4") if name.startswith("libavcodec"))
        (self.folder / "broken").mkdir()
        (self.folder / "broken" / codecs).write_bytes(b"no library")
        broken = {"LD_LIBRARY_PATH": str(self.folder / "broken")}
        self.assert_refused(self.run_wan(*generate_arguments(save_file="other.mp4"), env=broken), UNSUPPORTED, codecs,
                            "apt-get install", "NAME_%05d.png")
        self.generate(save_file="still.png", frame_num="1", sample_steps="1", env=broken)

    def test_still(self):
        self.generate(save_file="still.png", frame_num="1", dump="dump")
        self.assertEqual(self.names(), ["dump", "still.png"])
        width, height, pixels, _ = read_png(self.folder / "still.png")
        self.assertEqual((width, height), (32, 32))
        self.assertEqual(read_npy(self.folder / "dump/frames.npy").values.tobytes(), pixels)
        self.generate(save_file="still.mp4", frame_num="1")
        self.assertEqual(read_mp4(self.folder / "still.mp4").frames, 1)

    def test_seed(self):
        first = self.bytes_of("video.mp4")
        self.assertEqual(self.bytes_of("again.mp4"), first)
        self.assertNotEqual(self.bytes_of("video.mp4", base_seed="8"), first)
        pixels = self.frames_of()
        self.assertNotEqual(self.frames_of(base_seed="8"), pixels)
        self.assertNotEqual(self.frames_of(prompt="a blue square"), pixels)
        self.assertNotEqual(self.frames_of(sample_solver="euler"), pixels)
        self.assertNotEqual(self.frames_of(rng="torch-cuda"), pixels)

    def test_drawn_seed_is_reported_and_repeats_the_video(self):
        result = self.generate("--json", save_file="a.mp4", base_seed=None)
        seed = next(event["values"]["seed"] for event in result.events if event["event"] == "settings")
        self.assertEqual(self.bytes_of("b.mp4", base_seed=seed), (self.folder / "a.mp4").read_bytes())

    def test_threads_and_residency_change_no_bit(self):
        pixels = self.frames_of(threads="1")
        self.assertEqual(self.frames_of(threads="2"), pixels)
        self.assertEqual(self.frames_of(residency="streamed"), pixels)
        self.assertEqual(self.frames_of(residency="resident"), pixels)

    def test_bf16_is_close(self):
        exact = self.frames_of()
        lossy = self.frames_of(precision="bf16")
        self.assertNotEqual(lossy, exact)
        self.assertEqual(self.frames_of(convert_model_dtype=True), lossy)
        # Products in bf16 keep 8 bits: a few grey levels after three steps and the VAE. Another prompt is much further.
        error = sum(abs(a - b) for a, b in zip(exact, lossy)) / len(exact)
        self.assertLess(error, 4.0)

    def test_a_vae_in_bf16_is_close(self):
        exact = self.frames_of()
        lossy = self.frames_of(vae_precision="bf16")
        self.assertNotEqual(lossy, exact)
        # 40 dB of 255 levels, frames of random weights, are an error of 2.5 levels.
        error = sum((a - b) ** 2 for a, b in zip(exact, lossy)) / len(exact)
        self.assertLess(error, 6.5)
        result = self.generate("--json", save_file="video.mp4", vae_precision="bf16")
        settings = next(event["values"] for event in result.events if event["event"] == "settings")
        self.assertEqual(settings["vae_precision"], "bf16")
        self.assertEqual(read_mp4(self.folder / "video.mp4").metadata["vae_precision"], "bf16")

    def test_events(self):
        result = self.generate("--json", save_file="video.mp4")
        events = result.events
        self.assertEqual(result.err, "")
        phases = [event["phase"] for event in events if event["event"] == "phase_started"]
        self.assertEqual(phases, ["load", "text", "high_noise", "low_noise", "decode", "encode"])
        steps = [event["step"] for event in events if event["event"] == "progress" and "step" in event]
        self.assertEqual(steps, [1, 2, 3])
        self.assertEqual((events[-1]["event"], events[-1]["save_file"], events[-1]["frames"]),
                         ("finished", "video.mp4", 5))
        self.assertGreater(events[-1]["peak_host_bytes"], 1 << 20)

    def test_an_output_that_is_a_link_stays_one(self):
        (self.folder / "disk").mkdir()
        for name in ("video.mp4", "still.png"):
            (self.folder / name).symlink_to(f"disk/{name}")
            self.generate(save_file=name, frame_num="1")
            self.assertTrue((self.folder / name).is_symlink())
            self.assertGreater((self.folder / "disk" / name).stat().st_size, 100)
        self.assertEqual(sorted(path.name for path in (self.folder / "disk").iterdir()), ["still.png", "video.mp4"])

    def test_plain_progress(self):
        lines = self.generate(save_file="video.mp4").err.splitlines()
        for word in ("load:", "text:", "high noise: step", "low noise: step", "decode:", "saved video.mp4"):
            self.assertTrue([line for line in lines if line.startswith(word)], word)
        self.assertNotIn("\r", "".join(lines))


class Targets(WanTest):
    """What is under the outputs' names already."""

    def refuse(self, *words, **options):
        result = self.run_wan(*generate_arguments(**{"save_file": "video.mp4", **options}))
        self.assert_refused(result, INVALID_ARGUMENT, *words)

    def test_what_is_no_file_is_not_replaced(self):
        os.mkfifo(self.folder / "pipe")
        links = ["pipe.mp4", "pipe_2.png", "pipe.safetensors"]
        for name in links:
            (self.folder / name).symlink_to("pipe")
        # A device of our own: root could lose that of the machine.
        try:
            os.mknod(self.folder / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        except PermissionError:
            os.mkfifo(self.folder / "device")
        kind = "a device" if stat.S_ISCHR((self.folder / "device").stat().st_mode) else "a pipe"
        (self.folder / "full.mp4").symlink_to("device")
        before = self.names()
        self.refuse("cannot write pipe.mp4: it is a pipe; name a regular file", save_file="pipe.mp4")
        self.refuse("cannot write pipe_2.png: it is a pipe", save_file="pipe_%d.png")
        self.refuse(f"cannot write full.mp4: it is {kind};", save_file="full.mp4")
        self.refuse("cannot write pipe.safetensors: it is a pipe", save_latents="pipe.safetensors")
        self.refuse("--dump pipe: it is a file; name a folder", dump="pipe")
        self.assertEqual(self.names(), before)
        self.assertTrue((self.folder / "pipe").is_fifo())

    def test_what_is_no_file_in_a_dump_is_not_replaced(self):
        self.generate(save_file="f_%d.png", dump="dump")
        for name in ("latents.npy", "manifest.json"):
            path, aside = self.folder / "dump" / name, self.folder / "aside"
            path.rename(aside)
            os.mkfifo(path)
            self.refuse(f"dump/{name}" if name == "latents.npy" else "--dump dump", dump="dump")
            self.assertTrue(path.is_fifo())
            path.unlink()
            aside.rename(path)
        for path in (self.folder / "dump").glob("*.npy"):
            path.unlink()
        (self.folder / "dump/manifest.json").unlink()
        os.mkfifo(self.folder / "dump/manifest.json")
        self.refuse("cannot write dump/manifest.json: it is a pipe", dump="dump")
        (self.folder / "dump/manifest.json").unlink()
        (self.folder / "dump/taps").write_text("mine")
        self.refuse("--dump dump", "taps", dump="dump")
        (self.folder / "nowhere").symlink_to("missing")
        self.refuse("--dump nowhere: it is a link to nothing", dump="nowhere")

    def test_a_dumps_name_may_end_in_a_slash(self):
        self.generate(save_file="f_%d.png", dump="dump/")
        self.assertTrue((self.folder / "dump/manifest.json").exists())

    def test_permissions_and_other_names_stay(self):
        for name, options in (("video.mp4", {}), ("f_1.png", {"save_file": "f_%d.png"}),
                              ("kept.safetensors", {"save_file": "f_%d.png", "save_latents": "kept.safetensors"})):
            with self.subTest(name):
                path, other = self.folder / name, self.folder / "other name"
                path.write_text("old")
                path.chmod(0o600)
                self.generate(**{"save_file": "video.mp4", **options})
                self.assertEqual(path.stat().st_mode & 0o777, 0o600)
                first = path.read_bytes()
                self.assertGreater(len(first), 100)
                os.link(path, other)
                self.generate(**{"save_file": "video.mp4", **options, "base_seed": "8"})
                self.assertTrue(other.samefile(path))
                self.assertNotEqual(other.read_bytes(), first)
                self.assertEqual(path.stat().st_mode & 0o777, 0o600)
                other.unlink()

    def test_an_output_is_not_another_ones_file(self):
        self.generate(save_file="video.mp4", save_latents="kept.safetensors")
        (self.folder / "here").symlink_to(".")
        (self.folder / "link.mp4").symlink_to("here/kept.safetensors")
        (self.folder / "new.mp4").symlink_to("new.safetensors")
        os.link(self.folder / "video.mp4", self.folder / "hard.safetensors")
        before = {name: (self.folder / name).read_bytes() for name in ("video.mp4", "kept.safetensors")}
        self.refuse("--save_file link.mp4 would overwrite --from_latents kept.safetensors", save_file="link.mp4",
                    from_latents="kept.safetensors", prompt=None, size=None,
                    frame_num=None, sample_steps=None, base_seed=None)
        self.refuse("--save_latents here/kept.safetensors would overwrite --save_file link.mp4", save_file="link.mp4",
                    save_latents="here/kept.safetensors")
        self.refuse("--save_latents hard.safetensors would overwrite --save_file video.mp4",
                    save_latents="hard.safetensors")
        self.refuse("--save_latents here/new.safetensors would overwrite --save_file new.mp4", save_file="new.mp4",
                    save_latents="here/new.safetensors")
        self.refuse("--dump here/none.mp4 would overwrite --save_file none.mp4", save_file="none.mp4",
                    dump="here/none.mp4")
        checkpoint = self.copy_checkpoint()
        part = "high_noise_model/diffusion_pytorch_model.safetensors"
        self.refuse("--save_latents", "would overwrite the checkpoint's", part, ckpt_dir=checkpoint,
                    save_latents=checkpoint / part)
        self.assertEqual({name: (self.folder / name).read_bytes() for name in before}, before)

    def test_an_output_is_not_the_image(self):
        options = {"checkpoint": CHECKPOINT.parent / "checkpoint_i2v", "task": "i2v-A14B", "size": "48*48"}
        image = self.folder / "f_3.png"
        shutil.copy(CHECKPOINT.parent / "landscape.png", image)
        (self.folder / "link.png").symlink_to(image)
        before = image.read_bytes()
        for save_file, frames in (("link.png", "1"), ("./f_3.png", "1"), ("f_%d.png", "5")):
            for option in ("image", "last_image"):
                if option == "last_image" and frames == "1":
                    continue
                self.refuse(f"would overwrite --{option} f_3.png", save_file=save_file, frame_num=frames, **options,
                            **{option: "f_3.png"})
        self.assertEqual(image.read_bytes(), before)


class Dump(WanTest):
    def listed(self, steps, skipped=(), latent=(16, 2, 4, 4), frames=5, size=(32, 32), negative=True):
        width, height = size
        files = {"tokens_prompt": ("int64", (1, TEXT_LEN)), "mask_prompt": ("int64", (1, TEXT_LEN)),
                 "context_prompt": ("float32", None), "noise": ("float32", latent), "timesteps": ("int64", (steps,)),
                 "sigmas": ("float32", (steps + 1,)), "latents": ("float32", latent),
                 "frames_float": ("float32", (3, frames, height, width)),
                 "frames": ("uint8", (frames, height, width, 3))}
        if negative:
            files |= {"tokens_negative": ("int64", (1, TEXT_LEN)), "mask_negative": ("int64", (1, TEXT_LEN)),
                      "context_negative": ("float32", None)}
        for step in range(steps):
            for what in ("input", "cond", "uncond", "guided", "latent"):
                if what != "uncond" or step not in skipped:
                    files[f"step_{step:02d}_{what}"] = ("float32", latent)
            files[f"step_{step:02d}_timestep"] = ("int64", (1,))
        return files

    def assert_dumped(self, files):
        folder = self.folder / "dump"
        self.assertEqual(sorted(path.name for path in folder.iterdir()),
                         sorted([name + ".npy" for name in files] + ["manifest.json"]))
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.assertEqual(sorted(manifest["files"]), sorted(files))
        arrays = {name: read_npy(folder / (name + ".npy")) for name in files}
        for name, (dtype, shape) in files.items():
            self.assertEqual(arrays[name].dtype, dtype, name)
            if shape is not None:
                self.assertEqual(arrays[name].shape, shape, name)
            self.assertEqual(tuple(manifest["files"][name]["shape"]), arrays[name].shape, name)
            self.assertEqual(manifest["files"][name]["dtype"], dtype, name)
        for branch in ("prompt", "negative"):
            if "context_" + branch in arrays:
                used = sum(arrays["mask_" + branch].values)
                self.assertEqual(arrays["context_" + branch].shape, (used, arrays["context_prompt"].shape[1]))
        return arrays

    def test_listed_files(self):
        self.generate(save_file="f_%d.png", dump="dump")
        arrays = self.assert_dumped(self.listed(3))
        self.assertEqual(arrays["step_00_input"].values, arrays["noise"].values)
        self.assertEqual(arrays["step_01_input"].values, arrays["step_00_latent"].values)
        self.assertEqual(arrays["latents"].values, arrays["step_02_latent"].values)
        self.assertEqual([arrays[f"step_{step:02d}_timestep"].values[0] for step in range(3)],
                         list(arrays["timesteps"].values))
        # guided = uncond + scale * (cond - uncond), scale 4 at high noise; one product's rounding of values near 1
        for guided, cond, uncond in zip(*(arrays["step_00_" + name].values for name in ("guided", "cond", "uncond"))):
            self.assertAlmostEqual(guided, uncond + 4.0 * (cond - uncond), delta=1e-4)

    def test_guidance_one_skips_the_second_pass(self):
        self.generate(save_file="f_%d.png", dump="dump", sample_guide_scale="1")
        arrays = self.assert_dumped(self.listed(3, skipped=range(3), negative=False))
        self.assertEqual(arrays["step_00_guided"].values, arrays["step_00_cond"].values)

    def test_guidance_low_and_high(self):
        # Low noise 1: its steps have one pass. The last of three steps is the low-noise expert's.
        self.generate(save_file="f_%d.png", dump="dump", sample_guide_scale="1,3.5")
        self.assert_dumped(self.listed(3, skipped=[2]))

    def test_digits_of_many_steps(self):
        self.generate(save_file="still.png", frame_num="1", dump="dump", sample_steps="101", size="16*16")
        self.assertTrue((self.folder / "dump/step_100_latent.npy").exists())
        self.assertTrue((self.folder / "dump/step_007_input.npy").exists())

    def test_negative_prompts(self):
        used = {}
        for name, text in (("default", None), ("empty", ""), ("own", "blur")):
            self.generate(save_file="still.png", frame_num="1", dump=name, negative_prompt=text, sample_steps="1")
            used[name] = list(read_npy(self.folder / name / "tokens_negative.npy").values)
        self.assertEqual(used["empty"][:2], [1, 0])  # the end mark alone
        self.assertNotEqual(used["default"], used["empty"])
        self.assertNotEqual(used["own"], used["empty"])
        self.assertEqual(used["own"].index(1) + 1, sum(token != 0 for token in used["own"]))

    def test_taps(self):
        self.generate("--dump_taps", save_file="still.png", frame_num="1", dump="dump", sample_steps="1")
        taps = sorted(path.name for path in (self.folder / "dump/taps").iterdir())
        self.assertGreater(len(taps), 20)
        for prefix in ("text_encoder.", "high_noise_model."):
            self.assertTrue([name for name in taps if name.startswith(prefix)], prefix)
        for name in taps:
            self.assertRegex(name, r"\.\d{4}\.npy$")
            read_npy(self.folder / "dump/taps" / name)

    def test_a_second_dump_leaves_nothing_of_the_first(self):
        self.generate("--dump_taps", save_file="f_%d.png", dump="dump")
        (self.folder / "dump/notes.txt").write_text("mine")
        self.generate(save_file="f_%d.png", dump="dump", sample_steps="2", sample_guide_scale="1")
        (self.folder / "dump/notes.txt").unlink()
        self.assert_dumped(self.listed(2, skipped=range(2), negative=False))

    def test_a_dump_that_ended_early_is_replaced(self):
        with subprocess.Popen([WAN, *generate_arguments(json=True, save_file="f_%d.png", dump="dump",
                                                        sample_steps="1000", sample_solver="euler")],
                              cwd=self.folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if json.loads(line).get("step", 0) == 3:
                    process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=60), CANCELLED)
        self.assertTrue((self.folder / "dump/step_002_latent.npy").exists())
        self.generate(save_file="f_%d.png", dump="dump")
        self.assert_dumped(self.listed(3))

    def test_a_folder_with_arrays_of_others_is_left_alone(self):
        self.generate(save_file="f_%d.png", dump="dump")
        manifest = self.folder / "dump/manifest.json"
        before = sorted(path.name for path in (self.folder / "dump").iterdir())
        own = manifest.read_text(encoding="utf-8")
        for text in (None, "{", json.dumps({"producer": "reference", "files": {}})):
            with self.subTest(manifest=text):
                manifest.unlink(missing_ok=True)
                if text is not None:
                    manifest.write_text(text, encoding="utf-8")
                result = self.run_wan(*generate_arguments(save_file="new.mp4", dump="dump"))
                self.assert_refused(result, INVALID_ARGUMENT, "--dump dump", "name another folder")
        manifest.write_text(own, encoding="utf-8")
        self.assertEqual(sorted(path.name for path in (self.folder / "dump").iterdir()), before)

    def test_a_manifest_removes_nothing_outside(self):
        (self.folder / "dump").mkdir()
        (self.folder / "dump/taps").mkdir()
        (self.folder / "mine.npy").write_text("x")
        (self.folder / "dump/manifest.json").write_text(json.dumps(
            {"producer": "wan.cpp", "files": {"../mine": {}, str(self.folder / "mine"): {}, "": {}},
             "taps": ["../../mine", 5, ".."]}), encoding="utf-8")
        self.generate(save_file="f_%d.png", dump="dump")
        self.assertTrue((self.folder / "mine.npy").exists())

    def test_a_second_dump_replaces_the_first(self):
        self.generate(save_file="f_%d.png", dump="dump")
        first = (self.folder / "dump/latents.npy").read_bytes()
        self.generate(save_file="f_%d.png", dump="dump", base_seed="9")
        self.assertNotEqual((self.folder / "dump/latents.npy").read_bytes(), first)


if __name__ == "__main__":
    unittest.main()
