"""wan doctor: this machine, a checkpoint, and GPUs that the machine need not have.

WAN_UPDATE_DOCS=1 puts what the program prints into docs/multi-gpu.md.
"""

import functools
import json
import os
import re
import unittest

from support import BAD_FILE, INVALID_ARGUMENT, SOURCE, WanTest, run

DEMO = SOURCE / "models/demo"
PAGE = SOURCE / "docs/multi-gpu.md"
EXPERT = "low_noise_model/diffusion_pytorch_model.safetensors"


def printed_blocks(text):
    """(what is pretended, output) of the blocks of the page that the program prints."""
    return re.findall(r'```\n\$ wan doctor --pretend "([^"\n]+)"\n(.*?)```\n', text, re.DOTALL)


@functools.cache
def pretended_report(gpus):
    """What is said of these GPUs: made once, as several tests look at it."""
    result = run("doctor", "--pretend", gpus, "--json")
    assert result.status == 0, result.err + result.out
    return json.loads(result.out)


class Doctor(WanTest):
    def doctor(self, *arguments, status=0, env=None):
        result = self.run_wan("doctor", *arguments, env=env)
        self.assertEqual(result.status, status, result.err + result.out)
        return result

    def report(self, *arguments, status=0, env=None):
        return json.loads(self.doctor(*arguments, "--json", status=status, env=env).out)


class ThisMachine(Doctor):
    @classmethod
    def setUpClass(cls):
        cls.result = run("doctor", "--ckpt_dir", DEMO, "--json", env={"CUDA_LAUNCH_BLOCKING": "1", "NCCL_DEBUG": "a\x1bb"})
        cls.known = json.loads(cls.result.out)
        if cls.known["cuda"]["cards"] > 0:
            raise unittest.SkipTest("this machine has NVIDIA cards: tests/gpu/test_doctor.py")

    def test_without_a_gpu_the_rest_is_looked_at(self):
        result = self.doctor("--ckpt_dir", DEMO)
        self.assertEqual(result.err, "")
        for words in ("processors", "GB free for this process", "locking", "video files", "no NVIDIA card", "2 ranks on cpu",
                      "data equal", "t2v-A14B, whole", "its disk reads", 'wan doctor --pretend "A40 x2"'):
            self.assertIn(words, result.out)
        self.assertNotIn("PROBLEM", result.out)

    def test_json(self):
        self.assertEqual(self.result.status, 0, self.result.err + self.result.out)
        report = self.known
        self.assertFalse(report["pretended"])
        self.assertGreaterEqual(report["host"]["processors"], 1)
        self.assertGreater(report["host"]["memory"], report["host"]["available"] // 2)
        self.assertEqual(report["host"]["environment"]["NCCL_DEBUG"], "a\x1bb")
        self.assertEqual((report["devices"], report["pairs"], report["videos"]), ([], [], []))
        self.assertTrue(report["exchange"]["equal"])
        checkpoint = report["checkpoint"]
        self.assertEqual(checkpoint["task"], "t2v-A14B")
        self.assertGreater(checkpoint["bytes"], 1_000_000)
        self.assertGreater(checkpoint["read_bytes_per_second"], 0)
        (blocking,) = [each for each in report["problems"] if "CUDA_LAUNCH_BLOCKING" in each["what"]]
        self.assertTrue(blocking["advice"])
        self.assertEqual(blocking["remedy"], "unset it")

    def test_variables_are_shown_as_text(self):
        result = self.doctor(env={"LD_LIBRARY_PATH": "/a\x1b[2J\nb"})
        self.assertIn(r"LD_LIBRARY_PATH=/a\x1b[2J\nb", result.out)


class Checkpoints(Doctor):
    def test_damage_is_told_with_a_remedy(self):
        def cut(checkpoint):
            with open(checkpoint / EXPERT, "r+b") as file:
                file.truncate(file.seek(0, 2) - 100)

        damages = {
            "cut": (cut, "diffusion_pytorch_model.safetensors"),
            "missing": (lambda c: (c / "Wan2.1_VAE.pth").unlink(), "lacks Wan2.1_VAE.pth"),
            "tokenizer": (lambda c: (c / "google/umt5-xxl/tokenizer.json").write_text("{"), "tokenizer.json"),
        }
        for name, (damage, words) in damages.items():
            with self.subTest(name):
                checkpoint = self.copy_checkpoint(name)
                damage(checkpoint)
                result = self.doctor("--ckpt_dir", checkpoint, "--pretend", "A40", status=BAD_FILE)
                (line,) = [line for line in result.out.splitlines() if line.startswith("PROBLEM")]
                self.assertIn(words, line)
                self.assertIn("remedy: take the official folder, or download again what is damaged", result.out)
                self.assertIn("1 problem found", result.err)
                (problem,) = self.report("--ckpt_dir", checkpoint, "--pretend", "A40", status=BAD_FILE)["problems"]
                self.assertEqual((problem["code"], problem["advice"]), ("bad_file", False))
                self.assertIn(words, problem["what"])

    def test_no_folder(self):
        result = self.doctor("--ckpt_dir", "nowhere", "--pretend", "A40", status=BAD_FILE)
        self.assertIn("the checkpoint directory nowhere does not exist", result.out)
        result = self.run_wan("doctor", "--ckpt_dir", "nowhere", "--pretend", "A40", "--json")
        self.assertEqual(json.loads(result.err)["code"], "bad_file")


class Pretended(Doctor):
    def test_unknown_gpus_are_refused_with_those_that_are_known(self):
        for text, words in (("Voodoo x2", "A40, A100-40GB"), ("A40 xx", "A40, A100-40GB"), ("x2", "such as A40 x2"),
                            ("A40 x2 string", "nvlink, pcie or host"), ("RTX 4090 x2 nvlink", "no NVLink")):
            with self.subTest(text):
                self.assert_refused(self.run_wan("doctor", "--pretend", text), INVALID_ARGUMENT, "--pretend", words)

    def test_text_is_the_report(self):
        report = pretended_report("RTX 4090 x3")
        text = self.doctor("--pretend", "RTX 4090 x3").out
        self.assertTrue(report["pretended"])
        self.assertEqual([(video["task"], video["size"]) for video in report["videos"]],
                         [("t2v-A14B", "832*480"), ("t2v-A14B", "1280*720"), ("i2v-A14B", "832*480"),
                          ("i2v-A14B", "1280*720"), ("ti2v-5B", "1280*704"),
                          ("s2v-14B", "1024*704")])
        for video in report["videos"]:
            self.assertIn(video["arithmetic"], text)
            self.assertEqual(sorted({layout["gpus"] for layout in video["layouts"]}), [1, 2, 3])
            for gpus in (1, 2, 3):
                (best,) = [each for each in video["layouts"] if each["gpus"] == gpus and each["best"]]
                self.assertIn(best["command"], text)
                self.assertEqual(best["video_seconds"], min(best["video_seconds"], *(
                    1.011 * each["video_seconds"] for each in video["layouts"] if each["gpus"] == gpus)))
            for layout in video["layouts"]:
                self.assertLessEqual(layout["peak"], layout["available"])
                self.assertEqual(layout["guidance_parallel"], layout["ulysses_size"] < layout["gpus"])

    def test_plans_are_those_of_wan_plan(self):
        def plan(*options):
            return json.loads(self.run_wan("plan", "--task", "t2v-A14B", "--size", "1280*720", "--gpu", "A40", *options,
                                           "--json").out)
        layouts = pretended_report("A40 x2")["videos"][1]["layouts"]
        (alone,) = [each for each in layouts if each["gpus"] == 1 and each["best"]]
        (halves,) = [each for each in layouts if each["guidance_parallel"] and each["weights"] == "sharded"]
        (ulysses,) = [each for each in layouts if each["ulysses_size"] == 2 and each["weights"] == "sharded"]
        for layout, expected in ((alone, plan()), (halves, plan("--gpus", "2", "--dit_fsdp")),
                                 (ulysses, plan("--ulysses_size", "2", "--dit_fsdp"))):
            for key in ("peak", "available", "vae"):
                self.assertEqual(layout[key], expected[key])
            if layout is alone:
                self.assertEqual(layout["block_places"], expected["block_places"])

    def test_commands_have_options_that_there_are(self):
        known = self.run_wan("generate", "--help").out
        commands = [layout["command"] for video in pretended_report("A40 x4")["videos"] for layout in video["layouts"]]
        self.assertTrue(any("--guidance_parallel on" in each for each in commands))
        for option in {option for each in commands for option in re.findall(r"--\w+", each)}:
            self.assertRegex(known, rf"(?m)^ +{option}\b")
        for command in commands:
            with self.subTest(command):
                self.assertEqual("--image FILE" in command, "--task i2v" in command or "--task s2v" in command)
                self.assertEqual("--audio FILE" in command, "--task s2v" in command)

    def test_more_and_better_linked_gpus_are_faster(self):
        def step(pretended):
            return min(each["step_seconds"] for each in pretended_report(pretended)["videos"][1]["layouts"])
        one, two, four = step("A40"), step("A40 x2"), step("A40 x4")
        self.assertAlmostEqual(one / two, 2, delta=0.01)
        self.assertTrue(1.5 < two / four < 2)
        self.assertLess(step("A40 x4 nvlink"), four)
        self.assertGreater(step("A40 x4 host"), four)

    def test_the_page_is_what_the_program_prints(self):
        page = PAGE.read_text(encoding="utf-8")
        blocks = printed_blocks(page)
        self.assertEqual([pretended for pretended, _ in blocks], ["A40 x2"])
        for pretended, block in blocks:
            printed = self.doctor("--pretend", pretended).out
            if os.environ.get("WAN_UPDATE_DOCS"):
                PAGE.write_text(page.replace(block, printed), encoding="utf-8")
            else:
                self.assertEqual(block, printed, "WAN_UPDATE_DOCS=1 puts it into the page")


if __name__ == "__main__":
    unittest.main()
