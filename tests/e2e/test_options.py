"""Options that are right: official spellings and command lines, names of outputs, --plan, --help, --version."""

import argparse
import contextlib
import io
import json
import re
import subprocess
import time
import unittest

from support import (CHECKPOINT, INVALID_ARGUMENT, UNSUPPORTED, WAN, WanTest, generate_arguments, read_mp4, read_png,
                     read_safetensors, run)

OFFICIAL = ["--audio", "--num_clip", "--infer_frames", "--pose_video", "--start_from_ref", "--enable_tts", "--tts_text",
            "--tts_prompt_audio", "--tts_prompt_text", "--task", "--size", "--frame_num", "--ckpt_dir", "--offload_model", "--ulysses_size", "--t5_fsdp",
            "--t5_cpu", "--dit_fsdp", "--save_file", "--prompt", "--base_seed", "--sample_solver", "--sample_steps",
            "--sample_shift", "--sample_guide_scale", "--convert_model_dtype", "--image"]
MORE = ["--audio_start", "--audio_duration", "--pose_frames", "--official_sync", "--tts_command", "--last_image", "--negative_prompt", "--device", "--precision", "--vae_precision", "--rng", "--residency", "--memory_limit", "--threads",
        "--fps", "--codec", "--crf", "--save_latents", "--from_latents", "--dump", "--dump_taps", "--json", "--plan"]

EVERY_OFFICIAL = {"--task": "t2v-A14B", "--size": "32*32", "--frame_num": "5", "--ckpt_dir": str(CHECKPOINT),
                  "--offload_model": "True", "--ulysses_size": "1", "--save_file": "video.mp4",
                  "--prompt": "two cats", "--base_seed": "3", "--sample_solver": "dpm++", "--sample_steps": "2",
                  "--sample_shift": "5.0", "--sample_guide_scale": "4.0"}
FLAGS = ["--t5_fsdp", "--t5_cpu", "--dit_fsdp", "--convert_model_dtype"]


# Words behind `tokenize --ckpt_dir DIR`: which of them are values?
VALUES = [
    ["--prompt", "a cat"], ["--prompt", "--well-known actor"], ["--prompt", "--well-known"], ["--prompt=--well-known"],
    ["--prompt=--well-known actor"], ["--prompt", "-a cat-"], ["--prompt", "-cat"], ["--prompt", "-c at"],
    ["--prompt", "- a"], ["--prompt", "-"], ["--prompt", "--"], ["--prompt", "---"], ["--prompt", "--- cut ---"],
    ["--prompt", ""], ["--prompt="], ["--prompt=", "--json"], ["--prompt"], ["--json", "--prompt"],
    ["--prompt", "-1"], ["--prompt", "-1.5"], ["--prompt", "-.5"], ["--prompt", "-5 degrees"], ["--prompt", "+1"],
    ["--prompt", "-1-2"], ["--prompt", "-1."], ["--prompt=-1-2"], ["--prompt", "-1,2"],
    ["--prompt", "--json"], ["--prompt", "--json is nice"], ["--prompt", "--js"], ["--prompt", "--js on"],
    ["--prompt", "--prompt"], ["--prompt", "--prompt is a word"], ["--prompt", "--prompt=a b"],
    ["--prompt", "--prom=a b"], ["--prompt", "--other=a b"], ["--prompt", "--other=a"], ["--prompt", "--=a b"],
    ["--prompt", "--other-thing and-more"], ["--prompt", "--ckpt_dir x"], ["--prompt", "-h"], ["--prompt", "-hat"],
    ["--prompt", "-hat on a cat"], ["--prompt", "a=b --c"], ["--prompt", "a", "--prompt", "--b c"],
    ["--prompt", "a", "b"], ["--prompt", "a", "--", "b"], ["--prompt", "a", "--json"], ["--prompt", "tokenize"],
    ["--prompt", "--\u00e4"], ["--prompt", "--\u00e4 \u732b"], ["--prompt", "-\t-"], ["--prompt", " --json"],
]

# An official option and the word behind it.
OFFICIAL_VALUES = [("--base_seed", "-1"), ("--sample_shift", "-1.5"), ("--sample_shift", "-x"), ("--size", "-32*32"),
                   ("--sample_guide_scale", "-1,2"), ("--sample_guide_scale", "-1"), ("--frame_num", "-3"),
                   ("--save_file", "-x.mp4"), ("--save_file", "-x y.mp4"), ("--image", "--image"), ("--task", "-1")]


def by_argparse(parser, words):
    """What Python's argparse makes of the words; None where it refuses them."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return parser.parse_args(words)
    except SystemExit:
        return None


class Options(WanTest):
    def settings(self, result):
        return next(event["values"] for event in result.events if event["event"] == "settings")

    def run_all(self, arguments):
        """The settings that these arguments come to, and the video's bytes."""
        result = self.run_wan("generate", *arguments, "--json", "--threads", "1")
        self.assertEqual(result.status, 0, result.out + result.err)
        video = self.folder / "video.mp4"
        data = video.read_bytes()
        video.unlink()
        return self.settings(result), data

    def test_every_official_option_in_each_spelling(self):
        official = [word for pair in EVERY_OFFICIAL.items() for word in pair] + FLAGS
        settings, video = self.run_all(official)
        expected = {"prompt": "two cats", "seed": "3", "task": "t2v-A14B", "size": "32*32", "frame_num": "5",
                    "sample_solver": "dpm++", "sample_steps": "2", "sample_shift": "5", "sample_guide_scale": "4",
                    "precision": "bf16", "fps": "16", "boundary": "0.875", "rng": "torch-cpu"}
        self.assertEqual({key: settings[key] for key in expected}, expected)
        kebab = [word.replace("_", "-") if word.startswith("--") else word for word in official]
        self.assertEqual(self.run_all(kebab), (settings, video))
        joined = [f"{name}={value}" for name, value in EVERY_OFFICIAL.items()] + FLAGS
        self.assertEqual(self.run_all(joined), (settings, video))

    def test_official_command_line(self):
        # README.md of Wan2.2 for one GPU, with the plan in place of the hours that it would take.
        line = ["generate", "--task", "t2v-A14B", "--size", "1280*720", "--ckpt_dir", str(CHECKPOINT),
                "--offload_model", "True", "--convert_model_dtype", "--prompt",
                "Two anthropomorphic cats in comfy boxing gear and bright gloves fight intensely on a spotlighted "
                "stage.", "--plan"]
        result = self.run_wan(*line)
        self.assertEqual(result.status, 0, result.err)
        self.assertIn("peak", result.out)
        self.assertEqual(self.names(), [])

    def test_plan_as_json(self):
        (plan,) = self.run_wan(*generate_arguments(plan=True, json=True)).events
        self.assertEqual(plan["event"], "plan")
        self.assertGreater(plan["peak"], plan["latents"])
        (larger,) = self.run_wan(*generate_arguments(plan=True, json=True, size="64x64")).events
        # The program itself is measured, and differs a little from process to process.
        self.assertGreater(larger["peak"] - larger["program"], plan["peak"] - plan["program"])
        (lossy,) = self.run_wan(*generate_arguments(plan=True, json=True, vae_precision="bf16")).events
        self.assertLess(lossy["vae"], 0.7 * plan["vae"])

    def test_the_last_of_two_values_counts(self):
        result = self.generate("--frame_num", "1", "--json", save_file="still.png")
        self.assertEqual(self.settings(result)["frame_num"], "1")

    def test_what_a_value_may_hold_is_as_argparse_has_it(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--ckpt_dir", required=True)
        parser.add_argument("--prompt", required=True)
        parser.add_argument("--json", action="store_true")
        refused = 0
        for words in VALUES:
            with self.subTest(words=words):
                expected = by_argparse(parser, ["--ckpt_dir", str(CHECKPOINT), *words])
                if expected is None and "-h" in words:
                    continue  # help, in both
                result = self.run_wan("tokenize", "--ckpt_dir", CHECKPOINT, *words)
                if expected is None:
                    refused += 1
                    self.assertEqual((result.status, result.out), (INVALID_ARGUMENT, ""))
                    continue
                self.assertEqual(result.status, 0, result.err)
                text = json.loads(result.out)["cleaned"] if expected.json else result.out.split("\n")[0][9:]
                self.assertEqual(text, " ".join(expected.prompt.split()))
        self.assertGreater(refused, 10)

    def test_official_options_take_what_argparse_lets_them(self):
        parser = argparse.ArgumentParser()
        for name in OFFICIAL:
            parser.add_argument(name, **({"action": "store_true"} if name in FLAGS else {}))
        for name, value in OFFICIAL_VALUES:
            with self.subTest(name=name, value=value):
                taken = by_argparse(parser, [name, value]) is not None
                err = self.run_wan(*generate_arguments(plan=True), name, value).err
                self.assertEqual("needs a value" not in err and "begins with a dash" not in err, taken, err)
        result = self.run_wan(*generate_arguments(plan=True), "--prompt", "--well-known")
        self.assert_refused(result, INVALID_ARGUMENT, "--prompt=--well-known")

    def test_memory_limits_have_units(self):
        def available(text):
            (plan,) = self.run_wan(*generate_arguments(plan=True, json=True, memory_limit=text)).events
            return plan["available"]

        for text, expected in [("16", 16 * 10**9), ("1.5", 1500 * 10**6), ("16GB", 16 * 10**9), ("16gb", 16 * 10**9),
                               ("16 G", 16 * 10**9), ("16GiB", 16 * 2**30), ("15.5gib", 31 * 2**29), ("1TB", 10**12),
                               ("800MiB", 800 * 2**20), ("800mb", 8 * 10**8), ("900000kB", 9 * 10**8),
                               ("900000000B", 9 * 10**8)]:
            with self.subTest(text):
                self.assertEqual(available(text), expected)

    def test_rate_codec_and_quality_of_the_file(self):
        def made(**options):
            result = self.run_wan(*generate_arguments(save_file="video.mp4", json=True, threads="1", size="64*64", **options))
            self.assertEqual(result.status, 0, result.out + result.err)
            self.assertEqual(result.err, "")
            path = self.folder / "video.mp4"
            return read_mp4(path), path.read_bytes()

        plain, data = made()
        self.assertEqual((plain.metadata["fps"], plain.frames), ("16", 5))
        self.assertNotIn("codec", plain.metadata)
        fast, _ = made(fps="25")
        self.assertEqual((fast.metadata["fps"], fast.frames), ("25", 5))
        self.assertAlmostEqual(fast.seconds, 5 / 25, places=2)
        self.assertEqual(made(codec="h264")[1], data)
        coarse, smaller = made(crf="40")
        self.assertEqual(coarse.metadata["crf"], "40")
        self.assertLess(len(smaller), len(data))
        for codec, mark in (("h265", b"hvc1"), ("av1", b"av01")):
            with self.subTest(codec):
                if self.run_wan(*generate_arguments(save_file="x.mp4", codec=codec, plan=True)).status == UNSUPPORTED:
                    continue  # another FFmpeg
                movie, data = made(codec=codec, crf="30")
                self.assertIn(mark, data)
                self.assertEqual((movie.metadata["codec"], movie.metadata["crf"], movie.frames), (codec, "30", 5))

    def test_rate_codec_and_quality_of_kept_latents(self):
        self.generate(save_file="a.mp4", save_latents="a.safetensors", crf="20", fps="12")
        kept = read_safetensors(self.folder / "a.safetensors")[0]["__metadata__"]
        self.assertEqual((kept["crf"], kept["fps"]), ("20", "12"))
        again = ["generate", "--ckpt_dir", CHECKPOINT, "--from_latents", "a.safetensors", "--threads", "1"]
        self.assertEqual(self.run_wan(*again, "--save_file", "b.mp4").status, 0)
        self.assertEqual((self.folder / "b.mp4").read_bytes(), (self.folder / "a.mp4").read_bytes())
        result = self.run_wan(*again, "--save_file", "c.mp4", "--crf", "5", "--fps", "30")
        self.assertEqual(result.status, 0, result.err)
        values = read_mp4(self.folder / "c.mp4").metadata
        self.assertEqual((values["crf"], values["fps"]), ("5", "30"))
        result = self.run_wan(*again, "--save_file", "c_%d.png")
        self.assertEqual(result.status, 0, result.err)
        self.assertNotIn("crf", read_png(self.folder / "c_0.png")[3])

    def test_default_file_name_has_no_control_characters(self):
        name = self.default_name("a\ncat\x1b[31m\tred\u009b \u202etxt")
        self.assertRegex(name, r"_a_cat_\[31m_red___txt_\d")

    def test_value_that_begins_with_a_dash(self):
        result = self.generate("--prompt=-a cat-", "--json", save_file="still.png", frame_num="1")
        self.assertEqual(self.settings(result)["prompt"], "-a cat-")
        self.generate(base_seed="-1", save_file="still.png", frame_num="1")

    def test_numbers_as_python_reads_them(self):
        result = self.generate("--sample_shift", "+4", "--json", save_file="still.png", frame_num="+1", base_seed="-5",
                               sample_guide_scale="+3")
        settings = self.settings(result)
        self.assertEqual((settings["sample_guide_scale"], settings["sample_shift"], settings["frame_num"]),
                         ("3", "4", "1"))
        self.assertGreaterEqual(int(settings["seed"]), 0)

    def test_size_spellings(self):
        for size in ("48*32", "48x32"):
            self.generate(save_file="f_%d.png", size=size)
            self.assertEqual(read_png(self.folder / "f_0.png")[:2], (48, 32))

    def test_fsdp_is_said_to_have_no_effect_on_one_rank(self):
        for ranks in (1, 2):
            result = self.generate("--t5_fsdp", "--dit_fsdp", "--json", save_file="still.png", frame_num="1", device="cpu",
                                   ulysses_size=str(ranks))
            notices = [event for event in result.events if event["event"] == "notice" and "--dit_fsdp" in event["message"]]
            self.assertEqual(len(notices), 1 if ranks == 1 else 0)

    def default_name(self, prompt, frames="5"):
        self.generate(prompt=prompt, frame_num=frames, sample_steps="1")
        (name,) = self.names()
        (self.folder / name).unlink()
        return name

    def test_default_file_name(self):
        before = time.strftime("%Y%m%d_%H%M%S")
        name = self.default_name("a cat/dog on the moon, with a very long tail that does not end here")
        found = re.fullmatch(r"t2v-A14B_32\*32_1_a_cat_dog_on_the_moon,_with_a_very_long_tail_that__(\d{8}_\d{6})\.mp4",
                             name)
        self.assertIsNotNone(found, name)
        self.assertLessEqual(before, found[1])
        self.assertLessEqual(found[1], time.strftime("%Y%m%d_%H%M%S"))

    def test_default_file_name_of_rarer_prompts(self):
        self.assertRegex(self.default_name("100% cotton %05d", "1"), r"\.png$")
        self.assertRegex(self.default_name("100% cotton"), "100%_cotton.*mp4$")
        self.assertRegex(self.default_name("\U0001f600" * 60), "\U0001f600{20,50}_.*mp4$")
        self.assertRegex(self.default_name("猫" * 60), "_猫{50}_.*mp4$")

    def test_help_lists_every_option(self):
        text = run("generate", "--help").out
        for name in OFFICIAL + MORE:
            self.assertRegex(text, rf"(?m)^\s+{name}\b", name)
        for arguments in (["--help"], ["inspect", "--help"], ["tokenize", "--help"]):
            result = run(*arguments)
            self.assertEqual((result.status, result.err), (0, ""))
        for command in ("generate", "inspect", "tokenize"):
            self.assertIn(command, run("--help").out)

    def test_help_names_every_task(self):
        tasks = run("plan", "--task", "nothing").err.rpartition("expected ")[2].strip().replace(" or ", ", ").split(", ")
        self.assertGreaterEqual(set(tasks), {"t2v-A14B", "animate-14B"})
        for command in ("generate", "plan", "bench"):
            told = run(command, "--help").out.partition("  --task TEXT")[2].partition("\n  --")[0]
            for task in tasks:
                self.assertIn(task, told, command)

    def test_version(self):
        result = run("--version")
        self.assertEqual((result.status, result.err), (0, ""))
        self.assertRegex(result.out, r"\Awan \d+\.\d+\.\d+\n\Z")

    def test_standard_output_may_be_closed(self):
        # A pipe into `head`: no crash, no half video.
        with subprocess.Popen([WAN, *generate_arguments(save_file="video.mp4")], cwd=self.folder,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            process.stderr.close()
            process.wait(timeout=120)
        for name in self.names():
            self.assertFalse(name.startswith("."), name)


if __name__ == "__main__":
    unittest.main()
