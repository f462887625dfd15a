"""Speech to video on a small checkpoint: clips, sound, options, and runs that go on."""

import functools
import json
import math
import re
import shutil
import signal
import struct
import subprocess
import sys
import unittest
import wave
from array import array
from pathlib import Path

from support import (BAD_FILE, CANCELLED, INVALID_ARGUMENT, UNPACKED, UNSUPPORTED, WAN, WanTest, environment, generate_arguments,
                     read_mp4, read_npy, read_png, read_safetensors, write_png)

S2V = UNPACKED / "speech/checkpoint"
RATE = 16  # frames a second


@functools.cache
def samples(count, rate, pitch):
    return array("h", (int(9000 * math.sin(2 * math.pi * (pitch + 90 * i / rate) * i / rate)) for i in range(count))).tobytes()


def write_sound(path, seconds, rate=16000, pitch=200):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples(int(seconds * rate), rate, pitch))


class Speech(WanTest):
    """8 frames a clip: 1.2 seconds are three of them."""

    def setUp(self):
        super().setUp()
        write_sound(self.folder / "sound.wav", 1.2)
        write_png(self.folder / "face.png", 70, 64, lambda x, y: (3 * x, 4 * y, 255 - 2 * x))

    def options(self, **more):
        return {"checkpoint": S2V, "task": "s2v-14B", "image": "face.png", "audio": "sound.wav", "size": "64*64", "frame_num": None,
                "infer_frames": "8", "sample_steps": "2", "device": "cpu", **more}

    def speak(self, **more):
        return self.generate(**self.options(**more))

    def refuse(self, status, *words, **more):
        self.assert_refused(self.run_wan(*generate_arguments(**{"save_file": "a.mp4", **self.options(**more)})), status, *words)

    def frames(self, name):
        return [read_png(path)[2] for path in sorted(self.folder.glob(f"{name}_*.png"))]


class Videos(Speech):
    def test_a_video_has_the_sound_and_its_length(self):
        result = self.speak(save_file="a.mp4", json=True)
        movie = read_mp4(self.folder / "a.mp4")
        self.assertEqual((movie.frames, movie.width, movie.height), (math.ceil(1.2 * RATE), 64, 64))
        self.assertEqual(movie.metadata["num_clip"], "3")
        self.assertEqual(movie.metadata["task"], "s2v-14B")
        self.assertIn(b"mp4a", (self.folder / "a.mp4").read_bytes())
        self.assertEqual([event["phase"] for event in result.events if event["event"] == "phase_started"].count("decode"), 3)
        self.assertEqual(sum("clip 2 of 3" in event.get("message", "") for event in result.events), 1)

    def test_the_first_frame_is_held_until_its_sound(self):
        self.speak(save_file="held_%05d.png")
        self.speak(save_file="official_%05d.png", official_sync=True, num_clip="2")
        held, official = self.frames("held"), self.frames("official")
        self.assertEqual((len(held), len(official)), (24, 16 - 3))
        self.assertEqual(b"".join(held[3:16]), b"".join(official))
        self.assertEqual(held[:3], [held[3]] * 3)

    def test_the_video_may_begin_with_the_picture(self):
        self.speak(save_file="a_%05d.png", start_from_ref=True, num_clip="2", dump="dump")
        self.assertEqual(len(self.frames("a")), 16)
        motion = read_npy(self.folder / "dump/clip_00_motion_video.npy")
        self.assertEqual(motion.shape, (3, 73, 64, 64))
        picture = read_npy(self.folder / "dump/ref_video.npy").values
        plane = 64 * 64
        self.assertEqual(motion.values[66 * plane : 67 * plane].count(0.0), plane)
        self.assertEqual(motion.values[67 * plane : 68 * plane], picture[:plane])
        later = read_npy(self.folder / "dump/clip_01_motion_video.npy").values
        self.assertEqual(later[59 * plane : 60 * plane], picture[:plane], "8 frames later the picture is 8 frames earlier")

    def test_a_dump_names_clips(self):
        self.speak(save_file="a.mp4", dump="dump", num_clip="2")
        files = {path.stem: read_npy(path).shape for path in (self.folder / "dump").glob("*.npy")}
        for name, shape in {"audio_samples": (19200,), "audio_normalized": (19200,), "audio_hidden": (25, 59, 16),
                            "audio_features": (25, 35, 16), "audio_embedding": (25, 16, 24), "ref_video": (3, 1, 64, 64),
                            "ref_latents": (16, 1, 8, 8), "clip_00_audio_input": (25, 16, 8), "clip_00_noise": (16, 2, 8, 8),
                            "clip_00_latents": (16, 2, 8, 8), "clip_00_decode_latents": (16, 3, 8, 8), "clip_00_decoded": (3, 9, 64, 64),
                            "clip_01_step_00_cond": (16, 2, 8, 8), "clip_01_motion_video": (3, 73, 64, 64),
                            "clip_01_motion_latents": (16, 19, 8, 8), "clip_01_decode_latents": (16, 21, 8, 8),
                            "clip_01_decoded": (3, 81, 64, 64), "frames": (16, 64, 64, 3), "timesteps": (2,)}.items():
            self.assertEqual(files.get(name), shape, name)
        noise = read_npy(self.folder / "dump/clip_01_noise.npy").values
        self.assertTrue(all(struct.unpack("<I", struct.pack("<f", x))[0] & 0xFFFF == 0 for x in noise), "rounded to bf16")

    def test_a_part_of_the_sound(self):
        write_sound(self.folder / "long.wav", 3.0)
        self.speak(save_file="a.mp4", audio="long.wav", audio_start="0.5", audio_duration="0.6")
        self.assertEqual(read_mp4(self.folder / "a.mp4").frames, math.ceil(0.6 * RATE))

    def test_poses_matter(self):
        shutil.copy(UNPACKED / "audio/files/plain.mp4", self.folder / "pose.mp4")
        for name, options in (("none", {}), ("nth", {"pose_video": "pose.mp4"}), ("time", {"pose_video": "pose.mp4", "pose_frames": "time"})):
            self.speak(save_file=f"{name}_%05d.png", num_clip="1", **options)
        self.assertNotEqual(self.frames("none"), self.frames("nth"))
        self.assertEqual(len(self.frames("time")), 8)

    def test_ranks_make_the_video_of_one(self):
        made = []
        for ranks in (1, 4):
            self.speak(save_file=f"r{ranks}_%05d.png", dump=f"r{ranks}", num_clip="2", ulysses_size=ranks, threads="4", guidance_parallel="off",
                       pose_video=UNPACKED / "audio/files/plain.mp4")
            made.append(read_npy(self.folder / f"r{ranks}/frames.npy").values)
        self.speak(save_file="h_%05d.png", dump="halves", num_clip="2", ulysses_size=1, threads="4", guidance_parallel="on",
                   pose_video=UNPACKED / "audio/files/plain.mp4")
        made.append(read_npy(self.folder / "halves/frames.npy").values)
        for other in made[1:]:
            self.assertLessEqual(max(abs(a - b) for a, b in zip(made[0], other)), 1)  # grey level

    def test_memory_does_not_grow_with_clips(self):
        write_sound(self.folder / "long.wav", 3.0)
        arguments = generate_arguments(**self.options(save_file="%05d.png", audio="long.wav", num_clip="6", sample_steps="1", json=True))
        with subprocess.Popen([WAN, *arguments], cwd=self.folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                event = json.loads(line)
                if "clip 4 of 6" in event.get("message", ""):
                    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        self.assertEqual(process.returncode, 0)
        three = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
        # Three clips more, whose decoded frames have 0.44 MB each; the first ones still take what all the others use again.
        self.assertLess(event["peak_host_bytes"] - three, 1_000_000)

    def test_little_is_kept_of_what_frames_hear(self):
        def kept(seconds):
            write_sound(self.folder / "long.wav", seconds, rate=1000)
            result = self.speak(audio="long.wav", plan=True, json=True)
            return next(event["latents"] for event in result.events if event["event"] == "plan")
        # 50 clips more, each of 8 frames that hear 16 values: 12.8 kB a clip with all of the encoder's layers.
        self.assertLess(kept(26) - kept(1), 50 * 8 * 16 * 4 + 250)


class GoingOn(Speech):
    LONG = {"sample_steps": "40", "sample_solver": "unipc"}
    LATENTS = "a.mp4.latents.safetensors"
    whole = {}  # bytes of videos that nothing stopped, by their options
    finished = []  # bytes of a video of three clips and of its latents

    def uninterrupted(self, **more):
        key = str(more)
        if key not in self.whole:
            self.speak(save_file="whole.mp4", **self.LONG, **more)
            self.whole[key] = (self.folder / "whole.mp4").read_bytes()
        return self.whole[key]

    def finish(self):
        """The bytes of a video, whose latents lie in the folder."""
        if not self.finished:
            self.speak(save_file="whole.mp4", save_latents=self.LATENTS)
            self.finished.extend((self.folder / name).read_bytes() for name in ("whole.mp4", self.LATENTS))
        (self.folder / self.LATENTS).write_bytes(self.finished[1])
        return self.finished[0]

    def interrupt(self, clip, step, how=signal.SIGINT, **more):
        arguments = generate_arguments(**self.options(json=True, save_file="a.mp4", **more))
        with subprocess.Popen([WAN, *arguments], cwd=self.folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            seen = 0
            for line in process.stdout:
                event = json.loads(line)
                seen += "clip " in event.get("message", "")
                if seen == clip and event.get("step", 0) == step:
                    process.send_signal(how)
            process.stdout.close()
            return process.wait(timeout=60)

    def go_on(self, name="a.mp4", **more):
        result = self.run_wan("generate", "--task", "s2v-14B", "--ckpt_dir", S2V, "--from_latents", self.LATENTS, "--save_file",
                              name, "--threads", "1", "--device", "cpu", *(word for pair in more.items() for word in ("--" + pair[0], pair[1])))
        return result

    def test_a_killed_run_makes_the_same_video(self):
        # What a picture at the beginning and a pose change is in the state of every clip: each is tried in one.
        for name, clip, clips, more in (("plain", 3, 3, {}), ("ref", 1, 2, {"start_from_ref": True, "num_clip": "2"}),
                                        ("pose", 2, 2, {"pose_video": UNPACKED / "audio/files/plain.mp4", "num_clip": "2"})):
            with self.subTest(name, clip=clip):
                self.assertEqual(self.interrupt(clip, 10, **self.LONG, **more), CANCELLED)
                header, _ = read_safetensors(self.folder / self.LATENTS)
                self.assertEqual(header["__metadata__"]["segment"], f"{clip - 1}/{clips}")
                self.assertIn("condition", header)
                result = self.go_on()
                self.assertEqual(result.status, 0, result.err)
                self.assertEqual((self.folder / "a.mp4").read_bytes(), self.uninterrupted(**more))
                self.assertNotIn(self.LATENTS, self.names())

    def test_a_machine_that_goes_down_costs_little(self):
        self.assertEqual(self.interrupt(2, 10, signal.SIGKILL, keep_every="0.000001", **self.LONG), -signal.SIGKILL)
        result = self.go_on()
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual((self.folder / "a.mp4").read_bytes(), self.uninterrupted())

    def test_finished_latents_are_decoded_again(self):
        def of_long_clips():
            """Longer than the frames before one, so that the picture is nowhere but before the first clip."""
            write_sound(self.folder / "sound.wav", 5.2)
            self.speak(save_file="long.mp4", save_latents=self.LATENTS, start_from_ref=True, infer_frames="76", num_clip="2", sample_steps="1")
            return (self.folder / "long.mp4").read_bytes()

        for finish in (self.finish, of_long_clips):
            with self.subTest(finish.__name__):
                video = finish()
                result = self.go_on("again.mp4")
                self.assertEqual(result.status, 0, result.err)
                self.assertEqual((self.folder / "again.mp4").read_bytes(), video)

    def test_decoding_again_that_is_stopped_names_the_file_that_it_can_go_on_from(self):
        video = self.finish()
        arguments = ["generate", "--task", "s2v-14B", "--ckpt_dir", S2V, "--from_latents", self.LATENTS, "--save_latents",
                     "new.safetensors", "--save_file", "again.mp4", "--threads", "1", "--device", "cpu", "--json"]
        with subprocess.Popen([WAN, *arguments], cwd=self.folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            for line in process.stdout:
                if json.loads(line).get("phase") == "decode":
                    process.send_signal(signal.SIGINT)
                    break
            told = "".join(process.communicate(timeout=60))
        self.assertEqual(process.returncode, CANCELLED)
        self.assertIn(self.LATENTS, told)
        self.assertNotIn("new.safetensors", told)
        result = self.go_on("again.mp4")
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual((self.folder / "again.mp4").read_bytes(), video)

    def test_the_sound_is_the_same(self):
        self.assertEqual(self.interrupt(2, 10, **self.LONG), CANCELLED)
        shutil.move(self.folder / "sound.wav", self.folder / "moved.wav")
        write_sound(self.folder / "sound.wav", 1.2, pitch=300)
        self.assert_refused(self.go_on(), INVALID_ARGUMENT, "sound.wav", "another sound", "--audio")
        self.assert_refused(self.go_on(audio="moved.wav", num_clip="2"), INVALID_ARGUMENT, "--num_clip", "begun with 3")
        self.assertEqual(self.go_on(audio="moved.wav").status, 0)

    def test_finished_clips_are_kept_once(self):
        self.assertEqual(self.interrupt(3, 10, **self.LONG), CANCELLED)
        tensors, _ = read_safetensors(self.folder / self.LATENTS)
        self.assertEqual(sorted(name for name in tensors if name.startswith("segment_")), ["segment_0", "segment_1"])


class Options(Speech):
    def test_what_is_missing_or_wrong_is_said(self):
        for more, words in (({"audio": None}, ["--audio is missing"]), ({"image": None}, ["--image is missing", "who speaks"]),
                            ({"infer_frames": "124"}, ["--infer_frames 124", "up to 120", "120"]),
                            ({"infer_frames": "10"}, ["--infer_frames 10", "multiple of 4", "nearest is 12"]),
                            ({"num_clip": "0"}, ["--num_clip 0"]), ({"audio_start": "-1"}, ["--audio_start -1"]),
                            ({"audio_duration": "0"}, ["--audio_duration 0"]), ({"audio_start": "5"}, ["sound.wav"]),
                            ({"frame_num": "81"}, ["--frame_num", "--num_clip"]), ({"fps": "24"}, ["--fps"]),
                            ({"pose_frames": "time"}, ["--pose_video", "missing"]),
                            ({"pose_frames": "best", "pose_video": "sound.wav"}, ["--pose_frames best", "every-nth or time"]),
                            ({"last_image": "face.png"}, ["--last_image"])):
            with self.subTest(**more):
                self.refuse(INVALID_ARGUMENT, *words, **more)
        self.refuse(INVALID_ARGUMENT, "--base_seed 9223372036854775807", "3 clips", base_seed="9223372036854775807")
        self.refuse(BAD_FILE, "nothing.wav", audio="nothing.wav")
        self.refuse(BAD_FILE, "face.png", audio="face.png")
        self.refuse(BAD_FILE, "sound.wav", pose_video="sound.wav")

    def test_other_tasks_take_none_of_it(self):
        for more in ({"audio": "sound.wav"}, {"num_clip": "2"}, {"start_from_ref": True}, {"official_sync": True}, {"infer_frames": "8"}):
            with self.subTest(**more):
                (name,) = more
                self.assert_refused(self.run_wan(*generate_arguments(save_file="a.mp4", **more)), INVALID_ARGUMENT, f"--{name}", "s2v-14B")

    def test_the_size_follows_the_picture(self):
        result = self.speak(save_file="a.mp4", size="200*100", num_clip="1")
        self.assertIn("the video is 128*64, the picture 70x64", result.err)
        self.assertIn("black", result.err)

    def test_a_checkpoint_without_its_audio_encoder_is_refused(self):
        shutil.copytree(S2V, self.folder / "checkpoint")
        shutil.rmtree(self.folder / "checkpoint/wav2vec2-large-xlsr-53-english")
        self.refuse(BAD_FILE, "lacks wav2vec2-large-xlsr-53-english", checkpoint="checkpoint")

    def test_inspect_knows_its_parts(self):
        result = self.run_wan("inspect", S2V)
        self.assertEqual(result.status, 0, result.err + result.out)
        self.assertIn("wav2vec 2.0 audio encoder", result.out)
        self.assertIn("25 layers of 16, after blocks 0, 2", result.out)

    def test_a_plan_needs_no_checkpoint(self):
        result = self.run_wan("plan", "--task", "s2v-14B", "--gpu", "80GB")
        self.assertEqual(result.status, 0, result.err)
        self.assertIn("audio encoder", result.out)


class SpokenText(Speech):
    """--enable_tts: a program of the user's speaks."""

    def setUp(self):
        super().setUp()
        (self.folder / "speak.py").write_text(
            "import shutil, sys\n"
            "open('said.txt', 'w').write(repr((sys.argv[2:], sys.stdin.read())))\n"
            "shutil.copy('sound.wav', sys.argv[1])\n")
        self.command = f"'{sys.executable}' speak.py {{out}}"

    def tts(self, **more):
        return {"audio": None, "enable_tts": True, "tts_text": "Hello there", "tts_command": self.command, **more}

    def test_the_text_and_the_voice_are_handed_over(self):
        text = "$(touch broken); `touch broken` \"'\\ {out} {prompt_audio}"
        self.speak(save_file="a.mp4", num_clip="1",
                   **self.tts(tts_text=text, tts_command=self.command + " x{text} {prompt_audio} '{prompt_text}'",
                              tts_prompt_audio="sound.wav", tts_prompt_text="good day"))
        self.assertEqual((self.folder / "said.txt").read_text(),
                         repr((["x" + text, str(self.folder.resolve() / "sound.wav"), "good day"], text)))
        self.assertNotIn("broken", self.names())
        self.assertEqual(read_mp4(self.folder / "a.mp4").metadata["audio"], str(self.folder.resolve() / "a.mp4.speech.wav"))
        self.assertIn("a.mp4.speech.wav", self.names())

    @unittest.skipUnless(shutil.which("espeak-ng"), "espeak-ng is not installed")
    def test_espeak_speaks(self):
        self.speak(save_file="a.mp4", num_clip="1", **self.tts(tts_command="espeak-ng --stdin -w {out}"))
        self.assertGreater((self.folder / "a.mp4.speech.wav").stat().st_size, 10_000)

    def test_what_is_missing_or_wrong_is_said(self):
        for more, status, words in (
                (self.tts(tts_command=None), UNSUPPORTED, ["--tts_command", "espeak-ng", "--audio"]),
                (self.tts(tts_text=None), INVALID_ARGUMENT, ["--tts_text is missing"]),
                (self.tts(audio="sound.wav"), INVALID_ARGUMENT, ["--audio and --enable_tts"]),
                (self.tts(tts_command="speak {text}"), INVALID_ARGUMENT, ["{out}"]),
                (self.tts(tts_command="speak 'a {out}"), INVALID_ARGUMENT, ["quote"]),
                (self.tts(tts_prompt_audio="sound.wav"), INVALID_ARGUMENT, ["--tts_prompt_audio", "{prompt_audio}"]),
                (self.tts(tts_command="speak {out} {prompt_audio}"), INVALID_ARGUMENT, ["--tts_prompt_audio is missing"]),
                (self.tts(tts_command="no-such-program {out}"), BAD_FILE, ["no-such-program", "cannot be run"]),
                (self.tts(tts_command="true {out}"), BAD_FILE, ["a.mp4.speech.wav"]),
                (self.tts(tts_command="false {out}"), BAD_FILE, ["status 1"]),
                (self.tts(checkpoint="nowhere", tts_command="touch {out}"), BAD_FILE, ["nowhere"]),
                (self.tts(save_file="no/a.mp4", tts_command="touch {out}"), INVALID_ARGUMENT, ["--save_file", "no"]),
                ({"tts_text": "Hello"}, INVALID_ARGUMENT, ["--tts_text", "--enable_tts"])):
            with self.subTest(words=words):
                self.refuse(status, *words, **more)
        for name, more in (("text", {"tts_text": None}), ("prompt_text", {})):
            with self.subTest(dash=name):
                arguments = generate_arguments(save_file="a.mp4", **self.options(**self.tts(tts_command=f"speak {{out}} {{{name}}}", **more)))
                self.assert_refused(self.run_wan(*arguments, f"--tts_{name}=-So"), INVALID_ARGUMENT, f"--tts_{name} begins with a dash")


if __name__ == "__main__":
    unittest.main()
