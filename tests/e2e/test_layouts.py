"""The layouts that users have: each gives the same video as the official folder, byte for byte; relatives are named."""

import json
import shutil
import unittest

from gguf_support import BF16_TENSOR, F32_TENSOR, write_gguf
from layouts_support import make_animate_comfyui, make_animate_diffusers, make_comfyui, make_diffusers, read_tensors, read_torch, renamed, write_tensors
from support import (BAD_FILE, INVALID_ARGUMENT, SMALL, SOURCE, UNPACKED, UNSUPPORTED, WanTest, generate_arguments, read_png)

DEMO = SOURCE / "models/demo"
QUICK = {"size": "32*32", "frame_num": "1", "sample_steps": "2"}


def official_around(checkpoint, transformers):
    """The folder `transformers` with what else an official folder has."""
    for part in checkpoint.iterdir():
        if not (transformers / part.name).exists():
            (transformers / part.name).symlink_to(part)
    return transformers


class SameVideo(WanTest):
    def frame(self, checkpoint, *arguments, env=None):
        """Pixels of a still."""
        self.generate(*arguments, checkpoint=checkpoint, save_file="still.png", env=env, **QUICK) if checkpoint else \
            self.generate(*arguments, ckpt_dir=None, save_file="still.png", env=env, **QUICK)
        return read_png(self.folder / "still.png")[2]

    def test_every_layout(self):
        expected = self.frame(DEMO)
        diffusers = make_diffusers(DEMO, self.folder / "Wan2.2-T2V-A14B-Diffusers")
        with self.subTest("diffusers"):
            self.assertEqual(self.frame(diffusers), expected)
        comfy = make_comfyui(DEMO, self.folder / "comfy")
        with self.subTest("ComfyUI"):
            self.assertEqual(self.frame(comfy), expected)
        with self.subTest("ComfyUI behind a prefix"):
            self.assertEqual(self.frame(make_comfyui(DEMO, self.folder / "merged", "model.diffusion_model.")), expected)
        files = comfy / "split_files"
        experts = ["--high_noise", files / "diffusion_models/wan2.2_t2v_high_noise_14B_fp16.safetensors",
                   "--low_noise", files / "diffusion_models/wan2.2_t2v_low_noise_14B_fp16.safetensors"]
        rest = ["--text_encoder", files / "text_encoders/umt5_xxl_fp16.safetensors",
                "--vae", diffusers / "vae", "--tokenizer", DEMO / "google/umt5-xxl/tokenizer.json"]
        with self.subTest("files alone"):
            shutil.copy(DEMO / "generation_config.json", self.folder)  # of the working folder, which is nobody's
            self.assertEqual(self.frame("", *experts, *rest, "--sample_shift", "5", "--sample_guide_scale", "4",
                                        "--negative_prompt", ""), expected)
        with self.subTest("files in a folder's place"):
            self.assertEqual(self.frame(DEMO, *experts, "--vae", files / "vae/wan_2.1_vae.safetensors"), expected)
        with self.subTest("tokenize"):
            ids = [self.run_wan("tokenize", "--json", "--ckpt_dir", folder, "--prompt", "a red circle").out
                   for folder in (DEMO, diffusers, comfy)]
            self.assertEqual(ids, [ids[0]] * 3)
        with self.subTest("inspect"):
            shown = self.run_wan("inspect", comfy)
            self.assertEqual((shown.status, shown.err), (0, ""))
            for words in ("expert of Wan2.2-T2V-A14B", "VAE of Wan2.1", "names            transformers"):
                self.assertIn(words, shown.out)
            shown = self.run_wan("inspect", diffusers)
            self.assertEqual((shown.status, shown.err), (0, ""))
            self.assertIn("names            diffusers", shown.out)
        with self.subTest("converted"):
            converted = self.folder / "converted"
            self.assertEqual(self.run_wan("convert", "--ckpt_dir", diffusers, "--format", "bf16", converted).status, 0)
            self.assertEqual(self.frame(official_around(DEMO, converted)), expected)
        with self.subTest("cache"):
            repository = self.folder / "hub/models--Wan-AI--Wan2.2-T2V-A14B-Diffusers"
            (repository / "blobs").mkdir(parents=True)
            (repository / "refs").mkdir()
            (repository / "refs/main").write_text("abc")
            for number, path in enumerate(sorted(diffusers.rglob("*"))):
                if path.is_dir():
                    continue
                shutil.copy(path, repository / f"blobs/{number}")
                link = repository / "snapshots/abc" / path.relative_to(diffusers)
                link.parent.mkdir(parents=True, exist_ok=True)
                up = "../" * (len(path.relative_to(diffusers).parts) + 1)
                link.symlink_to(f"{up}blobs/{number}")
            self.assertEqual(self.frame(repository), expected)
            env = {"HF_HUB_CACHE": str(self.folder / "hub")}
            for name in ("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "Wan2.2-T2V-A14B-Diffusers"):
                self.assertEqual(self.frame(name, env=env), expected)
            self.assertEqual(read_png(self.folder / "still.png")[3]["model"], "Wan2.2-T2V-A14B-Diffusers")
            self.assert_refused(self.run_wan(*generate_arguments("Wan-AI/Wan2.2-I2V-A14B"), env=env), BAD_FILE,
                                "Wan-AI/Wan2.2-I2V-A14B does not exist", "nor has a model of that name been downloaded")


class SameAnimation(WanTest):
    QUICK = {"task": "animate-14B", "src_root_path": UNPACKED / "animate/moves", "size": None, "prompt": None, "frame_num": "9", "sample_steps": "1"}

    def frames(self, checkpoint):
        folder = self.folder / f"frames{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        self.generate(checkpoint=checkpoint, save_file=folder / "%03d.png", **self.QUICK)
        return [read_png(path)[2] for path in sorted(folder.iterdir())]

    def refuse(self, checkpoint, *words):
        self.assert_refused(self.run_wan(*generate_arguments(checkpoint, **self.QUICK)), BAD_FILE, *words)

    def test_every_layout(self):
        official = UNPACKED / "animate/checkpoint"
        expected = self.frames(official)
        diffusers = make_animate_diffusers(official, self.folder / "Wan2.2-Animate-14B-Diffusers")
        with self.subTest("diffusers"):
            self.assertEqual(self.frames(diffusers), expected)
            shown = self.run_wan("inspect", diffusers)
            self.assertEqual((shown.status, shown.err), (0, ""))
            for words in ("transformer of Wan2.2-Animate-14B", "names            diffusers", "CLIP image encoder", "names            transformers"):
                self.assertIn(words, shown.out)
        with self.subTest("converted"):
            converted = self.folder / "converted"
            self.assertEqual(self.run_wan("convert", "--ckpt_dir", diffusers, "--format", "bf16", converted).status, 0)
            self.assertEqual(self.frames(official_around(official, converted)), expected)
        with self.subTest("another CLIP"):
            config = diffusers / "image_encoder/config.json"
            config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_act": "quick_gelu"}))
            self.assert_refused(self.run_wan(*generate_arguments(diffusers, **self.QUICK)), UNSUPPORTED, "image_encoder/config.json", "is not gelu")
            config.unlink()
        with self.subTest("ComfyUI"):
            comfy = make_animate_comfyui(official, self.folder / "comfy")
            self.assertEqual(self.frames(comfy), expected)
            shutil.rmtree(comfy / "split_files/clip_vision")
            self.refuse(comfy, "holds no CLIP image encoder", "clip_vision_h")
        file = diffusers / "transformer/diffusion_pytorch_model.safetensors"
        tensors = read_tensors(file)
        with self.subTest("a piece is missing"):
            value = tensors.pop("face_adapter.0.to_v.weight")
            write_tensors(file, tensors)
            result = self.run_wan(*generate_arguments(diffusers, **self.QUICK))
            self.assertEqual(result.status, BAD_FILE)
            for words in ("1 missing:\n    face_adapter.fuser_blocks.0.linear1_kv.weight", "1 unused:\n    'face_adapter.0.to_k.weight'"):
                self.assertIn(words, result.err)
        with self.subTest("a piece is of another shape"):
            tensors["face_adapter.0.to_v.weight"] = value[0], [value[1][0] * value[1][1], 1], value[2]
            write_tensors(file, tensors)
            self.refuse(diffusers, "'face_adapter.0.to_k.weight' and 'face_adapter.0.to_v.weight' to be rows")
        with self.subTest("pieces with scales"):
            for letter in "kv":
                tensors[f"face_adapter.0.to_{letter}.weight"] = "F8_E4M3", value[1], bytes(len(value[2]) // 2)
                tensors[f"face_adapter.0.to_{letter}.scale_weight"] = "F32", [], b"\0\0\x80?"
            write_tensors(file, tensors)
            self.assert_refused(self.run_wan(*generate_arguments(diffusers, **self.QUICK)), UNSUPPORTED,
                                "'face_adapter.0.to_k.weight' has scales, and is a piece of an official tensor")
        with self.subTest("no image encoder"):
            shutil.rmtree(diffusers / "image_encoder")
            self.refuse(diffusers, "lacks image_encoder; expected the layout of diffusers", "tokenizer/, image_encoder/ and vae/")


class Relatives(WanTest):
    """What is not this program's, or not in its place, is named before anything loads."""

    @classmethod
    def setUpClass(cls):
        cls.expert = read_tensors(next((DEMO / "high_noise_model").glob("*.safetensors")))

    def test_named_parts(self):
        high = DEMO / "high_noise_model/diffusion_pytorch_model.safetensors"
        low = DEMO / "low_noise_model/diffusion_pytorch_model.safetensors"
        named = {noise: self.folder / f"wan2.2_t2v_{noise}_noise_14B.safetensors" for noise in ("high", "low")}
        shutil.copy(high, named["high"])
        shutil.copy(low, named["low"])
        vae22 = UNPACKED / "vae22/levels4.pth"
        text = DEMO / "models_t5_umt5-xxl-enc-bf16.pth"
        for arguments, status, words in [
                (["--high_noise", named["low"], "--low_noise", named["high"]], BAD_FILE, ["experts are exchanged"]),
                (["--high_noise", named["low"], "--low_noise", low], BAD_FILE, ["low-noise expert by its name"]),
                (["--high_noise", high, "--low_noise", high], BAD_FILE, ["both experts"]),
                (["--transformer", high], UNSUPPORTED, ["expert of Wan2.2-T2V-A14B", "--high_noise and --low_noise"]),
                (["--transformer", high, "--high_noise", high], INVALID_ARGUMENT, ["--transformer is for"]),
                (["--vae", vae22], BAD_FILE, ["48 latent channels", "Wan2.1_VAE.pth"]),
                (["--vae", text], BAD_FILE, ["no VAE", "umT5 text encoder"]),
                (["--text_encoder", high], BAD_FILE, ["no text encoder", "expert of Wan2.2-T2V-A14B"]),
                (["--high_noise", text], BAD_FILE, ["no transformer", "umT5 text encoder"]),
                *[([option, "nowhere.safetensors"], BAD_FILE, [f"{option} nowhere.safetensors does not exist"]) for option in
                  ("--high_noise", "--low_noise", "--transformer", "--text_encoder", "--vae", "--tokenizer")],
                (["--tokenizer", high], BAD_FILE, ["holds no tokenizer", "--tokenizer"])]:
            with self.subTest(words):
                self.assert_refused(self.run_wan(*generate_arguments(DEMO), *arguments), status, *words)
        for arguments, words in [
                (["--high_noise", high], ["--low_noise is missing"]),
                (["--high_noise", high, "--low_noise", low], ["--text_encoder is missing"]),
                (["--high_noise", high, "--low_noise", low, "--text_encoder", text], ["--vae is missing"]),
                (["--vae", vae22], ["--ckpt_dir is missing"]), ([], ["--ckpt_dir is missing"])]:
            with self.subTest(words):
                self.assert_refused(self.run_wan(*generate_arguments(ckpt_dir=None), *arguments), INVALID_ARGUMENT, *words)

    def test_a_diffusers_folder_with_parts_of_other_names(self):
        folder = make_diffusers(DEMO, self.folder / "diffusers")
        comfy = make_comfyui(DEMO, self.folder / "comfy") / "split_files"
        text, vae = folder / "umt5_xxl_fp16.safetensors", folder / "wan_2.1_vae.safetensors"
        shutil.copy(comfy / "text_encoders" / text.name, text)
        shutil.copy(comfy / "vae" / vae.name, vae)
        for part in ("text_encoder", "vae"):
            shutil.rmtree(folder / part)
        self.assert_refused(self.run_wan(*generate_arguments(folder)), BAD_FILE, "lacks text_encoder, vae;",
                            f"{text} is a umT5 text encoder: name it with --text_encoder", f"{vae} is a VAE of Wan2.1", "name it with --vae")
        self.assertEqual(SameVideo.frame(self, folder, "--text_encoder", text, "--vae", vae), SameVideo.frame(self, DEMO))

    def test_a_vae_of_other_latents(self):
        folder = make_diffusers(DEMO, self.folder / "diffusers")
        config = json.loads((folder / "vae/config.json").read_text())
        self.assertNotIn("latents_", self.generate(checkpoint=folder, save_file="a.png", frame_num="1").err)
        for name in ("latents_mean", "latents_std"):
            for other in ([*config[name][:-1], config[name][-1] + 0.01], config[name][:-1], "none"):
                (folder / "vae/config.json").write_text(json.dumps({**config, name: other}))
                result = self.generate(checkpoint=folder, save_file="a.png", frame_num="1")
                self.assertEqual((result.err + result.out).count(f'vae/config.json has other "{name}" than the VAE of Wan2.2-T2V-A14B'), 1)

    def test_an_official_folder_with_parts_of_other_names(self):
        folder = self.folder / "checkpoint"
        shutil.copytree(DEMO, folder)
        comfy = make_comfyui(DEMO, self.folder / "comfy") / "split_files"
        shutil.copy(comfy / "text_encoders/umt5_xxl_fp16.safetensors", folder)
        (folder / "vae").mkdir()
        shutil.copy(comfy / "vae/wan_2.1_vae.safetensors", folder / "vae")
        shutil.copy(UNPACKED / "vae22/levels4.pth", folder / "other.pth")
        (folder / "models_t5_umt5-xxl-enc-bf16.pth").unlink()
        text, vae = folder / "umt5_xxl_fp16.safetensors", folder / "vae/wan_2.1_vae.safetensors"
        refused = self.run_wan(*generate_arguments(folder))
        self.assert_refused(refused, BAD_FILE, "lacks models_t5_umt5-xxl-enc-bf16.pth;",
                            f"{text} is a umT5 text encoder: name it with --text_encoder")
        self.assertNotIn("--vae", refused.err)
        (folder / "Wan2.1_VAE.pth").unlink()
        refused = self.run_wan(*generate_arguments(folder), "--text_encoder", text)
        self.assert_refused(refused, BAD_FILE, "lacks Wan2.1_VAE.pth;", f"{vae} is a VAE of Wan2.1", "name it with --vae")
        for words in ("--text_encoder", "other.pth"):
            self.assertNotIn(words, refused.err)
        expected = SameVideo.frame(self, DEMO)
        self.assertEqual(SameVideo.frame(self, folder, "--text_encoder", text, "--vae", vae), expected)
        packed = folder / "umt5-xxl-encoder.gguf"
        kinds = {"F32": F32_TENSOR, "BF16": BF16_TENSOR}
        names = [(r"token_embedding\.weight", "token_embd.weight"), (r"norm\.weight", "enc.output_norm.weight"),
                 (r"blocks\.(\d+)\.attn\.([qkvo])\.weight", r"enc.blk.\1.attn_\2.weight"),
                 (r"blocks\.(\d+)\.pos_embedding\.embedding\.weight", r"enc.blk.\1.attn_rel_b.weight"),
                 (r"blocks\.(\d+)\.norm1\.weight", r"enc.blk.\1.attn_norm.weight"),
                 (r"blocks\.(\d+)\.norm2\.weight", r"enc.blk.\1.ffn_norm.weight"),
                 (r"blocks\.(\d+)\.ffn\.gate\.0\.weight", r"enc.blk.\1.ffn_gate.weight"),
                 (r"blocks\.(\d+)\.ffn\.fc1\.weight", r"enc.blk.\1.ffn_up.weight"),
                 (r"blocks\.(\d+)\.ffn\.fc2\.weight", r"enc.blk.\1.ffn_down.weight")]
        write_gguf(packed, {"general.architecture": "t5encoder"},
                   {name: (kinds[dtype], shape, data) for name, (dtype, shape, data) in
                    renamed(read_torch(DEMO / "models_t5_umt5-xxl-enc-bf16.pth"), names).items()})
        text.unlink()
        self.assert_refused(self.run_wan(*generate_arguments(folder)), BAD_FILE, f"{packed} is a umT5 text encoder: name it with --text_encoder")
        self.assertEqual(SameVideo.frame(self, folder, "--text_encoder", packed, "--vae", vae), expected)

    def test_other_models(self):
        for number, (names, words) in enumerate([
                (["vace_patch_embedding.weight"], ["VACE transformer"]),
                (["img_emb.proj.1.weight"], ["Wan2.1-I2V-14B"]),
                (["ref_conv.weight"], ["Wan2.2-Fun"])]):
            with self.subTest(words):
                tensors = {**self.expert, **{name: ("F32", [1], b"\0" * 4) for name in names}}
                file = self.folder / f"{number}/model.safetensors"
                write_tensors(file, tensors)
                for arguments in (generate_arguments(file.parent), [*generate_arguments(DEMO), "--transformer", file]):
                    self.assert_refused(self.run_wan(*arguments), UNSUPPORTED, "is a ", *words, "this version has")
                self.assertIn(words[0], self.run_wan("inspect", file).out)
        for number, (name, words) in enumerate([
                ("blocks.0.self_attn.q.lora_down.weight", ["a LoRA", "an addition to"]),
                ("double_blocks.0.img_attn.qkv.weight", ["FLUX or HunyuanVideo"])], start=10):
            with self.subTest(words):
                file = self.folder / f"{number}/model.safetensors"
                write_tensors(file, {name: ("F32", [1], b"\0" * 4)})
                self.assert_refused(self.run_wan(*generate_arguments(DEMO), "--high_noise", file), BAD_FILE, *words)
                self.assert_refused(self.run_wan(*generate_arguments(file.parent)), BAD_FILE, "no checkpoint of Wan2.2", words[0])

    def test_which_of_several(self):
        comfy = make_comfyui(DEMO, self.folder / "comfy")
        models = comfy / "split_files/diffusion_models"
        shutil.copy(models / "wan2.2_t2v_high_noise_14B_fp16.safetensors", models / "wan2.2_t2v_high_noise_14B_bf16.safetensors")
        self.assert_refused(self.run_wan(*generate_arguments(comfy)), BAD_FILE, "holds 3 transformers",
                            "high_noise_14B_bf16", "--high_noise and --low_noise")
        (comfy / "split_files/vae/wan_2.1_vae.safetensors").unlink()
        for path in models.glob("*_bf16.safetensors"):
            path.unlink()
        self.assert_refused(self.run_wan(*generate_arguments(comfy)), BAD_FILE, "holds no VAE of Wan2.1", "--vae")

    def test_fused_projections(self):
        folder = make_diffusers(DEMO, self.folder / "fused")
        file = folder / "transformer/diffusion_pytorch_model.safetensors"
        tensors = read_tensors(file)
        tensors["blocks.0.attn1.to_qkv.weight"] = tensors.pop("blocks.0.attn1.to_q.weight")
        write_tensors(file, tensors)
        self.assert_refused(self.run_wan(*generate_arguments(folder)), UNSUPPORTED, "unfuse_projections")


if __name__ == "__main__":
    unittest.main()
