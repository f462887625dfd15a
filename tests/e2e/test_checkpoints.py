"""Checkpoints that are not whole, and defaults of their own: one error that says what is wrong with which part."""

import json
import os
import shutil
import unittest

from support import (BAD_FILE, CHECKPOINT, INVALID_ARGUMENT, REFUSAL_SECONDS, SOURCE, UNPACKED, UNSUPPORTED, WanTest, change_tensors,
                     generate_arguments, read_safetensors, write_safetensors)

EXPERT = "low_noise_model/diffusion_pytorch_model.safetensors"
APPLE_DOUBLE = b"\0\5\26\7\0\2\0\0Mac OS X        "


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
        return result

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
                    result = self.assert_bad(*part.rsplit("/", 1))
                    self.assertLess(len(result.err), 1000)
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

    def test_files_beside_the_official_ones(self):
        expected = self.generate(checkpoint=self.checkpoint, save_file="a_%05d.png")
        for folder in ("high_noise_model", "low_noise_model"):
            (self.checkpoint / folder / "my_lora.safetensors").write_bytes(b"a LoRA")
            (self.checkpoint / folder / "._diffusion_pytorch_model.safetensors").write_bytes(APPLE_DOUBLE)
            (self.checkpoint / folder / "._config.json").write_bytes(APPLE_DOUBLE)
        for name in ("._Wan2.1_VAE.pth", "._models_t5_umt5-xxl-enc-bf16.pth", "._google", "google/umt5-xxl/._tokenizer.json"):
            (self.checkpoint / name).write_bytes(APPLE_DOUBLE)
        result = self.generate(checkpoint=self.checkpoint, save_file="b_%05d.png")
        self.assertEqual(expected.status, result.status)
        self.assertEqual((self.folder / "a_00004.png").read_bytes(), (self.folder / "b_00004.png").read_bytes())
        shown = self.run_wan("inspect", self.checkpoint)
        self.assertEqual((shown.status, shown.err), (0, ""))
        self.assertNotIn("unreadable", shown.out)
        self.assertIn("ignored beside it: '._diffusion_pytorch_model.safetensors', 'my_lora.safetensors'", shown.out)
        models = json.loads(self.run_wan("inspect", "--json", self.checkpoint).out)
        self.assertEqual([model["ignored"] for model in models if model["path"].endswith("/Wan2.1_VAE.pth")],
                         [["._Wan2.1_VAE.pth"]])

    def test_a_vae_of_another_model(self):
        shutil.copy(UNPACKED / "vae22/levels4.pth", self.checkpoint / "Wan2.1_VAE.pth")
        self.assert_bad(str(self.checkpoint / "Wan2.1_VAE.pth"), "48 latent channels", "another model's VAE",
                        "Wan2.1_VAE.pth of Wan2.2-T2V-A14B")
        (self.checkpoint / "Wan2.1_VAE.pth").rename(self.checkpoint / "Wan2.2_VAE.pth")
        self.assert_bad("lacks Wan2.1_VAE.pth;", "Wan2.2_VAE.pth is the VAE of Wan2.2-TI2V-5B")

    def test_a_text_encoder_of_another_model(self):
        name = "models_t5_umt5-xxl-enc-bf16.pth"
        shutil.copy(SOURCE / "models/demo" / name, self.checkpoint / name)
        self.assert_bad(str(self.checkpoint / name), "another model's text encoder", "came with the transformers")

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_unreadable_part(self):
        (self.checkpoint / EXPERT).chmod(0)
        self.assert_bad("low_noise_model")


class Layouts(WanTest):
    """Folders that people have: each is told by its name, with what to do."""

    def make(self, *paths, content=b""):
        for path in paths:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(content)

    def assert_told(self, ckpt_dir, status, *words):
        self.assert_refused(self.run_wan(*generate_arguments(ckpt_dir)), status, *words)
        self.assertNotIn("lacks", self.run_wan(*generate_arguments(ckpt_dir)).err)

    def test_diffusers(self):
        self.make("a/model_index.json", "a/vae/", "a/transformer/config.json", "a/transformer_2/", "a/text_encoder/", "b/vae/",
                  "b/transformer/", "b/text_encoder/", "b/tokenizer/", "b/model_index.json")
        self.assert_refused(self.run_wan(*generate_arguments("a")), BAD_FILE, "lacks tokenizer;", "layout of diffusers")
        (self.folder / "b/model_index.json").write_text('{"transformer_2": ["diffusers", "WanTransformer3DModel"]}')
        self.assert_refused(self.run_wan(*generate_arguments("b")), BAD_FILE, "lacks transformer_2, the low-noise expert")
        self.assert_told("a/transformer", BAD_FILE, f"name the whole: {(self.folder / 'a').resolve()}\n")

    def test_comfyui(self):
        for number, path in enumerate(("split_files/diffusion_models/x", "diffusion_models/x", "models/diffusion_models/x", "unet/x")):
            with self.subTest(path):
                self.make(f"{number}/{path}")
                self.assert_told(str(number), BAD_FILE, "ComfyUI's folders, and no file of Wan2.2")
        for path in ("a/wan2.2_t2v_high_noise_14B_fp16.safetensors", "b/vae/wan_2.1_vae.safetensors", "c/HighNoise/m-Q4_K_M.gguf"):
            with self.subTest(path):
                self.make(path)
                self.assert_told(path[0], BAD_FILE, "no checkpoint of Wan2.2 that can be read", f"[{path}] is empty")

    def test_cache_of_hugging_face(self):
        repository = "hub/models--Wan-AI--Wan2.2-T2V-A14B"
        self.make(f"{repository}/refs/main", content=b"bbb")
        self.make(f"{repository}/blobs/1", f"{repository}/snapshots/.DS_Store")
        self.assert_told(repository, BAD_FILE, "cache of a repository", "download it again")
        self.assert_told("hub", BAD_FILE, "no official checkpoint of Wan2.2", "Wan-AI/Wan2.2-T2V-A14B")
        for commit in ("aaa", "bbb", "ccc"):
            shutil.copytree(CHECKPOINT, self.folder / repository / "snapshots" / commit)
        snapshot = f"{repository}/snapshots/bbb"
        plan = lambda: self.generate("--plan", checkpoint=repository, save_file="a.mp4")
        plan()
        self.assert_told("hub", BAD_FILE, f"in it: {snapshot}\n")
        self.assert_told(".", BAD_FILE, f"in it: ./{snapshot}\n")
        (self.folder / repository / "snapshots/aaa/Wan2.1_VAE.pth").unlink()
        plan()  # what its main branch stands for is taken
        shutil.rmtree(self.folder / snapshot / "high_noise_model")
        shutil.rmtree(self.folder / snapshot / "low_noise_model")
        (self.folder / snapshot / "models_t5_umt5-xxl-enc-bf16.pth").unlink()
        self.assert_refused(self.run_wan(*generate_arguments(repository)), BAD_FILE, f"{repository}/snapshots/aaa lacks")

    def test_unfinished_snapshot(self):
        snapshot = self.copy_checkpoint("snapshot")
        (snapshot / "Wan2.1_VAE.pth").unlink()
        (snapshot / "Wan2.1_VAE.pth").symlink_to("../../blobs/1234")
        self.assert_refused(self.run_wan(*generate_arguments(snapshot)), BAD_FILE,
                            "lacks Wan2.1_VAE.pth (a link to nothing: download it again)")

    def test_one_step_too_high(self):
        self.copy_checkpoint("models/one")
        self.make("models/notes.txt")
        self.assert_told("models", BAD_FILE, "holds a checkpoint, and is none itself; name models/one\n")
        self.copy_checkpoint("models/two")
        self.assert_told("models", BAD_FILE, "name models/one or models/two\n")

    def test_too_low(self):
        checkpoint = self.copy_checkpoint()
        for part in ("high_noise_model", "low_noise_model", "google", "google/umt5-xxl"):
            with self.subTest(part):
                self.assert_told(checkpoint / part, BAD_FILE, f"part of a checkpoint; name the whole: {checkpoint.resolve()}\n")
        for part in ("Wan2.1_VAE.pth", "generation_config.json"):
            with self.subTest(part):
                (checkpoint / part).touch()
                self.assert_told(checkpoint / part, BAD_FILE, f"name the folder that holds the checkpoint: {checkpoint}\n")

    def test_other_models(self):
        official = ("models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/tokenizer.json", "Wan2.1_VAE.pth")
        for number, (config, words) in enumerate((
                ({"model_type": "t2v"}, ["Wan2.1", '"t2v"', "Wan-AI/Wan2.2-T2V-A14B"]),
                ({"model_type": "i2v"}, ["Wan2.1", '"i2v"']),
                ({"model_type": "vace"}, ["Wan2.1", '"vace"']))):
            with self.subTest(config):
                self.make(*(f"{number}/{path}" for path in official))
                (self.folder / f"{number}/config.json").write_text(json.dumps(config), encoding="utf-8")
                self.assert_told(str(number), UNSUPPORTED, *words)
        for text in ("{", "[]", '{"model_type": 5}', '{"model_type": "ti2v"}'):
            with self.subTest(text):
                (self.folder / "0/config.json").write_text(text, encoding="utf-8")
                self.assert_refused(self.run_wan(*generate_arguments("0")), BAD_FILE, "0/config.json")
        shutil.copy(UNPACKED / "pipeline/checkpoint_ti2v/config.json", self.folder / "0/config.json")
        self.assert_refused(self.run_wan(*generate_arguments("0")), BAD_FILE, "lacks Wan2.2_VAE.pth;",
                            "Wan2.1_VAE.pth is the VAE of Wan2.2-T2V-A14B and Wan2.2-I2V-A14B and Wan2.2-S2V-14B and "
                            "Wan2.2-Animate-14B")


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
