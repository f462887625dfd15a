"""Kept latents: whose file they are, and options beside --from_latents that they contradict or leave open."""

import json
import shlex
import shutil
import signal
import subprocess
import unittest

from support import (BAD_FILE, CANCELLED, CHECKPOINT, INVALID_ARGUMENT, WAN, WanTest, environment, finished, generate_arguments,
                     read_mp4, read_safetensors, write_safetensors)

AUTOMATIC = "video.mp4.latents.safetensors"


class Ownership(WanTest):
    def keep(self, name):
        (self.folder / name).write_bytes(finished()[1])
        return finished()[1]

    def make_foreign(self, name):
        self.keep(name)
        header, body = read_safetensors(self.folder / name)
        write_safetensors(self.folder / name, {"latents": header["latents"]}, body)
        return (self.folder / name).read_bytes()

    def test_requested_latents_stay(self):
        kept = self.keep(AUTOMATIC)
        self.generate(save_file="video.mp4", from_latents=AUTOMATIC)
        self.assertEqual((self.folder / AUTOMATIC).read_bytes(), kept)
        self.generate(save_file="video.mp4", from_latents=f"./{AUTOMATIC}")
        self.assertEqual((self.folder / AUTOMATIC).read_bytes(), kept)
        self.assertEqual(self.names(), ["video.mp4", AUTOMATIC])

    def test_latents_of_another_program_stay(self):
        foreign = self.make_foreign(AUTOMATIC)
        self.generate(save_file="video.mp4", from_latents=AUTOMATIC)
        self.generate(save_file="video.mp4", from_latents=AUTOMATIC, save_latents=AUTOMATIC)
        self.assertEqual((self.folder / AUTOMATIC).read_bytes(), foreign)

    def test_a_new_run_leaves_them_alone(self):
        for make in (self.keep, self.make_foreign):
            kept = make(AUTOMATIC)
            self.generate(save_file="video.mp4")
            self.assertEqual((self.folder / AUTOMATIC).read_bytes(), kept)
            self.assertEqual(self.names(), ["video.mp4", AUTOMATIC])
        (self.folder / AUTOMATIC).write_bytes(b"no latents at all")
        self.generate(save_file="video.mp4")
        self.assertEqual((self.folder / AUTOMATIC).read_bytes(), b"no latents at all")

    def test_automatic_latents_go_with_the_whole_video(self):
        self.keep(AUTOMATIC)
        header, body = read_safetensors(self.folder / AUTOMATIC)
        self.assertEqual(header["__metadata__"]["kept"], "requested")
        header["__metadata__"]["kept"] = "automatic"
        write_safetensors(self.folder / AUTOMATIC, header, body)
        shutil.copy(self.folder / AUTOMATIC, self.folder / "elsewhere.safetensors")
        self.generate(save_file="video.mp4", from_latents="elsewhere.safetensors")
        self.assertEqual(self.names(), ["elsewhere.safetensors", "video.mp4", AUTOMATIC])
        self.generate(save_file="video.mp4", from_latents=AUTOMATIC)
        self.assertEqual(self.names(), ["elsewhere.safetensors", "video.mp4"])

    def test_finished_latents_are_copied_on_request_alone(self):
        kept = self.keep("a.safetensors")
        self.generate(save_file="video.mp4", from_latents="a.safetensors", save_latents="b.safetensors")
        self.assertEqual(self.names(), ["a.safetensors", "b.safetensors", "video.mp4"])
        self.assertEqual((self.folder / "b.safetensors").read_bytes(), kept)


class ResumeLine(WanTest):
    def test_a_shell_takes_it_as_it_is(self):
        # Another's latents take the first name; the one that is used has the quotes in it, too.
        video = "it's a $(video) & more.mp4"
        (self.folder / (video + ".latents.safetensors")).write_bytes(b"another's")
        options = {"size": "64*64", "frame_num": "17", "sample_steps": "1000", "sample_solver": "euler"}
        with subprocess.Popen([WAN, *generate_arguments(json=True, save_file=video, **options)], cwd=self.folder,
                              env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                event = json.loads(line)
                if event.get("step", 0) == 2:
                    process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=60), CANCELLED)
        option, path = shlex.split(event["message"][event["message"].index("--from_latents"):])
        self.assertEqual((option, path), ("--from_latents", video + ".2.latents.safetensors"))
        result = self.run_wan("generate", "--ckpt_dir", CHECKPOINT, option, path, "--plan")
        self.assertEqual(result.status, 0, result.err)


class Beside(WanTest):
    """Options beside --from_latents."""

    def setUp(self):
        super().setUp()
        for name, content in zip(("video.mp4", "kept.safetensors"), finished()):
            (self.folder / name).write_bytes(content)
        header, body = read_safetensors(self.folder / "kept.safetensors")
        write_safetensors(self.folder / "foreign.safetensors",
                          {"__metadata__": {"format": "pt"}, "latents": header["latents"]}, body)

    def go_on(self, name, **options):
        return self.run_wan(*generate_arguments(**{"save_file": "new_%d.png", "from_latents": name, **options}))

    def test_other_noise(self):
        self.assert_refused(self.go_on("kept.safetensors", rng="torch-cuda"), INVALID_ARGUMENT, "--rng contradicts",
                            "torch-cpu")
        self.assertEqual(self.go_on("kept.safetensors", rng="torch-cpu").status, 0)

    def test_size_of_another_programs_latents(self):
        self.assert_refused(self.go_on("foreign.safetensors", size="48*32"), INVALID_ARGUMENT, "--size contradicts",
                            "32*32")
        self.assert_refused(self.go_on("foreign.safetensors", frame_num="9"), INVALID_ARGUMENT,
                            "--frame_num contradicts", "5 frames")
        result = self.go_on("foreign.safetensors", size=None, frame_num=None)
        self.assertEqual(result.status, 0, result.err)

    def test_precision_stays_what_the_steps_were_made_with(self):
        self.assertEqual(self.go_on("kept.safetensors", precision="bf16", save_file="new.mp4").status, 0)
        self.assertEqual(read_mp4(self.folder / "new.mp4").metadata["precision"], "fp32")
        self.assertEqual((self.folder / "new.mp4").read_bytes(), (self.folder / "video.mp4").read_bytes())

    def test_the_vaes_precision_is_what_they_are_decoded_with(self):
        self.assertEqual(self.go_on("kept.safetensors", vae_precision="bf16", save_file="new.mp4").status, 0)
        self.assertEqual(read_mp4(self.folder / "new.mp4").metadata["vae_precision"], "bf16")

    def test_another_checkpoint_is_told(self):
        renamed = self.copy_checkpoint("renamed")
        result = self.run_wan(*generate_arguments(renamed, save_file="new.mp4", from_latents="kept.safetensors", json=True))
        self.assertEqual(result.status, 0, result.out)
        (notice,) = [event["message"] for event in result.events if event["event"] == "notice"]
        for word in ("'checkpoint'", "'renamed'"):
            self.assertIn(word, notice)
        self.assertEqual(read_mp4(self.folder / "new.mp4").metadata["model"], "checkpoint")

    def test_settings_that_no_run_can_have(self):
        header, body = read_safetensors(self.folder / "kept.safetensors")
        for key, value in (("fps", "0"), ("frame_num", "6"), ("size", "33*32"), ("sample_solver", "ddim"),
                           ("fps", "1" * 100000)):
            with self.subTest(key=key):
                metadata = {**header["__metadata__"], key: value}
                write_safetensors(self.folder / "x.safetensors", {**header, "__metadata__": metadata}, body)
                result = self.go_on("x.safetensors", size=None, frame_num=None)
                self.assert_refused(result, BAD_FILE, f'x.safetensors: "{key}"')
                self.assertNotIn("--", result.err)
                self.assertLess(len(result.err), 500)


if __name__ == "__main__":
    unittest.main()
