"""Memory plans on a GPU against what the program's runs took of it: every task, every residency.

    WAN_BINARY=build-cuda/apps/cli/wan python3 -B tests/gpu/test_plan.py

The standard library alone. Skipped where no GPU can be used; with WAN_REQUIRE_GPU set, that fails. WAN_PLAN_CHECKPOINTS names checkpoints
of full size beside the bundled small ones, as "t2v-A14B=FOLDER,ti2v-5B=FOLDER" (bench/random_checkpoint.py writes such); animate-14B's
moves by WAN_PLAN_MOVES, a folder of preprocessing's output of 77 frames.
"""

import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from gpu_support import main, text_encoder_beside  # noqa: E402
from support import SOURCE, UNPACKED, run  # noqa: E402

DEVICE = os.environ.get("WAN_TEST_DEVICE", "cuda")
CLOSE = 0.05
GOLDEN = UNPACKED / "pipeline"
PICTURE = SOURCE / "models/demo-i2v/red_circle.png"

ON_SOUND = {"image": SOURCE / "models/demo-s2v/face.png", "audio": SOURCE / "models/demo-s2v/hello.wav", "frame_num": None, "infer_frames": 16}
ON_MOVES = {"src_root_path": UNPACKED / "animate/moves", "size": None, "prompt": None, "frame_num": 9}

# Task, checkpoint, size: large enough for the models' memory to be more than cuBLASLt's; what else is asked for.
SMALL = [("t2v-A14B", SOURCE / "models/demo", "512*512", {}),
         ("i2v-A14B", SOURCE / "models/demo-i2v", "512*512", {"image": PICTURE}),
         ("ti2v-5B", GOLDEN / "checkpoint_ti2v", "512*512", {}),
         ("ti2v-5B", GOLDEN / "checkpoint_ti2v", "512*512", {"image": PICTURE}),
         ("s2v-14B", SOURCE / "models/demo-s2v", "256*256", ON_SOUND),
         ("animate-14B", UNPACKED / "animate/checkpoint", None, ON_MOVES)]


def full_size():
    for entry in filter(None, os.environ.get("WAN_PLAN_CHECKPOINTS", "").split(",")):
        task, _, folder = entry.partition("=")
        size = "1280*704" if task == "ti2v-5B" else "832*480"
        if task == "s2v-14B":
            yield task, Path(folder), size, {**ON_SOUND, "infer_frames": 80}
        elif task == "animate-14B":
            yield task, Path(folder), None, {**ON_MOVES, "src_root_path": os.environ["WAN_PLAN_MOVES"], "frame_num": 77}
        else:
            pictures = {"t2v-A14B": [False], "i2v-A14B": [True]}.get(task, [True, False])
            yield from ((task, Path(folder), size, {"image": PICTURE} if picture else {}) for picture in pictures)


def command(case, *flags, **options):
    task, checkpoint, size, others = case
    options = {"task": task, "ckpt_dir": checkpoint, "frame_num": 17, "sample_steps": 3, "base_seed": 1,
               "prompt": "a red circle moves right on a blue background", "device": DEVICE, "save_file": "%05d.png", "size": size,
               **text_encoder_beside(checkpoint), **others, **options}
    return ["generate", *(text for name, value in options.items() if value is not None for text in ("--" + name, str(value))), *flags]


class Plans(unittest.TestCase):
    def plan(self, case, **options):
        result = run(*command(case, "--plan", "--json", **options))
        self.assertEqual(result.status, 0, result.err)
        return result.events[0]

    def expect(self, case, **options):
        """The plan, without what CUDA's libraries take, is within 5% of the run's peak."""
        plan = self.plan(case, **options)
        with tempfile.TemporaryDirectory(prefix="wan-plan-") as folder:
            result = run(*command(case, "--json", **options), cwd=folder)
        self.assertEqual(result.status, 0, result.err)
        taken = next(event for event in result.events if event["event"] == "finished")["peak_device_bytes"]
        planned = plan["peak"] - plan["program"]
        line = (f"{case[0]}{' with a picture' if 'image' in case[3] else ''} at {case[2]}, {options}, {plan['block_places']} places: "
                f"planned {planned / 1e6:.1f} MB, taken {taken / 1e6:.1f} MB, {planned / taken - 1:+.1%}")
        print(line)
        with self.subTest(line):
            self.assertLessEqual(abs(planned - taken), CLOSE * taken)
        return plan

    def check(self, cases):
        for case in cases:
            resident = self.expect(case, residency="resident")
            streamed = self.expect(case, residency="streamed")
            self.assertLessEqual(streamed["peak"], resident["peak"])
            if streamed["peak"] < resident["peak"]:
                self.expect(case, memory_limit=f"{(streamed['peak'] + resident['peak']) // 2}B")
            self.expect(case, residency="resident", precision="fp32")
            self.expect(case, residency="resident", vae_precision="bf16")

    def test_every_task_and_residency(self):
        self.check(SMALL)

    def test_models_of_full_size(self):
        self.check(full_size())


if __name__ == "__main__":
    main(*command(SMALL[0], "--plan"))
