"""Runs that are killed while they denoise: what is on disk then, and that going on from it gives what the whole run would have given."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from support import (BAD_FILE, CANCELLED, INVALID_ARGUMENT, IO, WAN, WanTest, environment, finished, generate_arguments, may_mount,
                     read_safetensors)

LONG = {"size": "64*64", "frame_num": "17", "sample_steps": "150"}
NEWEST, EARLIER = "video.mp4.latents.safetensors", "video.mp4.latents.earlier.safetensors"
PIPE_BYTES = 4096  # a page: the program cannot run more than some 30 steps ahead of who reads its events
PAUSE = 0.02  # seconds from event to event, so that a run outlasts a hundred writes of its state on a slow disk
ALWAYS = "1e-9"  # minutes: as often as a hundredth of the time allows


class Killed(WanTest):
    known = {}  # bytes of videos that nothing stopped, by their options

    def kill_when(self, condition, **options):
        """SIGKILL as soon as condition(event) holds, which is asked after every event."""
        with subprocess.Popen([WAN, *generate_arguments(json=True, save_file="video.mp4", **options)], cwd=self.folder,
                              env=environment(), stdout=subprocess.PIPE, text=True) as process:
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            for line in process.stdout:
                time.sleep(PAUSE)
                if condition(json.loads(line)):
                    process.kill()
                    break
        self.assertEqual(process.returncode, -signal.SIGKILL, "it ended before there was anything to kill it for")
        self.assertFalse((self.folder / "video.mp4").exists())

    def step_of(self, name):
        return int(read_safetensors(self.folder / name)[0]["__metadata__"]["next_step"])

    def go_on_from(self, name):
        """The bytes of the video that these kept latents become; nothing but the file says what it is."""
        result = self.run_wan("generate", "--ckpt_dir", generate_arguments()[2], "--from_latents", name, "--threads", "1")
        self.assertEqual(result.status, 0, result.err)
        return (self.folder / "video.mp4").read_bytes()

    def whole(self, **options):
        key = str(options)
        if key not in self.known:
            self.generate(save_file="whole.mp4", **options)
            self.known[key] = (self.folder / "whole.mp4").read_bytes()
            (self.folder / "whole.mp4").unlink()
        return self.known[key]

    def test_either_state_goes_on_to_the_same_video(self):
        options = {**LONG, "keep_every": ALWAYS, "sample_steps": "600"}
        whole = self.whole(**options)
        self.kill_when(lambda event: (self.folder / EARLIER).exists(), **options)
        self.assertEqual([name for name in self.names() if not name.startswith(".")], sorted([EARLIER, NEWEST]))
        self.assertLess(self.step_of(EARLIER), self.step_of(NEWEST))
        kept = {name: (self.folder / name).read_bytes() for name in (NEWEST, EARLIER)}
        for name in (NEWEST, EARLIER):
            with self.subTest(name):
                for each, content in kept.items():
                    (self.folder / each).write_bytes(content)
                if name == EARLIER:
                    os.truncate(self.folder / NEWEST, len(kept[NEWEST]) // 2)
                self.assertEqual(self.go_on_from(name), whole)
                self.assertEqual(self.names(), ["video.mp4"], "the video is whole")

    def test_at_the_switch_of_experts(self):
        whole = self.whole(**LONG)
        last_high = []

        def is_low(event):
            if event.get("phase") == "high_noise" and event.get("step"):
                last_high.append(event["step"])
            return event.get("phase") == "low_noise" and "step" in event

        self.kill_when(is_low, **LONG)
        self.assertEqual(self.names(), [NEWEST])
        self.assertEqual(self.step_of(NEWEST), last_high[-1])
        self.assertEqual(self.go_on_from(NEWEST), whole)

    def test_what_a_killed_write_leaves_is_cleaned_up(self):
        options = {**LONG, "keep_every": ALWAYS}
        self.kill_when(lambda event: (self.folder / NEWEST).exists(), **options)
        partial = ".video.mp4.latents.0123456789abcdef-0.partial.safetensors"
        (self.folder / partial).write_bytes((self.folder / NEWEST).read_bytes()[:-100])
        video = self.go_on_from(NEWEST)
        self.assertEqual(self.names(), ["video.mp4"])
        self.assertEqual(video, self.whole(**LONG))

    def test_never(self):
        self.kill_when(lambda event: event.get("phase") == "low_noise" and "step" in event, keep_every="0", **LONG)
        self.assertEqual(self.names(), [])

    def test_the_same_command_again_loses_nothing(self):
        self.kill_when(lambda event: event.get("phase") == "low_noise" and "step" in event, **LONG)
        kept = (self.folder / NEWEST).read_bytes()
        result = self.generate(save_file="video.mp4", **LONG)
        step = self.step_of(NEWEST)
        self.assertIn(f"note: an earlier run has kept {step} of 150 steps in {NEWEST}: go on with --from_latents {NEWEST}",
                      result.err)
        self.assertEqual(self.names(), ["video.mp4", NEWEST])
        self.assertEqual((self.folder / NEWEST).read_bytes(), kept)
        whole = (self.folder / "video.mp4").read_bytes()
        (self.folder / "video.mp4").unlink()
        # Killed again, beside the first state.
        self.kill_when(lambda event: event.get("phase") == "low_noise" and "step" in event, **LONG)
        second = "video.mp4.2.latents.safetensors"
        self.assertEqual(self.names(), [second, NEWEST])
        self.assertEqual(self.go_on_from(second), whole)
        self.assertEqual(self.names(), ["video.mp4", NEWEST])

    def test_killed_twice(self):
        whole = self.whole(**LONG)
        options = {**LONG, "keep_every": ALWAYS}
        self.kill_when(lambda event: (self.folder / NEWEST).exists(), **options)
        step = self.step_of(NEWEST)
        self.kill_when(lambda event: self.step_of(NEWEST) > step if (self.folder / NEWEST).exists() else False,
                       from_latents=NEWEST, **options)
        self.assertEqual(self.go_on_from(NEWEST), whole)
        self.assertEqual(self.names(), ["video.mp4"])

    def test_interrupted_after_it_was_kept(self):
        options = {**LONG, "keep_every": ALWAYS, "sample_steps": "1000", "sample_solver": "euler"}
        with subprocess.Popen([WAN, *generate_arguments(json=True, save_file="video.mp4", **options)], cwd=self.folder,
                              env=environment(), stdout=subprocess.PIPE, text=True) as process:
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            for line in process.stdout:
                time.sleep(PAUSE)
                if (self.folder / EARLIER).exists():
                    break
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            self.assertEqual(process.wait(timeout=60), CANCELLED)
        self.assertEqual(self.names(), [NEWEST], "no stale state beside it")

    def test_a_damaged_state_names_the_one_before(self):
        (self.folder / EARLIER).write_bytes(finished()[1])
        (self.folder / NEWEST).write_bytes(finished()[1][:-100])
        self.assert_refused(self.run_wan(*generate_arguments(save_file="video.mp4", from_latents=NEWEST)), BAD_FILE,
                            NEWEST, f"--from_latents {EARLIER}")


class Options(WanTest):
    def test_values_that_cannot_be(self):
        (self.folder / "file").write_bytes(b"")
        for options, words in [({"keep_every": "-1"}, ["--keep_every -1", "0 or more"]), ({"keep_every": "nan"}, ["--keep_every"]),
                               ({"keep_every": "soon"}, ["--keep_every soon", "a number"]),
                               ({"keep_dir": "nowhere"}, ["--keep_dir nowhere", "does not exist"]),
                               ({"keep_dir": "file"}, ["--keep_dir file", "name a folder"]),
                               ({"keep_dir": "/proc/self"}, ["--keep_dir /proc/self"])]:
            with self.subTest(**options):
                self.assert_refused(self.run_wan(*generate_arguments(save_file="video.mp4", **options)), INVALID_ARGUMENT,
                                    *words)

    def test_a_folder_of_its_own(self):
        (self.folder / "keep").mkdir()
        with subprocess.Popen([WAN, *generate_arguments(json=True, save_file="video.mp4", keep_dir="keep", **LONG)],
                              cwd=self.folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                event = json.loads(line)
                if event.get("step", 0) == 2:
                    process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=60), CANCELLED)
        self.assertIn(f"--from_latents keep/{NEWEST}", event["message"])
        self.generate(save_file="video.mp4", keep_dir="keep", from_latents=f"keep/{NEWEST}", **LONG)
        self.assertEqual(self.names(), ["keep", "video.mp4"])
        self.assertEqual(os.listdir(self.folder / "keep"), [])


@unittest.skipUnless(may_mount(), "needs root and a mount of its own")
class FullDisk(WanTest):
    def run_on_full_disks(self, **options):
        """The video's disk and the temporary one have no room."""
        (self.folder / "disk").mkdir()
        script = 'mount -t tmpfs -o size=8k none disk && exec "$@"'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", WAN,
                               *generate_arguments(save_file="disk/video.mp4", size="64*64", frame_num="17", **options)],
                              cwd=self.folder, env=environment({"TMPDIR": str(self.folder / "disk")}),
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, IO, done.stderr)
        return done.stderr.splitlines()

    def test_is_told_before_anything_is_loaded(self):
        lines = self.run_on_full_disks(keep_every=ALWAYS)
        told = next(number for number, line in enumerate(lines) if "no disk has room" in line)
        loaded = next(number for number, line in enumerate(lines) if line.startswith("load:"))
        self.assertLess(told, loaded)
        self.assertRegex(lines[told], r"takes \d+\.\d MB, disk has 0\.0 MB.* free; .*--keep_dir")
        self.assertEqual(len([line for line in lines if "the run goes on" in line]), 1, lines)

    def test_a_folder_that_is_named_takes_it(self):
        (self.folder / "keep").mkdir()
        lines = self.run_on_full_disks(keep_dir="keep")
        self.assertNotIn("no disk has room", "".join(lines))
        self.assertIn(f"--from_latents keep/{NEWEST}", lines[-1])
        self.assertEqual(os.listdir(self.folder / "keep"), [NEWEST])
        shutil.rmtree(self.folder / "disk")
        self.generate(save_file="video.mp4", keep_dir="keep", from_latents=f"keep/{NEWEST}", size=None, frame_num=None)


if __name__ == "__main__":
    unittest.main()
