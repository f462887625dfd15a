"""Options that are right: official spellings and command lines, names of outputs, --plan, --help, --version."""

import re
import time
import unittest

from support import CHECKPOINT, WAN, WanTest, generate_arguments, read_mp4, run
import subprocess

OFFICIAL = ["--task", "--size", "--frame_num", "--ckpt_dir", "--offload_model", "--ulysses_size", "--t5_fsdp",
            "--t5_cpu", "--dit_fsdp", "--save_file", "--prompt", "--base_seed", "--sample_solver", "--sample_steps",
            "--sample_shift", "--sample_guide_scale", "--convert_model_dtype", "--image"]
MORE = ["--last_image", "--negative_prompt", "--device", "--precision", "--vae_precision", "--rng", "--residency", "--memory_limit", "--threads",
        "--save_latents", "--from_latents", "--dump", "--dump_taps", "--json", "--plan"]

EVERY_OFFICIAL = {"--task": "t2v-A14B", "--size": "32*32", "--frame_num": "5", "--ckpt_dir": str(CHECKPOINT),
                  "--offload_model": "True", "--ulysses_size": "1", "--save_file": "video.mp4",
                  "--prompt": "two cats", "--base_seed": "3", "--sample_solver": "dpm++", "--sample_steps": "2",
                  "--sample_shift": "5.0", "--sample_guide_scale": "4.0"}
FLAGS = ["--t5_fsdp", "--t5_cpu", "--dit_fsdp", "--convert_model_dtype"]


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
        self.assertLess(lossy["vae"], 0.6 * plan["vae"])

    def test_the_last_of_two_values_counts(self):
        result = self.generate("--frame_num", "1", "--json", save_file="still.png")
        self.assertEqual(self.settings(result)["frame_num"], "1")

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
            self.generate(save_file="video.mp4", size=size)
            movie = read_mp4(self.folder / "video.mp4")
            self.assertEqual((movie.width, movie.height), (48, 32))

    def test_fsdp_is_said_to_have_no_effect(self):
        result = self.generate("--t5_fsdp", "--json", save_file="still.png", frame_num="1")
        self.assertTrue([event for event in result.events if event["event"] == "notice"])

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
        self.assertNotIn("--audio", text)
        for arguments in (["--help"], ["inspect", "--help"], ["tokenize", "--help"]):
            result = run(*arguments)
            self.assertEqual((result.status, result.err), (0, ""))
        for command in ("generate", "inspect", "tokenize"):
            self.assertIn(command, run("--help").out)

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
