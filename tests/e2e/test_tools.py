"""wan inspect and wan tokenize."""

import json
import os
import shutil
import unittest

from support import BAD_FILE, CHECKPOINT, INVALID_ARGUMENT, UNPACKED, WanTest, change_tensors, generate_arguments, read_safetensors

EXPERT = "low_noise_model/diffusion_pytorch_model.safetensors"


class Inspect(WanTest):
    def test_checkpoint_directory(self):
        result = self.run_wan("inspect", CHECKPOINT)
        self.assertEqual((result.status, result.err), (0, ""))
        for word in ("diffusion transformer", "umT5 text encoder", "VAE 2.1", "high_noise_model", "dim"):
            self.assertIn(word, result.out)

    def test_json(self):
        models = json.loads(self.run_wan("inspect", CHECKPOINT, "--json").out)
        self.assertEqual(sorted(model["kind"] for model in models),
                         ["VAE 2.1", "diffusion transformer", "diffusion transformer", "umT5 text encoder"])
        header, body = read_safetensors(CHECKPOINT / EXPERT)
        expert = next(model for model in models if "low_noise" in model["path"])
        self.assertEqual(expert["findings"], "")
        self.assertEqual(expert["bytes"], len(body))
        header.pop("__metadata__", None)
        self.assertEqual({tensor["name"]: (tensor["shape"], tensor["bytes"]) for tensor in expert["tensors"]},
                         {name: (entry["shape"], entry["data_offsets"][1] - entry["data_offsets"][0])
                          for name, entry in header.items()})

    def test_one_file_or_folder(self):
        for part in ("low_noise_model", EXPERT, "Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth"):
            with self.subTest(part):
                (model,) = json.loads(self.run_wan("inspect", "--json", CHECKPOINT / part).out)
                self.assertGreater(len(model["tensors"]), 10)
                self.assertNotEqual(model["kind"], "tensors")
        self.assertIn("blocks.0.", self.run_wan("inspect", CHECKPOINT / EXPERT, "--tensors").out)

    def test_vae22(self):
        (model,) = json.loads(self.run_wan("inspect", "--json", UNPACKED / "vae22/levels4.pth").out)
        self.assertEqual((model["kind"], model["findings"]), ("VAE 2.2", ""))
        self.assertEqual(model["dimensions"], {"family": "VAE of Wan2.2-TI2V-5B (Wan2.2_VAE)", "format": "152 bf16",
                                               "dim": "4 encoder, 3 decoder", "latent channels": "48",
                                               "stride": "4x16x16", "patch": "2x2"})

    def test_findings(self):
        checkpoint = self.copy_checkpoint()
        change_tensors(checkpoint / EXPERT, lambda tensors: tensors.pop("head.head.bias"))
        result = self.run_wan("inspect", checkpoint)
        self.assertEqual(result.status, BAD_FILE)
        self.assertIn("head.head.bias", result.out)
        result = self.run_wan("inspect", checkpoint, "--json")
        self.assertEqual(result.status, BAD_FILE)
        self.assertTrue([model for model in json.loads(result.out) if "head.head.bias" in model["findings"]])
        self.assertEqual(json.loads(result.err)["code"], "bad_file")

    def test_dtypes(self):
        self.assertRegex(self.run_wan("inspect", CHECKPOINT).out, r"umT5 text encoder, \d+ tensors of bf16, ")

    def test_what_generation_would_refuse(self):
        def empty_expert(checkpoint):
            change_tensors(checkpoint / EXPERT, lambda tensors: tensors.clear())

        def link_out(checkpoint):
            (checkpoint / EXPERT).rename(self.folder / "outside.safetensors")
            (checkpoint / EXPERT).symlink_to(self.folder / "outside.safetensors")

        def unlike_experts(checkpoint):
            config = checkpoint / "low_noise_model/config.json"
            config.write_text(json.dumps({**json.loads(config.read_text(encoding="utf-8")), "eps": 1e-5}),
                              encoding="utf-8")

        damages = {
            "empty expert": (empty_expert, "no tensors"),
            "link": (link_out, "link out of its folder"),
            "unlike": (unlike_experts, '"eps"'),
            "no expert": (lambda c: shutil.rmtree(c / "high_noise_model"), "lacks high_noise_model"),
            "no text encoder": (lambda c: (c / "models_t5_umt5-xxl-enc-bf16.pth").unlink(), "lacks models_t5"),
            "no VAE": (lambda c: (c / "Wan2.1_VAE.pth").unlink(), "lacks Wan2.1_VAE.pth"),
            "no tokenizer": (lambda c: shutil.rmtree(c / "google"), "lacks google/umt5-xxl"),
            "broken tokenizer": (lambda c: (c / "google/umt5-xxl/tokenizer.json").write_text("{"), "tokenizer.json"),
            "broken file": (lambda c: (c / EXPERT).write_bytes(b"x" * 100), "diffusion_pytorch_model.safetensors"),
            "layers": (lambda c: (c / "low_noise_model/config.json").write_text(
                (c / "low_noise_model/config.json").read_text().replace('"num_layers": ', '"num_layers": 9')),
                "num_layers"),
        }
        for name, (damage, words) in damages.items():
            with self.subTest(name):
                checkpoint = self.copy_checkpoint()
                damage(checkpoint)
                self.assertNotEqual(self.run_wan(*generate_arguments(checkpoint)).status, 0)
                result = self.run_wan("inspect", checkpoint)
                self.assertEqual(result.status, BAD_FILE, result.out)
                self.assertIn(words, result.out)
                self.assertIn("not a whole model", result.err)
                models = json.loads(self.run_wan("inspect", checkpoint, "--json").out)
                self.assertTrue([model for model in models if words in model["findings"]])
                # What is left of it is still shown.
                self.assertGreaterEqual(len([model for model in models if not model["findings"]]), 2)
                shutil.rmtree(checkpoint)

    def test_names_out_of_a_file_are_shown_as_text(self):
        checkpoint = self.copy_checkpoint()
        name = "evil\x1b[2J\nfine: umT5\u009b\u202e"
        change_tensors(checkpoint / EXPERT, lambda tensors: tensors.update({name: ["F32", [1], b"\0\0\0\0"]}))
        shutil.copy(checkpoint / EXPERT, self.folder / "path\x1b[31m\n.safetensors")
        for arguments in (["inspect", checkpoint, "--tensors"], ["inspect", "path\x1b[31m\n.safetensors", "--tensors"],
                          ["inspect", "path\x1b[31m\n.safetensors", "--tensors", "--json"],
                          ["inspect", checkpoint, "--json"], generate_arguments(checkpoint),
                          generate_arguments(checkpoint, json=True), ["tokenize", "--ckpt_dir", CHECKPOINT, "--prompt", name],
                          ["tokenize", "--ckpt_dir", CHECKPOINT, "--prompt", name, "--json"],
                          ["inspect", "none\x1b[31m\n"]):
            with self.subTest(arguments):
                result = self.run_wan(*arguments)
                for text in (result.out, result.err):
                    self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|(?m:^fine: umT5)")
        change_tensors(checkpoint / EXPERT.replace("low", "high"), lambda tensors: tensors.popitem())
        both = self.run_wan(*generate_arguments(checkpoint)).err.splitlines()
        self.assertEqual(len([line for line in both if "does not fit the model" in line]), 2, both)
        self.assertEqual([line for line in both[1:] if not line.startswith("  ")], [])
        tensors = json.loads(self.run_wan("inspect", checkpoint / EXPERT, "--tensors", "--json").out)[0]["tensors"]
        self.assertIn(name, [tensor["name"] for tensor in tensors])
        self.assertIn(r"evil\x1b[2J\nfine: umT5\u009b\u202e", self.run_wan("inspect", checkpoint / EXPERT, "--tensors").out)

    def test_pipe(self):
        os.mkfifo(self.folder / "pipe.safetensors")
        self.assert_refused(self.run_wan("inspect", "pipe.safetensors"), BAD_FILE, "not a regular file")

    def test_errors(self):
        (self.folder / "text").write_text("no tensors")
        for arguments in (["nowhere"], ["text"], ["."]):
            with self.subTest(arguments):
                self.assert_refused(self.run_wan("inspect", *arguments), BAD_FILE, arguments[0])
                result = self.run_wan("inspect", *arguments, "--json")
                self.assertEqual((result.status, result.out), (BAD_FILE, ""))
                self.assertEqual(json.loads(result.err)["event"], "error")


class Tokenize(WanTest):
    def tokenize(self, prompt):
        result = self.run_wan("tokenize", "--ckpt-dir", CHECKPOINT, "--prompt", prompt, "--json")
        self.assertEqual(result.status, 0, result.err)
        return json.loads(result.out)

    def test_json(self):
        text = self.tokenize("  a  red &amp;amp; blue\tcircle ")
        self.assertEqual(text["cleaned"], "a red & blue circle")
        self.assertEqual((text["used"], text["limit"], text["truncated"]), (len(text["ids"]), 512, False))
        self.assertEqual(text["ids"][-1], 1)
        self.assertEqual(self.tokenize("")["ids"], [1])

    def test_too_long(self):
        text = self.tokenize("cat " * 2000)
        self.assertEqual((text["used"], text["truncated"], text["ids"][-1]), (512, True, 1))

    def test_plain(self):
        result = self.run_wan("tokenize", "--ckpt_dir", CHECKPOINT, "--prompt", "a cat")
        self.assertEqual((result.status, result.err), (0, ""))
        self.assertRegex(result.out, r"(?s)cleaned +a cat\nids .* 1\nused +\d+ of 512\n")

    def test_errors(self):
        for arguments, status, words in [
            (["--ckpt_dir", "nowhere", "--prompt", "a"], BAD_FILE, ["nowhere"]),
            (["--ckpt_dir", ".", "--prompt", "a"], BAD_FILE, ["google/umt5-xxl"]),
            (["--ckpt_dir", CHECKPOINT, "--prompt", b"\xff"], INVALID_ARGUMENT, ["UTF-8"]),
            (["--ckpt_dir", CHECKPOINT, "--promt", "a"], INVALID_ARGUMENT, ["--prompt"]),
        ]:
            with self.subTest(arguments):
                self.assert_refused(self.run_wan("tokenize", *arguments), status, *words)


if __name__ == "__main__":
    unittest.main()
