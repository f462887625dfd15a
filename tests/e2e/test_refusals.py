"""Requests that are wrong: one line that says what would be right, the documented status, at once, nothing written."""

import json
import os
import unittest

from support import (BAD_FILE, CHECKPOINT, INVALID_ARGUMENT, OUT_OF_MEMORY, UNSUPPORTED, WanTest, generate_arguments)

I2V_CHECKPOINT = CHECKPOINT.parent / "checkpoint_i2v"

# Options of a small generation, the status, and words that the line must hold.
WRONG_VALUES = [
    ({"size": "33*32"}, INVALID_ARGUMENT, ["--size 33*32", "multiples of 16", "32*32"]),
    ({"size": "8*8"}, INVALID_ARGUMENT, ["--size 8*8", "16*16"]),
    ({"size": "0*32"}, INVALID_ARGUMENT, ["--size 0*32"]),
    ({"size": "-32*32"}, INVALID_ARGUMENT, ["--size -32*32"]),
    ({"size": "832"}, INVALID_ARGUMENT, ["--size 832", "832*480"]),
    ({"size": "32*32*3"}, INVALID_ARGUMENT, ["--size"]),
    ({"size": "99999999999*32"}, INVALID_ARGUMENT, ["--size"]),
    ({"size": "1000000*32"}, INVALID_ARGUMENT, ["--size", "8192"]),
    ({"frame_num": "6"}, INVALID_ARGUMENT, ["--frame_num 6", "4n + 1", "5"]),
    ({"frame_num": "0"}, INVALID_ARGUMENT, ["--frame_num 0", "4n + 1"]),
    ({"frame_num": "-3"}, INVALID_ARGUMENT, ["--frame_num -3"]),
    ({"frame_num": "many"}, INVALID_ARGUMENT, ["--frame_num many", "whole number"]),
    ({"frame_num": "5.0"}, INVALID_ARGUMENT, ["--frame_num 5.0", "whole number"]),
    ({"frame_num": "99999999999"}, INVALID_ARGUMENT, ["--frame_num", "too large"]),
    ({"base_seed": "1.5"}, INVALID_ARGUMENT, ["--base_seed 1.5", "whole number"]),
    ({"base_seed": "9223372036854775808"}, INVALID_ARGUMENT, ["--base_seed", "too large"]),
    ({"sample_solver": "ddim"}, INVALID_ARGUMENT, ["--sample_solver ddim", "unipc, dpm++ or euler"]),
    ({"sample_steps": "0"}, INVALID_ARGUMENT, ["--sample_steps", "1 to 1000"]),
    ({"sample_steps": "1001"}, INVALID_ARGUMENT, ["--sample_steps", "1 to 1000"]),
    ({"sample_steps": "x"}, INVALID_ARGUMENT, ["--sample_steps x", "whole number"]),
    ({"sample_shift": "0"}, INVALID_ARGUMENT, ["--sample_shift 0", "above 0"]),
    ({"sample_shift": "-1"}, INVALID_ARGUMENT, ["--sample_shift -1", "above 0"]),
    ({"sample_shift": "nan"}, INVALID_ARGUMENT, ["--sample_shift nan"]),
    ({"sample_shift": "high"}, INVALID_ARGUMENT, ["--sample_shift high", "number"]),
    ({"sample_guide_scale": "a,b"}, INVALID_ARGUMENT, ["--sample_guide_scale a,b", "low,high"]),
    ({"sample_guide_scale": "1,2,3"}, INVALID_ARGUMENT, ["--sample_guide_scale 1,2,3", "low,high"]),
    ({"sample_guide_scale": "inf"}, INVALID_ARGUMENT, ["--sample_guide_scale inf"]),
    ({"rng": "mersenne"}, INVALID_ARGUMENT, ["--rng mersenne", "torch-cpu"]),
    ({"rng": "torch-cuda:Voodoo"}, INVALID_ARGUMENT, ["--rng torch-cuda:Voodoo", "H200", "132x2048"]),
    ({"rng": "torch-cuda:0x0"}, INVALID_ARGUMENT, ["--rng torch-cuda:0x0", "132x2048"]),
    ({"precision": "fp16"}, INVALID_ARGUMENT, ["--precision fp16", "fp32 or bf16"]),
    ({"vae_precision": "fp16"}, INVALID_ARGUMENT, ["--vae_precision fp16", "fp32 or bf16"]),
    ({"device": "cuda"}, UNSUPPORTED, ["--device cuda", "--device cpu"]),
    ({"device": "tpu"}, INVALID_ARGUMENT, ["--device tpu", "cpu"]),
    ({"residency": "somewhere"}, INVALID_ARGUMENT, ["--residency somewhere", "streamed"]),
    ({"memory_limit": "lots"}, INVALID_ARGUMENT, ["--memory_limit lots", "16GB"]),
    ({"memory_limit": "1MB"}, OUT_OF_MEMORY, ["--size"]),
    ({"threads": "-2"}, INVALID_ARGUMENT, ["--threads -2"]),
    ({"threads": "two"}, INVALID_ARGUMENT, ["--threads two", "whole number"]),
    ({"offload_model": "maybe"}, INVALID_ARGUMENT, ["--offload_model maybe", "True or False"]),
    ({"ulysses_size": "0"}, INVALID_ARGUMENT, ["--ulysses_size 0"]),
    ({"ulysses_size": "9"}, INVALID_ARGUMENT, ["heads", "at most"]),
    ({"gpus": "0"}, INVALID_ARGUMENT, ["--gpus 0", "how many", "0,2,3"]),
    ({"gpus": "0,x"}, INVALID_ARGUMENT, ["--gpus 0,x"]),
    ({"gpus": "1,1"}, INVALID_ARGUMENT, ["--gpus", "twice"]),
    ({"gpus": "3", "guidance_parallel": "on"}, INVALID_ARGUMENT, ["even number", "--gpus names 3"]),
    ({"gpus": "4", "ulysses_size": "4", "guidance_parallel": "on"}, INVALID_ARGUMENT, ["--ulysses_size 4", "half as many"]),
    ({"gpus": "4", "ulysses_size": "2", "guidance_parallel": "off"}, INVALID_ARGUMENT, ["--ulysses_size 2", "as many ranks as GPUs"]),
    ({"guidance_parallel": "on", "sample_guide_scale": "1"}, INVALID_ARGUMENT, ["no step has two", "--guidance_parallel"]),
    ({"guidance_parallel": "maybe"}, INVALID_ARGUMENT, ["on, off or auto"]),
    ({"gpus": "2", "ulysses_size": "3"}, INVALID_ARGUMENT, ["--ulysses_size 3", "--gpus names 2"]),
    ({"gpus": "2", "device": "cpu"}, INVALID_ARGUMENT, ["--device cpu contradicts --gpus"]),
    ({"task": "i2v-A14B", "image": "cat.png"}, INVALID_ARGUMENT, ["use --task t2v-A14B"]),
    ({"task": "ti2v-5B"}, INVALID_ARGUMENT, ["use --task t2v-A14B"]),
    ({"task": "animate-14B"}, INVALID_ARGUMENT, ["use --task t2v-A14B"]),
    ({"task": "t2v-1.3B"}, INVALID_ARGUMENT, ["--task t2v-1.3B", "t2v-A14B"]),
    ({"image": "cat.png"}, INVALID_ARGUMENT, ["--image: t2v-A14B", "i2v-A14B"]),
    ({"last_image": "cat.png"}, INVALID_ARGUMENT, ["--last_image: t2v-A14B", "i2v-A14B"]),
    ({"audio": "a.wav"}, INVALID_ARGUMENT, ["--audio", "s2v-14B"]),
    ({"start_from_ref": True}, INVALID_ARGUMENT, ["--start_from_ref", "s2v-14B"]),
    ({"replace_flag": True}, INVALID_ARGUMENT, ["--replace_flag", "animate-14B"]),
    ({"src_root_path": "a"}, INVALID_ARGUMENT, ["--src_root_path", "animate-14B"]),
    ({"refert_num": "5"}, INVALID_ARGUMENT, ["--refert_num", "animate-14B"]),
    ({"convert_model_dtype": True, "precision": "fp32"}, INVALID_ARGUMENT,
     ["--convert_model_dtype", "--precision fp32"]),
    ({"prompt": ""}, INVALID_ARGUMENT, ["--prompt is empty"]),
    ({"prompt": " \t\n"}, INVALID_ARGUMENT, ["--prompt is empty"]),
    ({"prompt": "\u3000\u00a0"}, INVALID_ARGUMENT, ["--prompt is empty"]),
    ({"prompt": None}, INVALID_ARGUMENT, ["--prompt is missing"]),
    ({"prompt": b"caf\xe9"}, INVALID_ARGUMENT, ["--prompt:", "UTF-8"]),
    ({"negative_prompt": b"caf\xe9"}, INVALID_ARGUMENT, ["--negative_prompt:", "UTF-8"]),
    ({"ckpt_dir": None}, INVALID_ARGUMENT, ["--ckpt_dir is missing"]),
    ({"ckpt_dir": "nowhere"}, BAD_FILE, ["nowhere", "does not exist"]),
    ({"dump_taps": True}, INVALID_ARGUMENT, ["--dump_taps needs --dump"]),
    ({"memory_limit": "16000000000"}, INVALID_ARGUMENT, ["means GB", "16000000000B"]),
    ({"memory_limit": "16XB"}, INVALID_ARGUMENT, ["--memory_limit 16XB", "16GB"]),
    ({"memory_limit": "0"}, INVALID_ARGUMENT, ["--memory_limit 0", "16GB"]),
    ({"memory_limit": "nan"}, INVALID_ARGUMENT, ["--memory_limit nan", "16GB"]),
    ({"memory_limit": "1e30TB"}, INVALID_ARGUMENT, ["--memory_limit 1e30TB", "16GB"]),
    ({"frame_num": "100001"}, INVALID_ARGUMENT, ["--frame_num 100001: expected at most 99997 frames"]),
    ({"frame_num": "2147483647"}, INVALID_ARGUMENT, ["at most 99997"]),
    ({"size": "1280*710"}, INVALID_ARGUMENT, ["the nearest is 1280*720"]),
    ({"size": "1000*710"}, INVALID_ARGUMENT, ["the nearest is 1008*704"]),
    ({"fps": "0"}, INVALID_ARGUMENT, ["--fps 0: expected 0.01 to 1000"]),
    ({"fps": "nan"}, INVALID_ARGUMENT, ["--fps nan"]),
    ({"fps": "slow"}, INVALID_ARGUMENT, ["--fps slow", "number"]),
    ({"crf": "52"}, INVALID_ARGUMENT, ["--crf 52: expected 0 (best) to 51 of h264"]),
    ({"crf": "-1"}, INVALID_ARGUMENT, ["--crf -1"]),
    ({"codec": "vp9"}, INVALID_ARGUMENT, ["--codec vp9", "h264, h265 or av1"]),
    ({"crf": "20", "save_file": "still.png", "frame_num": "1"}, INVALID_ARGUMENT, ["--crf", "still.png", "lossless"]),
    ({"codec": "h264", "save_file": "f_%d.png"}, INVALID_ARGUMENT, ["--codec", "f_%d.png", "lossless"]),
    # Escape sequences and line breaks of a caller are shown as text.
    ({"task": "t2v\x1b[31m\nerror: x"}, INVALID_ARGUMENT, ["--task t2v\\x1b[31m\\nerror: x"]),
    ({"size": "8\n*8"}, INVALID_ARGUMENT, ["--size 8\\n*8"]),
    ({"frame_num": "\x1b[1m"}, INVALID_ARGUMENT, ["--frame_num \\x1b[1m"]),
    ({"rng": "a\u009b1mb"}, INVALID_ARGUMENT, ["--rng a\\u009b1mb"]),
    ({"sample_solver": "a\r\n  b"}, INVALID_ARGUMENT, ["--sample_solver a\\r\\n  b"]),
    ({"ckpt_dir": "no\x1b]0;title\x07where\n"}, BAD_FILE, ["no\\x1b]0;title\\x07where\\n"]),
    ({"save_file": "a\x1b[2J/b.mp4"}, INVALID_ARGUMENT, ["a\\x1b[2J"]),
    ({"from_latents": "x\u202ey"}, BAD_FILE, ["x\\u202ey"]),
    ({"un\x1bknown": "1"}, INVALID_ARGUMENT, ["--un\\x1bknown"]),
    ({"promt": "a cat"}, INVALID_ARGUMENT, ["unknown option --promt", "did you mean --prompt?"]),
    ({"sample-step": "4"}, INVALID_ARGUMENT, ["unknown option", "did you mean --sample_steps?"]),
    ({"quite_another_thing": "4"}, INVALID_ARGUMENT, ["unknown option --quite_another_thing", "--help"]),
]

# What other programs call an option, and what the line must say.
OTHER_NAMES = [
    ("--seed", "called --base_seed"), ("--noise-seed", "called --base_seed"), ("--steps", "called --sample_steps"),
    ("--num_inference_steps", "called --sample_steps"), ("--cfg_scale", "called --sample_guide_scale"),
    ("--cfg", "called --sample_guide_scale"), ("--guidance_scale", "called --sample_guide_scale"),
    ("--guidance_scale_2", "--sample_guide_scale LOW,HIGH"), ("--shift", "called --sample_shift"),
    ("--flow-shift", "called --sample_shift"), ("--sampler", "called --sample_solver"),
    ("--scheduler", "called --sample_solver"), ("--sampling-method", "called --sample_solver"),
    ("--num_frames", "called --frame_num"), ("--video-frames", "called --frame_num"),
    ("--length", "called --frame_num"), ("--height", "--size WIDTH*HEIGHT"), ("--width", "--size WIDTH*HEIGHT"),
    ("-W", "--size WIDTH*HEIGHT"), ("-H", "--size WIDTH*HEIGHT"), ("--resolution", "called --size"),
    ("--negative", "called --negative_prompt"), ("-n", "called --negative_prompt"), ("-p", "called --prompt"),
    ("-o", "called --save_file"), ("--output", "called --save_file"), ("--save_result_path", "called --save_file"),
    ("--model", "called --ckpt_dir"), ("-m", "called --ckpt_dir"), ("--model_path", "called --ckpt_dir"),
    ("--vae_path", "called --vae"), ("--model_cls", "called --task"), ("--gpu", "--device cuda:N"),
    ("--gpu=1", "--device cuda:N"), ("--device-id", "--device cuda:N"), ("--init-img", "called --image"),
    ("--image_path", "called --image"), ("--end_image", "called --last_image"), ("--dtype", "--precision bf16"),
    ("--offload_to_cpu", "--residency streamed"), ("--vram", "called --memory_limit"), ("-t", "called --threads"),
    ("--frame_rate", "called --fps"), ("--quality", "called --crf"), ("--vcodec", "called --codec"),
    ("--lora_path", "--lora FILE:STRENGTH"), ("--batch_size", "one video"), ("-v", "wan --verbose"),
    ("--base", "did you mean --base_seed?"), ("--sample-step", "did you mean --sample_steps?"),
    ("--frame_nun", "did you mean --frame_num?"),
]

WRONG_OUTPUTS = [
    ("video.avi", ["video.avi", ".mp4", ".png", "got .avi"]),
    ("video", ["video", ".mp4", "no extension"]),
    (".", [".mp4"]),
    ("missing/video.mp4", ["missing/video.mp4", "the folder missing does not exist"]),
    ("still.png", ["5 frames", "still_%05d.png"]),
    ("frame_%05s.png", ["frame_%05s.png", "frame_%05d.png"]),
    ("frame_%d_%d.png", ["frame_%d_%d.png", "exactly one"]),
    ("frame%%.png", ["frame_%05d.png"]),
    ("x" * 260 + ".mp4", ["255 bytes"]),
]


class Refusals(WanTest):
    def test_wrong_values(self):
        for options, status, words in WRONG_VALUES:
            with self.subTest(**options):
                result = self.run_wan(*generate_arguments(**{"save_file": "video.mp4", **options}))
                self.assert_refused(result, status, *words)
                self.assertEqual(self.names(), [])

    def test_names_that_other_programs_have(self):
        for name, words in OTHER_NAMES:
            with self.subTest(name):
                result = self.run_wan(*generate_arguments(), name, "1")
                self.assert_refused(result, INVALID_ARGUMENT, f"unknown option {name.split('=')[0]}", words)
        # Another command has other options.
        result = self.run_wan("bench", "--seed", "1")
        self.assert_refused(result, INVALID_ARGUMENT, "unknown option --seed; wan bench --help")
        result = self.run_wan("bench", "--num_frames", "1")
        self.assert_refused(result, INVALID_ARGUMENT, "called --frame_num")

    def test_a_name_far_from_all_others_gets_no_guess(self):
        for name in ("--sed", "--abc", "-x", "--quite_another_thing"):
            self.assertNotIn("did you mean", self.run_wan(*generate_arguments(), name, "1").err)

    def test_official_sizes_are_offered(self):
        checkpoint = CHECKPOINT.parent / "checkpoint_ti2v"
        for size, offered in (("1280*720", "1280*704"), ("720*1280", "704*1280"), ("832*481", "832*480")):
            result = self.run_wan(*generate_arguments(checkpoint, task="ti2v-5B", size=size, save_file="video.mp4"))
            self.assert_refused(result, INVALID_ARGUMENT, "multiples of 32", f"the nearest is {offered}")

    def test_wrong_outputs(self):
        for name, words in WRONG_OUTPUTS:
            with self.subTest(save_file=name):
                result = self.run_wan(*generate_arguments(save_file=name))
                self.assert_refused(result, INVALID_ARGUMENT, *words)
                self.assertEqual(self.names(), [])

    def test_output_that_is_a_folder(self):
        (self.folder / "video.mp4").mkdir()
        self.assert_refused(self.run_wan(*generate_arguments(save_file="video.mp4")), INVALID_ARGUMENT, "a folder")

    def test_output_in_a_read_only_folder(self):
        # /proc refuses new files even to root.
        result = self.run_wan(*generate_arguments(save_file="/proc/video.mp4"))
        self.assert_refused(result, INVALID_ARGUMENT, "/proc/video.mp4")

    def test_latents_and_dump(self):
        (self.folder / "file").write_text("")
        for options, status, words in [
            ({"save_latents": "x.pt"}, INVALID_ARGUMENT, ["--save_latents x.pt", ".safetensors"]),
            ({"save_latents": "missing/x.safetensors"}, INVALID_ARGUMENT, ["missing"]),
            ({"from_latents": "none.safetensors"}, BAD_FILE, ["none.safetensors"]),
            ({"from_latents": "file"}, BAD_FILE, ["file"]),
            ({"dump": "file"}, INVALID_ARGUMENT, ["--dump file", "folder"]),
            ({"dump": "missing/dump"}, INVALID_ARGUMENT, ["missing"]),
        ]:
            with self.subTest(**options):
                result = self.run_wan(*generate_arguments(save_file="video.mp4", **options))
                self.assert_refused(result, status, *words)
                self.assertEqual(self.names(), ["file"])

    def test_what_the_system_refuses(self):
        long = "x" * 300
        (self.folder / "circle").symlink_to("circle")
        for name in ("circle.mp4", "circle.safetensors"):
            (self.folder / name).symlink_to(name)
        circle, too_long = "links lead in a circle", "File name too long; name a shorter path"
        for options, status, words in [
            ({"ckpt_dir": long}, BAD_FILE, [long, too_long]),
            ({"ckpt_dir": "circle"}, BAD_FILE, ["circle", circle]),
            ({"ckpt_dir": "circle/x"}, BAD_FILE, ["circle/x", circle]),
            ({"from_latents": long}, BAD_FILE, [long, too_long]),
            ({"from_latents": "circle.safetensors"}, BAD_FILE, ["circle.safetensors", circle]),
            ({"save_file": "circle.mp4"}, INVALID_ARGUMENT, ["cannot write circle.mp4", circle]),
            ({"save_file": "circle/x.mp4"}, INVALID_ARGUMENT, ["cannot write circle/x.mp4", circle]),
            ({"save_file": f"{long}/x.mp4"}, INVALID_ARGUMENT, [long, too_long]),
            ({"save_latents": "circle.safetensors"}, INVALID_ARGUMENT, ["cannot write circle.safetensors", circle]),
            ({"save_latents": f"{long}/x.safetensors"}, INVALID_ARGUMENT, [long, too_long]),
            ({"dump": "circle"}, INVALID_ARGUMENT, ["--dump circle", circle]),
            ({"dump": long}, INVALID_ARGUMENT, ["--dump " + long, too_long]),
            ({"task": "i2v-A14B", "image": long, "ckpt_dir": I2V_CHECKPOINT}, BAD_FILE, [long, too_long]),
            ({"task": "i2v-A14B", "image": "circle", "ckpt_dir": I2V_CHECKPOINT}, BAD_FILE, ["circle", circle]),
        ]:
            with self.subTest(**options):
                result = self.run_wan(*generate_arguments(**{"save_file": "video.mp4", **options}))
                self.assert_refused(result, status, *words)
        for command in (["inspect"], ["tokenize", "--prompt", "a cat", "--ckpt_dir"]):
            for name, words in ((long, too_long), ("circle", circle)):
                with self.subTest(command=command, name=name):
                    self.assert_refused(self.run_wan(*command, name), BAD_FILE, name, words)

    def test_what_the_system_refuses_in_a_checkpoint(self):
        checkpoint = self.copy_checkpoint()
        for part in ("config.json", "generation_config.json", "high_noise_model", "high_noise_model/config.json",
                     "google/umt5-xxl", "google/umt5-xxl/tokenizer.json", "google/umt5-xxl/special_tokens_map.json",
                     "Wan2.1_VAE.pth"):
            with self.subTest(part):
                path, aside = checkpoint / part, self.folder / "aside"
                if path.exists():
                    path.rename(aside)
                path.symlink_to(path.name)
                result = self.run_wan(*generate_arguments(checkpoint, save_file="video.mp4"))
                self.assert_refused(result, BAD_FILE, part, "links lead in a circle")
                inspected = self.run_wan("inspect", checkpoint)
                self.assertIn(inspected.status, (0, BAD_FILE), inspected.err)
                if part != "generation_config.json":
                    self.assertIn("links lead in a circle", inspected.out + inspected.err)
                path.unlink()
                if aside.exists():
                    aside.rename(path)

    @unittest.skipIf(os.geteuid() == 0, "root may enter every folder")
    def test_a_folder_without_permission(self):
        closed = self.folder / "closed"
        closed.mkdir(mode=0)
        self.addCleanup(closed.chmod, 0o700)
        for options, status in [({"ckpt_dir": "closed"}, BAD_FILE), ({"ckpt_dir": "closed/x"}, BAD_FILE),
                                ({"from_latents": "closed/x"}, BAD_FILE),
                                ({"save_file": "closed/x.mp4"}, INVALID_ARGUMENT),
                                ({"save_latents": "closed/x.safetensors"}, INVALID_ARGUMENT),
                                ({"dump": "closed"}, INVALID_ARGUMENT), ({"dump": "closed/dump"}, INVALID_ARGUMENT)]:
            with self.subTest(**options):
                result = self.run_wan(*generate_arguments(**{"save_file": "video.mp4", **options}))
                self.assert_refused(result, status, "closed", "Permission denied; give this user the right")

    def test_more_than_one_process(self):
        for world in ("2", "8"):
            result = self.run_wan(*generate_arguments(), env={"WORLD_SIZE": world})
            self.assert_refused(result, UNSUPPORTED, f"one of {world} processes", f"--gpus {world}", "mpirun or srun")
        result = self.run_wan(*generate_arguments(plan=True), env={"WORLD_SIZE": "1"})
        self.assertEqual(result.status, 0, result.err)

    def test_arguments_without_an_option(self):
        for arguments, words in [
            ([], ["generate, bench, convert, doctor, download, extend, inspect, plan, preprocess, tokenize"]),
            (["generat"], ["unknown command generat", "did you mean generate?"]),
            (["--loud"], ["--loud"]),
            (["generate", "--prompt"], ["--prompt needs a value"]),
            (["generate", "--frame_num"], ["--frame_num needs a value"]),
            (["generate", "--prompt", "a", "cat"], ["cat", "quotes"]),
            (["generate", "--t5_cpu=perhaps"], ["--t5_cpu"]),
            (["inspect"], ["path is missing"]),
            (["--prompt", "generate"], ["--prompt goes behind the command: wan generate --prompt ..."]),
            (["generate", "--verbose"], ["--verbose goes before the command: wan --verbose generate ..."]),
            (["inspect", "--loud", "x"], ["unknown option --loud"]),
            (["inspect", "a", "b"], ["b"]),
            (["tokenize"], ["--ckpt_dir is missing"]),
            (["tokenize", "--ckpt_dir", str(CHECKPOINT)], ["--prompt is missing"]),
            (["convert", "--format", "q8_0", "--high_noise", str(CHECKPOINT / "high_noise_model"), "out"], ["--low_noise is missing"]),
            (["convert", "--format", "q8_0", "--transformer", str(CHECKPOINT / "high_noise_model"), "out"], ["--text_encoder is missing"]),
        ]:
            with self.subTest(arguments=arguments):
                self.assert_refused(self.run_wan(*arguments), INVALID_ARGUMENT, *words)

    def test_json_before_the_command(self):
        result = self.run_wan("--json", *generate_arguments())
        self.assertEqual((result.status, result.err), (INVALID_ARGUMENT, ""))
        (event,) = result.events
        self.assertIn("--json goes behind the command: wan generate --json ...", event["message"])

    def test_a_commands_name_as_a_value(self):
        result = self.run_wan("tokenize", "--ckpt_dir", "nowhere", "--prompt", "generate", "--json")
        self.assertEqual((result.status, result.out), (BAD_FILE, ""))
        self.assertEqual(json.loads(result.err)["code"], "bad_file")

    def test_errors_as_json(self):
        for options, status, code in [
            ({"size": "33*32"}, INVALID_ARGUMENT, "invalid_argument"),
            ({"ckpt_dir": "nowhere"}, BAD_FILE, "bad_file"),
            ({"unknown": "x"}, INVALID_ARGUMENT, "invalid_argument"),
        ]:
            with self.subTest(**options):
                result = self.run_wan(*generate_arguments(json=True, **options))
                self.assertEqual((result.status, result.err), (status, ""))
                (line,) = result.out.splitlines()
                error = json.loads(line)
                self.assertEqual((error["event"], error["code"]), ("error", code))
                self.assertGreater(len(error["message"]), 10)


if __name__ == "__main__":
    unittest.main()
