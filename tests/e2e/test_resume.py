"""Runs that end early: what is kept, and that going on gives what the whole run would have given."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import unittest

from support import (BAD_FILE, CANCELLED, INVALID_ARGUMENT, IO, WAN, WanTest, environment, finished, generate_arguments, may_mount,
                     read_safetensors, write_safetensors)

LONG = {"size": "64*64", "frame_num": "17", "sample_steps": "150"}
MANY = {**LONG, "sample_steps": "1000", "sample_solver": "euler"}
PIPE_BYTES = 4096  # a page: the program cannot run more than some 30 steps ahead of who reads its events


class Interrupted(WanTest):
    def start(self, *flags, **options):
        process = subprocess.Popen([WAN, *generate_arguments(json=True, **options), *flags], cwd=self.folder,
                                   env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        return process

    def interrupt_at(self, step, **options):
        """SIGINT once this step is done; the events, the last one an error."""
        process = self.start(**options)
        events, sent = [], False
        for line in process.stdout:
            events.append(json.loads(line))
            if not sent and events[-1].get("step", 0) >= step:
                process.send_signal(signal.SIGINT)
                sent = True
        self.assertEqual(process.wait(timeout=60), CANCELLED)
        return events

    def test_a_checkpoint_cut_short_ends_the_run_with_an_error(self):
        checkpoint = self.copy_checkpoint()
        part = checkpoint / "low_noise_model/diffusion_pytorch_model.safetensors"
        process = self.start(checkpoint=checkpoint, save_file="video.mp4", residency="streamed", **MANY)
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1].get("step") == 2:
                os.truncate(part, part.stat().st_size // 2)
        self.assertEqual(process.wait(timeout=60), BAD_FILE)
        message = events[-1]["message"]
        self.assertIn(f"{part} was cut short while it was read", message)
        self.assertIn("--from_latents video.mp4.latents.safetensors", message)
        self.assertTrue((self.folder / "video.mp4.latents.safetensors").exists())

    def test_interrupted_run_goes_on_to_the_same_video(self):
        for solver, steps in (("unipc", "150"), ("dpm++", "151"), ("euler", "152")):
            with self.subTest(solver=solver):
                options = {**LONG, "sample_solver": solver, "sample_steps": steps}
                whole, video = f"whole-{steps}_%d.png", f"video-{steps}_%d.png"
                kept = video + ".latents.safetensors"
                self.generate(save_file=whole, **options)
                events = self.interrupt_at(4, save_file=video, **options)
                done = max(event.get("step", 0) for event in events)
                self.assertLess(done, 120, "the run went on after the signal")
                message = events[-1]["message"]
                self.assertIn(f"{done} of {steps} steps are kept in {kept}", message)
                self.assertIn(f"--from_latents {kept}", message)
                self.assertFalse((self.folder / (video % 0)).exists())
                # Nothing but the kept file: it holds the settings.
                self.run_and_check("generate", "--ckpt_dir", generate_arguments()[2], "--from_latents", kept,
                                   "--save_file", video, "--threads", "1")
                for number in range(17):
                    self.assertEqual((self.folder / (video % number)).read_bytes(), (self.folder / (whole % number)).read_bytes())
                self.assertFalse((self.folder / kept).exists(), "the video is whole")
        self.assertEqual([name for name in self.names() if name.startswith(".")], [])

    def run_and_check(self, *arguments):
        result = self.run_wan(*arguments)
        self.assertEqual(result.status, 0, result.err)
        return result

    def test_interrupted_twice(self):
        options = {**LONG, "save_file": "video.mp4"}
        self.generate(**{**options, "save_file": "whole.mp4"})
        self.interrupt_at(4, **options)
        kept = "video.mp4.latents.safetensors"
        self.interrupt_at(60, from_latents=kept, **options)
        self.assertEqual(read_safetensors(self.folder / kept)[0]["__metadata__"]["sample_steps"], "150")
        self.generate(from_latents=kept, **options)
        self.assertEqual((self.folder / "video.mp4").read_bytes(), (self.folder / "whole.mp4").read_bytes())

    def test_interrupted_message_for_people(self):
        process = subprocess.Popen([WAN, *generate_arguments(save_file="video.mp4", **MANY)], cwd=self.folder,
                                   env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("high noise: step"):
                process.send_signal(signal.SIGINT)
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), CANCELLED)
        self.assertRegex(lines[-1], r"^stopped.* kept in video\.mp4\.latents\.safetensors: go on with --from_latents ")

    def test_interrupted_while_decoding(self):
        process = self.start(save_file="video.mp4", size="64*64", frame_num="81", sample_steps="1")
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1].get("phase") == "decode" and events[-1]["event"] == "progress":
                process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), CANCELLED)
        self.assertIn("--from_latents video.mp4.latents.safetensors", events[-1]["message"])
        self.assertEqual(self.names(), ["video.mp4.latents.safetensors"])

    def test_killed_while_decoding(self):
        options = {"size": "64*64", "frame_num": "41", "sample_steps": "1"}
        process = self.start(save_file="video.mp4", **options)
        for line in process.stdout:
            event = json.loads(line)
            if event.get("phase") == "decode":
                process.kill()
                break
        process.wait(timeout=60)
        self.assertFalse((self.folder / "video.mp4").exists())
        kept = "video.mp4.latents.safetensors"
        self.assertEqual([name for name in self.names() if not name.startswith(".video.")], [kept])
        self.generate(save_file="video.mp4", from_latents=kept, **options)
        self.assertEqual(self.names(), ["video.mp4"], "what the killed run left is gone")
        self.generate(save_file="whole.mp4", **options)
        self.assertEqual((self.folder / "video.mp4").read_bytes(), (self.folder / "whole.mp4").read_bytes())


class SavedLatents(WanTest):
    def setUp(self):
        super().setUp()
        self.latents = self.folder / "kept.safetensors"
        for path, content in zip((self.folder / "video.mp4", self.latents), finished()):
            path.write_bytes(content)

    def test_saved_latents_give_the_same_video(self):
        header, body = read_safetensors(self.latents)
        self.assertEqual(header["latents"]["shape"], [16, 2, 4, 4])
        self.assertEqual(len(body), 16 * 2 * 4 * 4 * 4)
        self.generate(save_file="again.mp4", from_latents="kept.safetensors")
        self.assertEqual((self.folder / "again.mp4").read_bytes(), (self.folder / "video.mp4").read_bytes())
        self.assertTrue(self.latents.exists())

    def test_an_unnamed_video_gets_the_name_it_was_to_have(self):
        self.assert_refused(self.run_wan(*generate_arguments(save_file=None, from_latents="kept.safetensors")),
                            INVALID_ARGUMENT, "--save_file", "kept.safetensors")
        shutil.copy(self.latents, self.folder / "meant.mp4.latents.safetensors")
        self.generate(save_file=None, from_latents="meant.mp4.latents.safetensors")
        self.assertEqual((self.folder / "meant.mp4").read_bytes(), (self.folder / "video.mp4").read_bytes())

    def test_latents_of_another_program(self):
        header, body = read_safetensors(self.latents)
        write_safetensors(self.folder / "other.safetensors", {"latents": header["latents"]}, body)
        for prompt in ("a red circle moves right", None):
            self.generate(save_file="again_%d.png", from_latents="other.safetensors", prompt=prompt)
        self.generate(save_file="video_%d.png")
        for number in range(5):
            self.assertEqual((self.folder / f"again_{number}.png").stat().st_size > 0, True)

    def test_contradictions(self):
        for options, words in [({"base_seed": "8"}, ["--base_seed", "7"]), ({"size": "48*32"}, ["--size", "32*32"]),
                               ({"prompt": "another"}, ["--prompt"]), ({"sample_steps": "9"}, ["--sample_steps"]),
                               ({"sample_guide_scale": "9"}, ["--sample_guide_scale"]),
                               ({"sample_shift": "9"}, ["--sample_shift"]),
                               ({"sample_solver": "euler"}, ["--sample_solver"])]:
            with self.subTest(**options):
                result = self.run_wan(
                    *generate_arguments(save_file="new.mp4", from_latents="kept.safetensors", **options))
                self.assert_refused(result, INVALID_ARGUMENT, "contradicts", *words)

    def test_damaged_latents(self):
        header, body = read_safetensors(self.latents)
        damaged = {
            "cut": lambda: (self.folder / "x.safetensors").write_bytes(self.latents.read_bytes()[:-100]),
            "nan": lambda: write_safetensors(self.folder / "x.safetensors", header, b"\0\0\xc0\x7f" + body[4:]),
            "name": lambda: write_safetensors(self.folder / "x.safetensors", {"other": header["latents"]}, body),
            "setting": lambda: write_safetensors(
                self.folder / "x.safetensors",
                {**header, "__metadata__": {**header["__metadata__"], "sample_steps": "many"}}, body),
            "shape": lambda: write_safetensors(
                self.folder / "x.safetensors",
                {**header, "latents": {**header["latents"], "shape": [16, 2, 8, 2]}}, body),
        }
        for name, damage in damaged.items():
            with self.subTest(name):
                damage()
                result = self.run_wan(*generate_arguments(save_file="new.mp4", from_latents="x.safetensors"))
                self.assert_refused(result, 65, "x.safetensors")


@unittest.skipUnless(may_mount(), "needs root and a mount of its own")
class FullDisk(WanTest):
    def run_on_small_disk(self, room, **options):
        """wan with `disk/` of this size; what stayed on it comes back in `after/`."""
        (self.folder / "disk").mkdir()
        (self.folder / "temporary").mkdir()
        script = (f'mount -t tmpfs -o size={room} none disk && "$@"; status=$?; cp -a disk after; exit $status')
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", WAN, *generate_arguments(**options)],
                              cwd=self.folder, env=environment({"TMPDIR": str(self.folder / "temporary")}),
                              capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stderr, sorted(path.name for path in (self.folder / "after").iterdir())

    def test_room_for_the_latents_alone(self):
        options = {"size": "64*64", "frame_num": "17", "sample_steps": "1"}
        status, error, after = self.run_on_small_disk("40k", save_file="disk/video.mp4", **options)
        self.assertEqual(status, IO, error)
        self.assertEqual(after, ["video.mp4.latents.safetensors"])
        last = error.splitlines()[-1]
        self.assertRegex(last, r"^error: cannot write disk/video\.mp4: No space left on device; .*--from_latents disk/")
        self.generate(save_file="video.mp4", from_latents="after/video.mp4.latents.safetensors", **options)

    def test_no_room_at_all(self):
        options = {"size": "64*64", "frame_num": "17", "sample_steps": "1"}
        status, error, after = self.run_on_small_disk("8k", save_file="disk/video.mp4", **options)
        self.assertEqual((status, after), (IO, []), error)
        (kept,) = (self.folder / "temporary").iterdir()
        self.assertIn(f"--from_latents {kept}", error.splitlines()[-1])
        self.generate(save_file="video.mp4", from_latents=kept, **options)

    def test_frames(self):
        options = {"size": "64*64", "frame_num": "17", "sample_steps": "1"}
        status, error, after = self.run_on_small_disk("100k", save_file="disk/f_%05d.png", **options)
        self.assertEqual((status, after), (IO, ["f_%05d.png.latents.safetensors"]), error)

    def test_dump(self):
        status, error, after = self.run_on_small_disk("8k", save_file="video.mp4", dump="disk/dump")
        self.assertEqual(status, IO, error)
        self.assertIn("No space left", error.splitlines()[-1])
        self.assertFalse((self.folder / "video.mp4").exists())


if __name__ == "__main__":
    unittest.main()
