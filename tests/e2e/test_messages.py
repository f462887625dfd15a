"""What the program says of options: the library speaks of members, and no message shows one; no text from outside is taken for one."""

import json
import re
import unittest

from support import SOURCE, WanTest, change_tensors, generate_arguments

# Members whose options are called differently.
OTHER_NAMES = {"seed": "--base_seed", "dump_dir": "--dump"}
NEVER_WRONG = {"--lora_allow_unmatched", "--json", "--prompt_extend_fallback", "--plan", "--check", "--help", "--t5_cpu", "--dit_fsdp"}
# Texts that would name members if they were the program's own.
OUTSIDE = ["`size`", "``crf``", "\\`seed\\`", "a`size`.b`", "`", "\\`", "`size`\\"]
# An option, and the option that the error is about: the same, unless said otherwise.
WRONG = [({"task": "t3v"}, None), ({"task": "animate-14B"}, None), ({"size": "33*32"}, None), ({"size": "wide"}, None),
         ({"frame_num": "6"}, None), ({"frame_num": "six"}, None), ({"ckpt_dir": "nowhere"}, None), ({"ckpt_dir": ""}, None),
         ({"high_noise": "nowhere"}, None), ({"low_noise": "nowhere"}, None), ({"transformer": "nowhere"}, None), ({"text_encoder": "nowhere"}, None),
         ({"vae": "nowhere"}, None), ({"tokenizer": "nowhere"}, None), ({"preset": "lightning"}, None), ({"lora": "nowhere.safetensors"}, None), ({"lora": ":1"}, None),
         ({"sample_timesteps": "a"}, None), ({"sample_timesteps": "1,2", "sample_steps": None}, None), ({"sample_timesteps": "900,800", "sample_steps": "3"}, "--sample_steps"),
         ({"offload_model": "maybe"}, None), ({"gpus": "x"}, "--gpus"), ({"gpus": "1,1"}, None), ({"guidance_parallel": "x"}, None), ({"rank_timeout": "0"}, None), ({"p2p": "x"}, None), ({"t5_fsdp": True, "ulysses_size": "0"}, "--ulysses_size"),
         ({"image": "cat.png"}, None), ({"last_image": "cat.png"}, None), ({"save_file": "a.gif"}, None),
         ({"save_file": "nowhere/a.mp4"}, None), ({"prompt": ""}, None), ({"prompt": None}, None), ({"prompt": b"\xff"}, None),
         ({"base_seed": "x"}, None), ({"sample_solver": "heun"}, None), ({"sample_steps": "0"}, None), ({"sample_shift": "0"}, None),
         ({"sample_guide_scale": "inf"}, None), ({"sample_guide_scale": "a"}, None),
         ({"convert_model_dtype": True, "precision": "fp32"}, "--convert_model_dtype"), ({"negative_prompt": b"\xff"}, None),
         ({"device": "tpu"}, None), ({"precision": "fp8"}, None), ({"vae_precision": "fp8"}, None), ({"rng": "dice"}, None),
         ({"residency": "cloud"}, None), ({"memory_limit": "some"}, None), ({"threads": "-1"}, None), ({"threads": "x"}, None),
         ({"fps": "0"}, None), ({"codec": "gif"}, None), ({"crf": "99"}, None), ({"crf": "5", "save_file": "a_%05d.png"}, "--crf"),
         ({"save_latents": "latents"}, None), ({"save_latents": "nowhere/a.safetensors"}, None), ({"from_latents": "a.latents.safetensors"}, None),
         ({"dump": "nowhere/dump"}, None), ({"dump_taps": True}, None), ({"keep_every": "-1"}, None), ({"keep_dir": "nowhere"}, None), ({"requests": "nowhere.jsonl"}, None), ({"use_prompt_extend": True, "prompt_extend_model": "nowhere"}, "--prompt_extend_model"), ({"use_prompt_extend": True, "prompt_extend_method": "x"}, "--prompt_extend_method"), ({"use_prompt_extend": True, "prompt_extend_target_lang": "fr"}, "--prompt_extend_target_lang"), ({"use_prompt_extend": True, "prompt_extend_url": "x"}, "--prompt_extend_url"), ({"use_prompt_extend": True, "prompt_extend_system": "nowhere"}, "--prompt_extend_system"), ({"audio": "a.wav"}, None),
         ({"num_clip": "2"}, None), ({"num_clip": "x"}, None), ({"infer_frames": "8"}, None), ({"infer_frames": "x"}, None),
         ({"pose_video": "a.mp4"}, None), ({"pose_frames": "time"}, None), ({"start_from_ref": True}, None), ({"official_sync": True}, None),
         ({"audio_start": "1"}, None), ({"audio_start": "x"}, None), ({"audio_duration": "1"}, None), ({"audio_duration": "x"}, None),
         ({"enable_tts": True}, "--tts_command"), ({"enable_tts": True, "tts_command": "true {out}"}, "--tts_text"),
         ({"tts_text": "x"}, "--enable_tts"), ({"tts_command": "x"}, "--enable_tts"), ({"tts_prompt_audio": "x"}, "--enable_tts"),
         ({"tts_prompt_text": "x"}, "--enable_tts"), ({"src_root_path": "nowhere"}, None), ({"replace_flag": True}, None),
         ({"refert_num": "1"}, None), ({"refert_num": "x"}, None), ({"use_relighting_lora": True}, None), ({"official_output": True}, None),
         ({"video": "nowhere.mp4"}, None), ({"ckpt_path": "x"}, "--video"), ({"resolution_area": "32"}, "--video"), ({"retarget_flag": True}, "--video"),
         ({"use_flux": True}, "--video"), ({"iterations": "1"}, "--video"), ({"iterations": "x"}, None), ({"k": "3"}, "--video"), ({"k": "x"}, None),
         ({"w_len": "3"}, "--video"), ({"w_len": "x"}, None), ({"h_len": "3"}, "--video"), ({"h_len": "x"}, None), ({"edited_refer": "x"}, "--video"),
         ({"edited_frame": "x"}, "--video"), ({"pose_rgb": True}, "--video")]


class Messages(WanTest):
    def options(self, *commands):
        return {option for command in commands
                for option in re.findall(r"--\w+", self.run_wan(command, "--help").out)}

    def test_every_member_that_a_message_names_has_an_option(self):
        members = {name for folder in ("src", "include") for path in (SOURCE / folder).rglob("*")
                   if path.suffix in {".h", ".cpp", ".cu"}
                   for text in re.findall(r'"(?:\\.|[^"\\\n])*"', re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8")))
                   for name in re.findall(r"`([a-z][a-z0-9_]*)`", text)}
        self.assertGreater(len(members), 30)
        options = self.options("generate", "bench", "plan", "preprocess", "doctor", "download")
        self.assertEqual([name for name in sorted(members) if OTHER_NAMES.get(name, "--" + name) not in options], [])

    def test_an_error_about_an_option_names_it(self):
        tried = {"--" + name for options, _ in WRONG for name in options}
        self.assertEqual(self.options("generate") - tried - NEVER_WRONG, set())
        for options, about in WRONG:
            about = about or "--" + next(iter(options))
            with self.subTest(**options):
                result = self.run_wan(*generate_arguments(**options, json=True))
                self.assertEqual(result.err, "")
                (error,) = result.events
                self.assertEqual((error["event"], error.get("option")), ("error", about), error["message"])
                self.assertNotIn("`", error["message"])
                told = self.run_wan(*generate_arguments(**options))
                self.assertEqual(told.err, f"error: {error['message']}\n")

    def test_latents_contradict_an_option(self):
        self.generate(save_file="a_%05d.png", save_latents="a.safetensors")
        contradicting = {"prompt": "a cat", "size": "64*32", "frame_num": "9", "base_seed": "8", "sample_solver": "euler",
                         "sample_steps": "4", "task": "ti2v-5B"}
        for option, value in contradicting.items():
            with self.subTest(option=option):
                (error,) = self.run_wan(*generate_arguments(from_latents="a.safetensors", save_file="b_%05d.png", json=True,
                                                            **{option: value})).events
                self.assertEqual(error["option"], "--" + option, error["message"])
                if option != "task":
                    self.assertIn(f"--{option} contradicts the latents", error["message"])

    def test_an_error_about_no_option_names_none(self):
        for arguments in (["generate", "--unknown", "x"], ["generate", "x"], ["inspect"], ["inspect", "nowhere"]):
            result = self.run_wan(*arguments, "--json")
            error = json.loads(result.out + result.err)
            self.assertEqual(error["event"], "error")
            self.assertNotIn("option", error)

    def test_text_from_outside_is_shown_as_it_is(self):
        for text in OUTSIDE:
            for option, said in [("size", f"--size {text}: expected"), ("task", f"--task {text}: expected"),
                                 ("device", f"--device {text}: expected"), ("threads", f"--threads {text}: expected"),
                                 ("ckpt_dir", f" {text} does not exist"), ("rng", f"--rng {text}: "),
                                 ("save_latents", f"--save_latents {text}: "), ("from_latents", f" {text} becomes"),
                                 ("save_file", text)]:
                with self.subTest(option=option, text=text):
                    result = self.run_wan(*generate_arguments(**{option: text}))
                    self.assertNotEqual(result.status, 0)
                    self.assertIn(said, result.err)
            shown = self.run_wan("inspect", text)
            self.assertIn(f"error: cannot open {text}: ", shown.err)

    def test_names_in_files_are_shown_as_they_are(self):
        checkpoint = self.copy_checkpoint("`size`")
        config = checkpoint / "generation_config.json"
        defaults = json.loads(config.read_text()) if config.exists() else {}
        for key, value, said in [("size", "`crf`*1", "`crf`*1: expected width*height"), ("sample_solver", "`crf`", "`crf`: expected unipc"),
                                 ("`crf`", 1, '"`crf`" is not a known key')]:
            config.write_text(json.dumps({**defaults, key: value}))
            result = self.run_wan(*generate_arguments(checkpoint=checkpoint, size=None, sample_solver=None))
            self.assertIn("`size`/generation_config.json: ", result.err)
            self.assertIn(said, result.err)

    def test_findings_are_shown_as_they_are(self):
        checkpoint = self.copy_checkpoint("`size`")
        (checkpoint / "Wan2.1_VAE.pth").unlink()
        result = self.run_wan("inspect", "`size`")
        self.assertIn("`size` lacks Wan2.1_VAE.pth", result.out)
        self.assertIn("`size` lacks Wan2.1_VAE.pth", self.run_wan("inspect", "`size`", "--json").out)
        change_tensors(checkpoint / "high_noise_model" / "diffusion_pytorch_model.safetensors",
                       lambda tensors: tensors.update({"`crf`": tensors.popitem()[1]}))
        self.assertIn("1 unused:\n    '`crf`'", self.run_wan("inspect", "`size`").out)

    def test_notices_are_shown_as_they_are(self):
        checkpoint = self.copy_checkpoint("`size`")
        (checkpoint / "high_noise_model" / "`crf`.safetensors").write_bytes(b"a LoRA")
        said = f"'`crf`.safetensors' is ignored beside {checkpoint}/high_noise_model"
        self.assertIn(said, self.generate(checkpoint=checkpoint, save_file="a_%05d.png").err)
        events = self.generate(checkpoint=checkpoint, save_file="b_%05d.png", json=True).events
        self.assertTrue(any(said in event["message"] for event in events if event["event"] == "notice"), events)


if __name__ == "__main__":
    unittest.main()
