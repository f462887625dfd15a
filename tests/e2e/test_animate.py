"""Character animation on a small checkpoint and preprocessed folders: clips, rate, options, and runs that go on."""

import json
import shutil
import signal
import struct
import subprocess
import unittest
import wave

from support import (BAD_FILE, CANCELLED, INVALID_ARGUMENT, UNPACKED, WAN, WanTest, environment, generate_arguments, read_mp4, read_npy,
                     read_png, read_safetensors)

GOLDEN = UNPACKED / "animate"
ANIMATE = GOLDEN / "checkpoint"
FRAMES = 20  # of the folder "moves", 24 a second; "scene" has 12


class Animation(WanTest):
    def options(self, **more):
        return {"checkpoint": ANIMATE, "task": "animate-14B", "src_root_path": GOLDEN / "moves", "size": None, "prompt": None, "frame_num": "9",
                "sample_steps": "1", "device": "cpu", **more}

    def animate(self, **more):
        return self.generate(**self.options(**more))

    def refuse(self, status, *words, **more):
        self.assert_refused(self.run_wan(*generate_arguments(**{"save_file": "a.mp4", **self.options(**more)})), status, *words)

    def frames(self, name):
        return [read_png(path)[2] for path in sorted(self.folder.glob(f"{name}_*.png"))]

    def copy_of(self, source, **files):
        """A folder like `source` in which files are others' (None: missing)."""
        folder = self.folder / "source"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(GOLDEN / source, folder)
        for name, other in files.items():
            name = f"{name}.png" if name == "src_ref" else f"{name}.mp4"
            (folder / name).unlink(missing_ok=True)
            if other is not None:
                shutil.copy(other, folder / name)
        return "source"


class Videos(Animation):
    def test_rate_and_size_are_the_sources(self):
        result = self.animate(save_file="a.mp4", size="1280*720", json=True)
        movie = read_mp4(self.folder / "a.mp4")
        self.assertEqual((movie.frames, movie.width, movie.height, round(movie.frames / movie.seconds)), (FRAMES, 32, 32, 24))
        self.assertEqual(movie.metadata["src_root_path"], str(GOLDEN / "moves"))
        self.assertEqual(movie.metadata["prompt"], "视频中的人在做动作")
        messages = " ".join(event.get("message", "") for event in result.events)
        self.assertIn("clip 2 of 3", messages)
        self.assertIn("--size 1280*720 is not used", messages)

    def test_the_sources_sound_is_kept_and_does_not_end_the_video(self):
        source = self.folder / "sounding"
        source.mkdir()
        with wave.open(str(self.folder / "talk.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", None))
            file.writeframes(b"".join(struct.pack("<h", (i * i // 300) % 9000) for i in range(20800)))
        shutil.copy(GOLDEN / "moves/src_ref.png", source)
        self.generate(checkpoint=UNPACKED / "speech/checkpoint", task="s2v-14B", image=GOLDEN / "moves/src_ref.png", audio="talk.wav",
                      size="64*64", frame_num=None, infer_frames="24", sample_steps="1", device="cpu", save_file="sounding/src_pose.mp4")
        self.generate(size="16*16", frame_num="21", fps="16", sample_steps="1", save_file="sounding/src_face.mp4")
        for name, options, sounds in (("a.mp4", {}, True), ("b.mp4", {"official_output": True}, False)):
            self.animate(src_root_path="sounding", save_file=name, **options)
            self.assertEqual(read_mp4(self.folder / name).frames, 21)
            self.assertEqual(b"mp4a" in (self.folder / name).read_bytes(), sounds, name)
        self.refuse(INVALID_ARGUMENT, "--fps 8", "--official_output", src_root_path="sounding", fps="8")

    def test_the_official_file(self):
        self.animate(save_file="a.mp4", official_output=True)
        movie = read_mp4(self.folder / "a.mp4")
        self.assertEqual((movie.frames, round(movie.frames / movie.seconds)), (FRAMES, 30))

    def test_no_frame_is_lost_or_added_at_a_seam(self):
        for clip, carried in (("5", "1"), ("9", "5"), ("21", "1"), ("25", "5")):
            self.animate(save_file=f"{clip}_%05d.png", frame_num=clip, refert_num=carried)
            self.assertEqual(len(self.frames(clip)), FRAMES, (clip, carried))

    def test_what_a_clip_is_made_from_matters(self):
        made = {}
        for name, options in {"alone": {}, "replaced": {"replace_flag": True}, "relit": {"replace_flag": True, "use_relighting_lora": True},
                              "guided": {"sample_guide_scale": "3"}, "prompted": {"prompt": "a cat"}, "five": {"refert_num": "5"}}.items():
            self.animate(save_file=f"{name}_%05d.png", src_root_path=GOLDEN / "scene", **options)
            made[name] = self.frames(name)
            self.assertEqual(len(made[name]), 12)
        names = list(made)
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                self.assertNotEqual(made[one], made[other], (one, other))

    def test_a_dump_names_clips(self):
        self.animate(save_file="a.mp4", dump="dump")
        files = {path.stem: read_npy(path).shape for path in (self.folder / "dump").glob("*.npy")}
        for name, shape in {"image_pixels": (3, 224, 224), "image_embedding": (257, 32), "ref_image": (32, 32, 3), "ref_latents": (16, 1, 4, 4),
                            "clip_00_noise": (16, 4, 4, 4), "clip_00_pose_video": (3, 9, 32, 32), "clip_00_pose_latents": (16, 3, 4, 4),
                            "clip_00_face_video": (9, 16, 16, 3), "clip_00_face_motion": (9, 12), "clip_00_face_tokens": (4, 5, 20),
                            "clip_00_given_video": (3, 9, 32, 32), "clip_00_given_latents": (16, 3, 4, 4), "clip_00_condition": (20, 4, 4, 4),
                            "clip_02_decode_latents": (16, 3, 4, 4), "clip_02_decoded": (3, 9, 32, 32), "pose_frames": (20, 32, 32, 3),
                            "face_frames": (20, 16, 16, 3), "frames": (20, 32, 32, 3)}.items():
            self.assertEqual(files.get(name), shape, name)
        given = read_npy(self.folder / "dump/clip_01_given_video.npy").values
        decoded = read_npy(self.folder / "dump/clip_00_decoded.npy").values
        plane = 32 * 32
        self.assertEqual(given[:plane], decoded[8 * plane : 9 * plane], "the first frame is the last one of the clip before")
        self.assertEqual(set(given[plane : 9 * plane]), {0.0})

    def test_ranks_make_the_video_of_one(self):
        made = []
        for ranks in (1, 2):
            self.animate(save_file=f"r{ranks}_%05d.png", dump=f"r{ranks}", ulysses_size=ranks, threads="4", guidance_parallel="off",
                         src_root_path=GOLDEN / "scene", replace_flag=True)
            made.append(read_npy(self.folder / f"r{ranks}/frames.npy").values)
        for parallel, folder in (("off", "one"), ("on", "halves")):
            self.animate(save_file=f"{folder}_%05d.png", dump=folder, ulysses_size=1, threads="4", guidance_parallel=parallel,
                         sample_guide_scale="2", src_root_path=GOLDEN / "scene", replace_flag=True)
            made.append(read_npy(self.folder / f"{folder}/frames.npy").values)
        for one, other in (made[:2], made[2:]):
            self.assertLessEqual(max(abs(a - b) for a, b in zip(one, other)), 1)  # grey level

    def test_a_line_of_requests(self):
        lines = [{"save_file": "a.mp4"}, {"save_file": "b.mp4", "refert_num": 5, "src_root_path": str(GOLDEN / "scene"), "replace_flag": True}]
        (self.folder / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
        self.animate(requests="r.jsonl")
        self.assertEqual([read_mp4(self.folder / name).frames for name in ("a.mp4", "b.mp4")], [FRAMES, 12])


class GoingOn(Animation):
    LONG = {"sample_steps": "40", "src_root_path": GOLDEN / "scene", "replace_flag": True, "base_seed": "5"}

    def interrupt(self, clip, step, how, **more):
        arguments = generate_arguments(**self.options(json=True, save_file="a.mp4", **more))
        with subprocess.Popen([WAN, *arguments], cwd=self.folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            seen = 0
            for line in process.stdout:
                event = json.loads(line)
                seen += "clip " in event.get("message", "")
                if seen == clip and event.get("step", 0) == step:
                    process.send_signal(how)
                    how = signal.SIGCONT
        return process.returncode

    def test_in_either_clip(self):
        self.animate(save_file="whole.mp4", dump="whole", **self.LONG)
        for clip, step in ((1, 20), (2, 20), (1, 40)):
            self.assertEqual(self.interrupt(clip, step, signal.SIGINT, **self.LONG), CANCELLED)
            header, _ = read_safetensors(self.folder / "a.mp4.latents.safetensors")
            if step < 40:  # a clip that is over needs none
                self.assertEqual(header["condition"]["shape"], [37, 4, 4, 4])
            self.generate(checkpoint=ANIMATE, task="animate-14B", size=None, prompt=None, frame_num=None, sample_steps=None, base_seed=None,
                          from_latents="a.mp4.latents.safetensors", save_file="a.mp4", dump="again")
            self.assertEqual(read_npy(self.folder / "again/frames.npy").values, read_npy(self.folder / "whole/frames.npy").values, clip)

    def test_only_with_what_it_was_begun_with(self):
        source = self.copy_of("scene")
        self.assertEqual(self.interrupt(1, 20, signal.SIGINT, **{**self.LONG, "src_root_path": source}), CANCELLED)
        again = {"checkpoint": ANIMATE, "task": "animate-14B", "size": None, "prompt": None, "frame_num": None, "sample_steps": None,
                 "base_seed": None, "from_latents": "a.mp4.latents.safetensors", "save_file": "a.mp4"}
        for words, more in ((["--refert_num"], {"refert_num": "5"}), (["--frame_num"], {"frame_num": "13"}),
                            (["--use_relighting_lora", "without"], {"use_relighting_lora": True}),
                            (["--src_root_path", "other files"], {"src_root_path": GOLDEN / "moves"})):
            result = self.run_wan(*generate_arguments(**{**again, **more}))
            if more.get("src_root_path"):
                self.assertIn(result.status, (INVALID_ARGUMENT,), result.err)  # it lacks the scene
            else:
                self.assert_refused(result, INVALID_ARGUMENT, *words)
        shutil.copy(GOLDEN / "moves/src_ref.png", self.folder / "source/src_ref.png")
        self.assert_refused(self.run_wan(*generate_arguments(**again)), INVALID_ARGUMENT, "other files than these latents were begun with")


class Refusals(Animation):
    def test_a_folder_that_is_not_whole(self):
        pose, face, mask = (GOLDEN / f"scene/src_{name}.mp4" for name in ("pose", "face", "mask"))
        self.refuse(INVALID_ARGUMENT, "--src_root_path", "is missing", src_root_path=None, prompt="a cat")
        self.refuse(INVALID_ARGUMENT, "it is no folder", src_root_path="nowhere")
        self.refuse(INVALID_ARGUMENT, "it lacks src_bg.mp4, src_mask.mp4", "--replace_flag", replace_flag=True)
        self.refuse(INVALID_ARGUMENT, "it lacks src_face.mp4", src_root_path=self.copy_of("moves", src_face=None))
        self.refuse(INVALID_ARGUMENT, "src_face.mp4 has 12 frames, src_pose.mp4 20", src_root_path=self.copy_of("moves", src_face=face))
        self.refuse(INVALID_ARGUMENT, "src_face.mp4 is 32*32, expected 16*16", src_root_path=self.copy_of("scene", src_face=pose))
        self.refuse(INVALID_ARGUMENT, "src_mask.mp4 is 16*16, expected 32*32", replace_flag=True, src_root_path=self.copy_of("scene", src_mask=face))
        self.refuse(BAD_FILE, "src_pose.mp4", src_root_path=self.copy_of("moves", src_pose=ANIMATE / "config.json"))
        self.refuse(BAD_FILE, "src_ref.png", src_root_path=self.copy_of("moves", src_ref=ANIMATE / "config.json"))
        plain = UNPACKED / "audio/files/plain.mp4"
        result = self.run_wan(*generate_arguments(save_file="a.mp4", **self.options(src_root_path=self.copy_of("moves", src_face=plain))))
        self.assertEqual(result.status, INVALID_ARGUMENT)
        self.assertIn("src_face.mp4 is 64*48, expected 16*16\n  src_face.mp4 has 3 frames, src_pose.mp4 20;", result.err)
        poses = self.copy_of("moves", src_pose=UNPACKED / "speech/pose.mov")
        result = self.run_wan(*generate_arguments(save_file="a.mp4", **self.options(src_root_path=poses, size="64*64")))
        self.assertEqual(result.status, INVALID_ARGUMENT)
        self.assertIn("--src_root_path source: src_pose.mp4 is 48*36, whose sides are no multiples of 16\n", result.err)

    def test_options(self):
        self.refuse(INVALID_ARGUMENT, "--refert_num 77: expected 1 or 5", refert_num="77")
        self.refuse(INVALID_ARGUMENT, "--frame_num 8", "4n + 1", frame_num="8")
        self.refuse(INVALID_ARGUMENT, "--frame_num 5", "more than the 5", frame_num="5", refert_num="5")
        self.refuse(INVALID_ARGUMENT, "--official_output", "--fps", official_output=True, fps="25")
        self.refuse(INVALID_ARGUMENT, "--image: animate-14B", image="a.png")
        self.refuse(INVALID_ARGUMENT, "--audio", "s2v-14B", audio="a.wav")
        self.refuse(INVALID_ARGUMENT, "would overwrite", save_file=self.copy_of("moves") + "/src_pose.mp4", src_root_path="source")
        self.assert_refused(self.run_wan(*generate_arguments(use_relighting_lora=True)), INVALID_ARGUMENT, "--use_relighting_lora",
                            "Wan2.2-T2V-A14B has no such LoRA")

    def test_a_checkpoint_that_lacks_parts(self):
        folder = self.folder / "checkpoint"
        shutil.copytree(ANIMATE, folder)
        (folder / "relighting_lora.ckpt").unlink()
        self.refuse(BAD_FILE, "has neither relighting_lora.ckpt", checkpoint=folder, use_relighting_lora=True)
        clip = folder / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
        clip.unlink()
        self.refuse(BAD_FILE, f"lacks {clip.name}", checkpoint=folder)
        shutil.copy(ANIMATE / "Wan2.1_VAE.pth", clip)
        self.refuse(BAD_FILE, "is no image encoder: it is a VAE of Wan2.1", checkpoint=folder)


class Tools(Animation):
    def test_inspect(self):
        result = self.run_wan("inspect", ANIMATE)
        self.assertEqual(result.status, 0, result.out + result.err)
        self.assertIn("CLIP image encoder", result.out)
        self.assertIn("16x16 to 5 of 20, after blocks 0, 5", result.out)

    def test_a_plan_needs_no_checkpoint(self):
        result = self.run_wan("plan", "--task", "animate-14B", "--gpu", "80GB")
        self.assertEqual(result.status, 0, result.err)
        plan = self.run_wan(*generate_arguments(plan=True, save_file="a.mp4", **self.options()))
        self.assertEqual(plan.status, 0, plan.err)


if __name__ == "__main__":
    unittest.main()
