"""Checkpoints that are not whole, and defaults of their own: one error that says what is wrong with which part."""

import json
import os
import shutil
import unittest

from support import (BAD_FILE, INVALID_ARGUMENT, REFUSAL_SECONDS, WanTest, change_tensors, generate_arguments, read_safetensors,
                     write_safetensors)

EXPERT = "low_noise_model/diffusion_pytorch_model.safetensors"


class Damage(WanTest):
    def setUp(self):
        super().setUp()
        self.checkpoint = self.copy_checkpoint()

    def run_on_it(self, *flags, **options):
        return self.run_wan(*generate_arguments(self.checkpoint, save_file="video.mp4", **options), *flags)

    def assert_bad(self, *words):
        result = self.run_on_it()
        self.assert_refused(result, BAD_FILE, *words)
        self.assertEqual(self.names(), ["checkpoint"])

    def test_not_a_checkpoint(self):
        empty = self.folder / "empty"
        empty.mkdir()
        result = self.run_wan(*generate_arguments(empty))
        self.assert_refused(result, BAD_FILE, "high_noise_model", "Wan2.1_VAE.pth", "official layout")
        (self.folder / "file").write_text("x")
        result = self.run_wan(*generate_arguments(self.folder / "file"))
        self.assert_refused(result, BAD_FILE, "not a directory")

    def test_missing_parts(self):
        for part in ("high_noise_model", "low_noise_model", "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1_VAE.pth",
                     "google/umt5-xxl"):
            with self.subTest(part):
                path, aside = self.checkpoint / part, self.folder / "aside"
                path.rename(aside)
                result = self.run_on_it()
                self.assert_refused(result, BAD_FILE, f"lacks {part};")
                aside.rename(path)
        shutil.rmtree(self.checkpoint / "high_noise_model")
        (self.checkpoint / "Wan2.1_VAE.pth").unlink()
        self.assert_bad("lacks high_noise_model, Wan2.1_VAE.pth;")

    def test_empty_parts(self):
        for part in ("high_noise_model/config.json", EXPERT, "google/umt5-xxl/tokenizer.json", "Wan2.1_VAE.pth",
                     "models_t5_umt5-xxl-enc-bf16.pth"):
            with self.subTest(part):
                path = self.checkpoint / part
                content = path.read_bytes()
                path.write_bytes(b"")
                self.assert_bad(*part.rsplit("/", 1))
                path.write_bytes(content)

    def test_missing_files_of_parts(self):
        for part, words in (("high_noise_model/config.json", ["high_noise_model", "config.json"]),
                            (EXPERT, ["low_noise_model"])):
            with self.subTest(part):
                path, aside = self.checkpoint / part, self.folder / "aside"
                path.rename(aside)
                self.assert_refused(self.run_on_it(), BAD_FILE, *words)
                aside.rename(path)

    def test_truncated_parts(self):
        for part in ("high_noise_model/config.json", EXPERT, "google/umt5-xxl/tokenizer.json", "Wan2.1_VAE.pth",
                     "models_t5_umt5-xxl-enc-bf16.pth"):
            path = self.checkpoint / part
            content = path.read_bytes()
            for share in (0.02, 0.5, 0.999):
                with self.subTest(part, share=share):
                    path.write_bytes(content[: int(len(content.rstrip()) * share)])
                    self.assert_bad(*part.rsplit("/", 1))
                    self.assertLess(len(self.run_on_it().err), 1000)
            path.write_bytes(content)

    def test_without_tokenizer_json_spiece_model_serves(self):
        (self.checkpoint / "google/umt5-xxl/tokenizer.json").unlink()
        result = self.run_on_it()
        self.assertEqual(result.status, 0, result.err)

    def test_extra_missing_and_misshaped_tensors_are_one_error(self):
        def change(tensors):
            tensors["blocks.0.surprise"] = ["F32", [1], b"\0\0\0\0"]
            tensors["gone"] = tensors.pop("blocks.0.self_attn.q.weight")
            tensors["head.head.bias"][1] = [1, *tensors["head.head.bias"][1]]

        change_tensors(self.checkpoint / EXPERT, change)
        result = self.run_on_it()
        self.assertEqual((result.status, result.out), (BAD_FILE, ""))
        self.assertEqual(result.err.count("error:"), 1)
        for word in ("low-noise expert", "blocks.0.surprise", "gone", "blocks.0.self_attn.q.weight", "head.head.bias"):
            self.assertIn(word, result.err)
        self.assertEqual(self.names(), ["checkpoint"])

    def test_findings_of_several_models_are_one_error(self):
        for expert in ("low", "high"):
            path = self.checkpoint / f"{expert}_noise_model/diffusion_pytorch_model.safetensors"
            change_tensors(path, lambda tensors: tensors.pop("head.head.bias"))
        result = self.run_on_it()
        self.assertEqual(result.status, BAD_FILE)
        self.assertEqual(result.err.count("error:"), 1)
        for word in ("low-noise expert", "high-noise expert"):
            self.assertIn(word, result.err)

    def test_offsets_outside_the_file(self):
        header, body = read_safetensors(self.checkpoint / EXPERT)
        header["head.head.bias"]["data_offsets"] = [len(body), 1 << 60]
        write_safetensors(self.checkpoint / EXPERT, header, body)
        self.assert_bad("low_noise_model")

    def test_weights_that_are_not_numbers(self):
        header, body = read_safetensors(self.checkpoint / EXPERT)
        write_safetensors(self.checkpoint / EXPERT, header, b"\0\0\xc0\x7f" * (len(body) // 4))
        result = self.run_on_it()
        self.assertNotEqual(result.status, 0)
        self.assertIn("not finite", result.err.splitlines()[-1])
        self.assertFalse((self.folder / "video.mp4").exists())

    def test_the_check_names_layer_and_op(self):
        header, body = read_safetensors(self.checkpoint / EXPERT)
        begin, end = header["blocks.1.ffn.2.weight"]["data_offsets"]
        body = body[:begin] + b"\0\0\xc0\x7f" * ((end - begin) // 4) + body[end:]
        write_safetensors(self.checkpoint / EXPERT, header, body)
        result = self.run_on_it(check=True)
        self.assertNotEqual(result.status, 0)
        self.assertRegex(result.err.splitlines()[-1], r"linear in \S*blocks\.1\.ffn is the first op .* not finite")
        self.assertFalse((self.folder / "video.mp4").exists())

    def test_experts_that_do_not_belong_together(self):
        path = self.checkpoint / "low_noise_model/config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        for key, value in (("num_heads", config["num_heads"] + 1), ("num_layers", 99), ("dim", -4),
                           ("model_type", "i2v"), ("text_len", 0), ("in_dim", "many"), ("eps", 1e-5),
                           ("num_layers", 1 << 20)):
            with self.subTest(key):
                path.write_text(json.dumps({**config, key: value}), encoding="utf-8")
                result = self.run_on_it()
                self.assertIn(result.status, (BAD_FILE, 69), result.err)
                self.assertEqual(result.err.count("error:"), 1)
                self.assertLess(result.seconds, REFUSAL_SECONDS)
                if key in ("eps", "num_layers", "text_len"):
                    self.assertIn(f'"{key}"', result.err)

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_unreadable_part(self):
        (self.checkpoint / EXPERT).chmod(0)
        self.assert_bad("low_noise_model")


class Defaults(WanTest):
    def setUp(self):
        super().setUp()
        self.checkpoint = self.copy_checkpoint()

    def with_defaults(self, text, **options):
        content = text if isinstance(text, str) else json.dumps(text)
        (self.checkpoint / "generation_config.json").write_text(content, encoding="utf-8")
        merged = {"size": None, "frame_num": None, "sample_steps": None, "save_file": "video.mp4", **options}
        return self.run_wan(*generate_arguments(self.checkpoint, **merged))

    def settings(self, result):
        self.assertEqual(result.status, 0, result.err + result.out)
        return next(event["values"] for event in result.events if event["event"] == "settings")

    def test_defaults_of_a_checkpoint(self):
        own = {"size": "48*32", "frame_num": 9, "fps": 8, "sample_steps": 2, "sample_shift": 3.5,
               "sample_guide_scale": [2, 5], "boundary": 0.9, "negative_prompt": "fog", "sample_solver": "euler"}
        expected = {"size": "48*32", "frame_num": "9", "fps": "8", "sample_steps": "2", "sample_shift": "3.5",
                    "sample_guide_scale": "2,5", "boundary": "0.9", "negative_prompt": "fog", "sample_solver": "euler"}
        settings = self.settings(self.with_defaults(own, json=True))
        self.assertEqual({key: settings[key] for key in expected}, expected)
        # A request's own values stand above them.
        settings = self.settings(self.with_defaults(own, json=True, size="32*32", frame_num="5", sample_shift="7",
                                                    negative_prompt="", sample_guide_scale="1"))
        self.assertEqual([settings[key] for key in ("size", "frame_num", "sample_shift", "negative_prompt",
                                                    "sample_guide_scale", "fps")], ["32*32", "5", "7", "", "1", "8"])

    def test_wrong_defaults(self):
        for content, words in [
            ("{", ["JSON"]),
            ("[]", ["JSON object"]),
            ({"size": "33*32", "frame_num": 5, "sample_steps": 2}, ['"size"', "33*32"]),
            ({"size": "100x"}, ['"size"', "100x"]),
            ({"size": "x" * 100000}, ['"size"']),
            ({"frame_num": 6, "size": "32*32"}, ['"frame_num"', "4n + 1"]),
            ({"size": 5}, ['"size"']),
            ({"frame_num": "5"}, ['"frame_num"', "integer"]),
            ({"frame_num": 0}, ['"frame_num"']),
            ({"fps": 0}, ['"fps"']),
            ({"fps": "fast"}, ['"fps"']),
            ({"sample_steps": 2000}, ['"sample_steps"']),
            ({"sample_guide_scale": [1, 2, 3]}, ['"sample_guide_scale"']),
            ({"sample_guide_scale": []}, ['"sample_guide_scale"']),
            ({"boundary": 2}, ['"boundary"']),
            ({"sample_solver": "ddim", "size": "32*32", "frame_num": 5}, ['"sample_solver"', "ddim", "unipc"]),
            ({"sample_stepz": 3}, ["sample_stepz", "not a known key"]),
        ]:
            with self.subTest(content=content):
                result = self.with_defaults(content)
                self.assertIn(result.status, (BAD_FILE, INVALID_ARGUMENT))
                self.assert_refused(result, result.status, "generation_config.json", *words)
                self.assertNotIn("--", result.err)
                self.assertLess(len(result.err), 500)

    def test_another_task(self):
        self.assert_refused(self.with_defaults({"task": "i2v-A14B"}), INVALID_ARGUMENT, "i2v-A14B")


if __name__ == "__main__":
    unittest.main()
