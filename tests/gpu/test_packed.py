"""A LoRA beside packed weights on a GPU: the same latents from blocks that stay, are streamed or are divided among GPUs, and close to those of merged weights.

    WAN_BINARY=build-cuda/apps/cli/wan python3 -B tests/gpu/test_packed.py

The standard library alone. Skipped where no GPU can be used; with WAN_REQUIRE_GPU set, that fails. Where there are two GPUs, blocks are divided
among two. The demo checkpoint is converted into each format that `wan convert` writes; WAN_PACKED_CHECKPOINTS names folders of t2v-A14B in others,
with commas between, which may have a text encoder beside their parts as bench/random_checkpoint.py writes it. To try the test itself without a
GPU: WAN_TEST_DEVICE=cpu.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import unittest
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from gpu_support import main, text_encoder_beside  # noqa: E402
from layouts_support import read_tensors, write_tensors  # noqa: E402
from support import SOURCE, UNSUPPORTED, run  # noqa: E402

DEVICE = os.environ.get("WAN_TEST_DEVICE", "cuda")
DEMO = SOURCE / "models/demo"
FORMATS = ("fp8", "int8", "q8_0", "q4_0")
RANK = 4
MATRICES = [f"{part}_attn.{name}" for part in ("self", "cross") for name in "qkvo"] + ["ffn.0", "ffn.2"]
CLOSE = 4e-2  # of the latents' root mean square, as in ranks_test.cpp for bf16
# Two ranks: GPUs, or halves of the CPU's threads.
TWO = {"ulysses_size": 2, **({"threads": 2} if DEVICE == "cpu" else {"gpus": 2})}


def other_checkpoints():
    return [Path(folder) for folder in os.environ.get("WAN_PACKED_CHECKPOINTS", "").split(",") if folder]


def command(checkpoint, *flags, **options):
    options = {"task": "t2v-A14B", "ckpt_dir": checkpoint, "size": "128*112", "frame_num": 9, "sample_steps": 2, "base_seed": 1,
               "prompt": "a red circle moves right on a blue background", "device": DEVICE, "precision": "bf16", "save_file": "%05d.png",
               **text_encoder_beside(checkpoint), **options}
    return ["generate", *(text for name, value in options.items() for text in ("--" + name, str(value))), *flags]


def floats(data):
    values = array("f")
    values.frombytes(data)
    return values


def off(a, b):
    a, b = floats(a), floats(b)
    return (sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b)) ** 0.5


class PackedLora(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="wan-packed-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def wan(self, *arguments):
        result = run(*arguments, cwd=self.folder)
        self.assertEqual(result.status, 0, result.err)
        return result

    def write_lora(self, checkpoint):
        """On every matrix of the blocks, as large as what it is added to is rough."""
        config = json.loads((checkpoint / "high_noise_model/config.json").read_text())
        dim, feed = config["dim"], config["ffn_dim"]
        generator = random.Random(3)
        tensors = {}
        for layer in range(config["num_layers"]):
            for name in MATRICES:
                rows, columns = {"ffn.0": (feed, dim), "ffn.2": (dim, feed)}.get(name, (dim, dim))
                for side, shape in (("B", (rows, RANK)), ("A", (RANK, columns))):
                    values = array("f", (generator.gauss(0, 0.1) for _ in range(shape[0] * shape[1])))
                    tensors[f"blocks.{layer}.{name}.lora_{side}.weight"] = ("F32", shape, values.tobytes())
        write_tensors(self.folder / "lora.safetensors", tensors)

    def latents(self, checkpoint, *flags, **options):
        self.wan(*command(checkpoint, *flags, save_latents="kept.safetensors", **options))
        (dtype, _, data), = (tensor for name, tensor in read_tensors(self.folder / "kept.safetensors").items())
        (self.folder / "kept.safetensors").unlink()
        self.assertEqual(dtype, "F32")
        return data

    def plan(self, checkpoint, *flags, **options):
        return self.wan(*command(checkpoint, *flags, "--plan", "--json", **options)).events[0]

    def check(self, title, checkpoint):
        self.write_lora(checkpoint)
        lora = ("--lora", "lora.safetensors:0.5")
        plans = {kind: self.plan(checkpoint, *lora, residency=kind) for kind in ("resident", "streamed")}
        self.assertGreater(plans["resident"]["loras"], 0, "it is merged")
        resident = self.latents(checkpoint, *lora, residency="resident")
        effect = off(self.latents(checkpoint, residency="resident"), resident)
        self.assertGreater(effect, 3 * CLOSE)
        self.assertEqual(resident, self.latents(checkpoint, *lora, residency="streamed"), "streamed")
        between = (plans["resident"]["peak"] + plans["streamed"]["peak"]) // 2
        self.assertEqual(resident, self.latents(checkpoint, *lora, memory_limit=f"{between}B"), "some of the blocks have a place")
        merged = off(self.latents(self.merge(checkpoint, lora), **text_encoder_beside(checkpoint)), resident)
        self.assertLess(merged, CLOSE)
        line = f"{title}: the LoRA changes latents by {effect:.3f}, streamed is resident, merged is {merged:.1e} off"
        if run(*command(checkpoint, "--plan", **TWO)).status != UNSUPPORTED:
            whole = self.latents(checkpoint, *lora, residency="resident", **TWO)
            self.assertEqual(whole, self.latents(checkpoint, *lora, "--dit_fsdp", **TWO), "divided")
            self.assertEqual(whole, self.latents(checkpoint, *lora, residency="streamed", **TWO), "streamed on two")
            apart = off(whole, resident)
            self.assertLess(apart, CLOSE)
            line += f", divided is whole on two, which are {apart:.1e} off one"
        print(line, flush=True)

    def merge(self, checkpoint, lora):
        folder = self.folder / "merged"
        shutil.rmtree(folder, ignore_errors=True)
        parts = [text for name, path in text_encoder_beside(checkpoint).items() for text in ("--" + name, path)]
        self.wan("convert", "--ckpt_dir", checkpoint, *parts, "--format", "bf16", *lora, folder)
        return folder

    def test_the_demo_in_every_format(self):
        for name in FORMATS:
            packed = self.folder / name
            self.wan("convert", "--ckpt_dir", DEMO, "--format", name, packed)
            with self.subTest(name):
                self.check(name, packed)

    def test_others(self):
        for folder in other_checkpoints():
            with self.subTest(folder.name):
                self.check(folder.name, folder)


if __name__ == "__main__":
    main(*command(DEMO, "--plan"))
