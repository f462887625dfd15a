"""wan preprocess, and an animation straight from a video: small networks made here, files, sound, refusals."""

import json
import os
import shutil
import signal
import subprocess
import unittest

from onnx_file import model, node, tensor
from support import (BAD_FILE, CANCELLED, INVALID_ARGUMENT, UNPACKED, UNSUPPORTED, WAN, WanTest, environment, generate_arguments, read_mp4,
                     read_png)

ANIMATE = UNPACKED / "animate/checkpoint"
SIDE, WIDTH, HEIGHT, POINTS = 64, 48, 64, 133


def detector(score=0.9):
    """Of 64x64: one person, all of the frame."""
    bias = [0, 0, SIDE, SIDE, score, 0]
    return model([node("Conv", ["input", "weight", "bias"], ["box"], kernel_shape=[SIDE, SIDE]), node("Reshape", ["box", "shape"], ["output"])],
                 [tensor("weight", [6, 3, SIDE, SIDE], [0.0] * (6 * 3 * SIDE * SIDE)), tensor("bias", [6], bias),
                  tensor("shape", [3], [1, 1, 6], integers=True)],
                 [1, 3, SIDE, SIDE], [1, 1, 6])


def pose_network():
    """Of 48x64: each point's heatmap is a mean of channels over 4x4 pixels, of other channels for each point."""
    weights = [float((point * 7 + channel * 5) % 11 - 3) for point in range(POINTS) for channel in range(3)]
    return model([node("MaxPool", ["input"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
                  node("Conv", ["small", "weight", "bias"], ["output"], kernel_shape=[1, 1])],
                 [tensor("weight", [POINTS, 3, 1, 1], weights), tensor("bias", [POINTS], [0.6] * POINTS)],
                 [1, 3, HEIGHT, WIDTH], [1, POINTS, HEIGHT // 4, WIDTH // 4])


class Preprocessing(WanTest):
    def setUp(self):
        super().setUp()
        (self.folder / "networks/det").mkdir(parents=True)
        (self.folder / "networks/pose2d/vitpose_h_wholebody.onnx").mkdir(parents=True)
        (self.folder / "networks/det/yolov10m.onnx").write_bytes(detector())
        (self.folder / "networks/pose2d/vitpose_h_wholebody.onnx/end2end.onnx").write_bytes(pose_network())
        shutil.copy(UNPACKED / "animate/scene/src_bg.mp4", self.folder / "video.mp4")
        shutil.copy(UNPACKED / "animate/moves/src_ref.png", self.folder / "picture.png")

    def arguments(self, **more):
        options = {"ckpt_path": "networks", "video_path": "video.mp4", "refer_path": "picture.png", "save_path": "made",
                   "resolution_area": ["32", "32"], "fps": "-1", "device": "cpu", "threads": "1", **more}
        words = ["preprocess"]
        for name, value in options.items():
            if value is not None:
                words += ["--" + name] + ([] if value is True else value if isinstance(value, list) else [value])
        return words

    def preprocess(self, **more):
        result = self.run_wan(*self.arguments(**more))
        self.assertEqual(result.status, 0, result.err)
        return result

    def refuse(self, status, *words, **more):
        self.assert_refused(self.run_wan(*self.arguments(**more)), status, *words)
        self.assertFalse((self.folder / "made").exists() and list((self.folder / "made").iterdir()))


class Folder(Preprocessing):
    def test_what_is_written(self):
        result = self.preprocess()
        self.assertIn("saved made in", result.err)
        self.assertIn("12 frames of 32*16", result.err)
        names = sorted(path.name for path in (self.folder / "made").iterdir())
        self.assertEqual(names, ["src_face.mp4", "src_pose.mp4", "src_ref.png"])
        self.assertEqual((self.folder / "made/src_ref.png").read_bytes(), (self.folder / "picture.png").read_bytes())
        for name, width, height in (("src_pose", 32, 16), ("src_face", 512, 512)):
            movie = read_mp4(self.folder / f"made/{name}.mp4")
            self.assertEqual((movie.frames, movie.width, movie.height), (12, width, height))
            self.assertAlmostEqual(movie.seconds, 0.5, places=2)

    def test_events(self):
        (self.folder / "networks/det/yolov10m.onnx").write_bytes(detector(score=0.01))
        events = self.preprocess(json=True, fps="8", retarget_flag=True, face_size="64").events
        self.assertEqual([event["phase"] for event in events if event["event"] == "phase_started"], ["load", "preprocess"])
        self.assertEqual(events[-1]["event"], "preprocessed")
        self.assertEqual(events[-1]["without_person"], events[-1]["frames"])
        self.assertTrue(any("show nobody" in event.get("message", "") for event in events))
        self.assertEqual(read_mp4(self.folder / "made/src_face.mp4").width, 64)

    def test_the_same_again(self):
        self.preprocess()
        first = {path.name: path.read_bytes() for path in (self.folder / "made").iterdir()}
        self.preprocess()
        self.assertEqual({path.name: path.read_bytes() for path in (self.folder / "made").iterdir()}, first)

    def test_an_animation_of_the_folder(self):
        self.preprocess(face_size="16", fps="24")
        options = {"checkpoint": ANIMATE, "task": "animate-14B", "size": None, "prompt": None, "frame_num": "9", "sample_steps": "1", "device": "cpu"}
        self.generate(src_root_path="made", save_file="a.mp4", **options)
        self.assertEqual(read_mp4(self.folder / "a.mp4").frames, read_mp4(self.folder / "made/src_pose.mp4").frames)

    def test_what_is_refused(self):
        for words, more in ((["--use_flux", "--edited_refer"], {"use_flux": True}),):
            self.refuse(UNSUPPORTED, *words, **more)
        for words, more in ((["--retarget_flag", "animation"], {"retarget_flag": True, "replace_flag": True}),
                            (["--edited_frame", "missing"], {"edited_refer": "picture.png", "retarget_flag": True}),
                            (["--fps 0"], {"fps": "0"}), (["--k 0"], {"k": "0"}), (["--iterations"], {"iterations": "x"}),
                            (["--w_len 0"], {"w_len": "0"}), (["--h_len -1"], {"h_len": "-1"}), (["--face_size 3"], {"face_size": "3"}),
                            (["--resolution_area", "1280 720"], {"resolution_area": "32"}), (["--resolution_area 0 32"], {"resolution_area": ["0", "32"]}), (["--save_path"], {"save_path": "video.mp4"}),
                            (["--video_path", "missing"], {"video_path": None}), (["--refer_path", "missing"], {"refer_path": None}),
                            (["--ckpt_path", "missing"], {"ckpt_path": None}), (["--save_path", "missing"], {"save_path": None})):
            with self.subTest(**more):
                self.assert_refused(self.run_wan(*self.arguments(**more)), INVALID_ARGUMENT, *words)
        for words, more in ((["wan download animate-14B", "process_checkpoint"], {"ckpt_path": "nowhere"}),
                            (["sam2/sam2_hiera_large.pt", "wan download animate-14B"], {"replace_flag": True}),
                            (["picture.png"], {"video_path": "picture.png"}), (["video.mp4"], {"refer_path": "video.mp4"}),
                            (["nowhere.mp4"], {"video_path": "nowhere.mp4"}), (["nowhere.png"], {"refer_path": "nowhere.png"})):
            with self.subTest(**more):
                self.assert_refused(self.run_wan(*self.arguments(**more)), BAD_FILE, *words)
        shutil.rmtree(self.folder / "networks/pose2d")
        self.assertFalse((self.folder / "made").exists())
        self.refuse(BAD_FILE, "it lacks pose2d/vitpose_h_wholebody.onnx")

    def test_damaged_networks(self):
        path = self.folder / "networks/det/yolov10m.onnx"
        pose = self.folder / "networks/pose2d/vitpose_h_wholebody.onnx/end2end.onnx"
        for file, content, words in ((path, b"nothing of the kind", "yolov10m.onnx"), (path, pose_network(), "[1, rows, columns]"),
                                     (pose, detector(), "[1, 133, height, width]")):
            before = file.read_bytes()
            file.write_bytes(content)
            result = self.run_wan(*self.arguments())
            self.assertEqual(result.status, BAD_FILE)
            self.assertIn(words, result.err.splitlines()[-1])
            self.assertFalse((self.folder / "made").exists())
            file.write_bytes(before)

    def test_a_stopped_run_leaves_nothing(self):
        process = subprocess.Popen([WAN, *self.arguments(fps="1000", json=True)], cwd=self.folder, env=environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in process.stdout:
            if json.loads(line)["event"] == "progress" and json.loads(line)["phase"] == "preprocess":
                process.send_signal(signal.SIGINT)
                break
        last = process.communicate()[0].splitlines()[-1]
        self.assertEqual((process.returncode, json.loads(last)["event"]), (CANCELLED, "error"))
        self.assertEqual(list((self.folder / "made").iterdir()), [])


    def test_memory_does_not_grow_with_the_length(self):
        large = {"resolution_area": ["640", "360"], "lossless": True}
        self.preprocess(**large)

        def peak(rate):  # the video has half a second
            options = self.arguments(video_path="made/src_pose.mkv", save_path="long", fps=str(rate), **large)
            process = subprocess.Popen([WAN, *options], cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, use = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(process.returncode, 0)
            return use.ru_maxrss * 1024
        # 45 frames more are 31 MB, their drawings as much, and 35 MB of faces.
        self.assertLess(peak(150) - peak(60), 10_000_000)


class OneGo(Preprocessing):
    def options(self, **more):
        return {"checkpoint": ANIMATE, "task": "animate-14B", "size": None, "prompt": None, "frame_num": "9", "sample_steps": "1", "device": "cpu",
                "video": "video.mp4", "image": "picture.png", "ckpt_path": "networks", "fps": "24", "save_file": "a.mp4", **more}

    def arguments_of(self, side="32", **more):
        # The area has two values.
        return generate_arguments(**self.options(**more)) + ["--resolution_area", side, side]

    def test_a_video_and_a_picture(self):
        result = self.run_wan(*self.arguments_of(json=True))
        self.assertEqual(result.status, 0, result.err)
        phases = [event["phase"] for event in result.events if event["event"] == "phase_started"]
        self.assertEqual(phases[:2], ["load", "preprocess"])
        movie = read_mp4(self.folder / "a.mp4")
        self.assertEqual((movie.frames, movie.width, round(movie.frames / movie.seconds)), (12, 32, 24))
        self.assertEqual(list(self.folder.glob("*.source")), [])
        # The same as of a folder without loss.
        self.preprocess(lossless=True, face_size="16", fps="24")
        self.generate(**self.options(video=None, image=None, ckpt_path=None, fps=None, src_root_path="made", save_file="b_%05d.png"))
        result = self.run_wan(*self.arguments_of(save_file="c_%05d.png"))
        self.assertEqual(result.status, 0, result.err)
        frames = [[read_png(path)[2] for path in sorted(self.folder.glob(f"{name}_*.png"))] for name in "bc"]
        self.assertEqual(frames[0], frames[1])

    def test_memory_does_not_grow_with_clips(self):
        def peak(rate):  # the video has half a second
            result = self.run_wan(*self.arguments_of("64", fps=str(rate), save_file="m_%05d.png", json=True))
            self.assertEqual(result.status, 0, result.err)
            finished = next(event for event in result.events if event["event"] == "finished")
            self.assertEqual(finished["frames"], rate // 2)
            return finished["peak_host_bytes"]
        # 84 frames more are 4.1 MB in floats.
        self.assertLess(peak(280) - peak(112), 2_000_000)

    def test_a_stopped_run_that_another_one_finishes(self):
        process = subprocess.Popen([WAN, *self.arguments_of(json=True, sample_steps="4")], cwd=self.folder, env=environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and "step" in event:
                process.send_signal(signal.SIGINT)
                break
        process.communicate()
        self.assertEqual(process.returncode, CANCELLED)
        source = self.folder / "a.mp4.source"
        self.assertTrue((source / "src_pose.mkv").exists())
        (self.folder / "a.mp4.2.source").mkdir()  # of someone else
        result = self.run_wan("generate", "--task", "animate-14B", "--ckpt_dir", ANIMATE, "--from_latents", "a.mp4.latents.safetensors", "--device", "cpu")
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(read_mp4(self.folder / "a.mp4").frames, 12)
        self.assertEqual(list(self.folder.glob("*.source")), [self.folder / "a.mp4.2.source"])

    def test_a_folder_that_was_named_stays(self):
        self.preprocess(lossless=True, face_size="16", fps="24", save_path="a.mp4.source")
        before = sorted(path.name for path in (self.folder / "a.mp4.source").iterdir())
        self.generate(**self.options(video=None, image=None, ckpt_path=None, fps=None, src_root_path="a.mp4.source"))
        self.assertEqual(sorted(path.name for path in (self.folder / "a.mp4.source").iterdir()), before)

    def test_what_does_not_go_together(self):
        for words, more in ((["--src_root_path"], {"src_root_path": "made"}), (["--image", "missing"], {"image": None}),
                            (["animate-14B"], {"task": "t2v-A14B"}), (["--plan"], {"plan": True}), (["--video"], {"video": None, "ckpt_path": "networks"})):
            with self.subTest(**more):
                self.assert_refused(self.run_wan(*self.arguments_of(**more)), INVALID_ARGUMENT, *words)
        self.assert_refused(self.run_wan(*self.arguments_of(ckpt_path=None)), BAD_FILE, "process_checkpoint")
        self.assert_refused(self.run_wan(*self.arguments_of(video="nowhere.mp4")), BAD_FILE, "nowhere.mp4")
        self.assertEqual(list(self.folder.glob("*.source")), [])

    def test_requests_take_preprocessed_folders(self):
        (self.folder / "all.jsonl").write_text(json.dumps({"save_file": "x.mp4"}) + "\n")
        result = self.run_wan(*self.arguments_of(requests="all.jsonl", save_file=None))
        self.assertEqual(result.status, UNSUPPORTED)
        self.assertIn("wan preprocess", result.out + result.err)


if __name__ == "__main__":
    unittest.main()
