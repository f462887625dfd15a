"""A LoRA beside packed weights makes the latents that the merged weights make, in every other task than text to video.

The checkpoints are golden ones whose transformers are made so wide that their matrices stay packed; what is in them does not matter here.
"""

import json
import math
import random
import shutil
import unittest
from array import array

from layouts_support import read_tensors, write_tensors
from support import UNPACKED, WanTest, generate_arguments, write_png
from test_speech import write_sound

PIPELINE = UNPACKED / "pipeline"
WIDTH, FEED, RANK, STRENGTH = 64, 128, 2, 0.5
MODULES = ["blocks.0.self_attn.q", "blocks.1.ffn.2", "blocks.1.cross_attn.o"]
IMAGE_MODULES = ["blocks.0.cross_attn.k_img"]


def widened(tensors, dim, feed):
    """Each extent that is a multiple or a part of the width in proportion; values are repeated."""
    wider = {dim // 4: WIDTH // 4, dim // 2: WIDTH // 2, dim: WIDTH, 2 * dim: 2 * WIDTH, 6 * dim: 6 * WIDTH}
    made = {}
    for name, (dtype, shape, data) in tensors.items():
        extents = {**wider, feed: FEED} if ".ffn." in name else {} if name.startswith("motion_encoder.") else wider
        # Of a convolution over latents what comes out.
        new = [extents.get(n, n) if len(shape) != 5 or at == 0 else n for at, n in enumerate(shape)]
        size = math.prod(new) * (2 if dtype == "BF16" else 4)
        made[name] = (dtype, new, (data * (size // max(1, len(data)) + 1))[:size])
    return made


def floats(data):
    values = array("f")
    values.frombytes(data)
    return values


class PackedLora(WanTest):
    def make_checkpoint(self, golden):
        folder = self.folder / "wide"
        shutil.copytree(golden, folder)
        for file in folder.rglob("diffusion_pytorch_model.safetensors"):
            config = json.loads(file.with_name("config.json").read_text())
            write_tensors(file, widened(read_tensors(file), config["dim"], config["ffn_dim"]))
            heads = config["num_heads"] if WIDTH % config["num_heads"] == 0 else 4
            file.with_name("config.json").write_text(json.dumps({**config, "dim": WIDTH, "ffn_dim": FEED, "num_heads": heads}))
        packed = self.folder / "packed"
        done = self.run_wan("convert", "--ckpt_dir", folder, "--format", "int8", packed)
        self.assertEqual(done.status, 0, done.err)
        return packed

    def merge(self, packed, factors):
        """A copy in which the LoRA's matrices are unpacked, in F32, and merged."""
        folder = self.folder / "merged"
        shutil.copytree(packed, folder)
        for file in folder.rglob("diffusion_pytorch_model.safetensors"):
            tensors = read_tensors(file)
            for module, (up, down) in factors.items():
                dtype, (rows, columns), codes = tensors[module + ".weight"]
                self.assertEqual(dtype, "I8")
                scales = floats(tensors.pop(module + ".weight_scale")[2])
                codes = array("b", codes)
                values = array("f", (scales[row] * codes[row * columns + column]
                                     + STRENGTH * sum(up[row * RANK + k] * down[k * columns + column] for k in range(RANK))
                                     for row in range(rows) for column in range(columns)))
                tensors[module + ".weight"] = ("F32", [rows, columns], values.tobytes())
            write_tensors(file, tensors)
        return folder

    def latents(self, checkpoint, *flags, **options):
        self.generate(*flags, checkpoint=checkpoint, save_file="%05d.png", save_latents="kept.safetensors", device="cpu", **options)
        tensors = read_tensors(self.folder / "kept.safetensors")
        (self.folder / "kept.safetensors").unlink()
        return [value for name in sorted(tensors) if tensors[name][0] == "F32" for value in floats(tensors[name][2])]

    def off(self, a, b):
        self.assertEqual(len(a), len(b))
        self.assertGreater(len(a), 100)
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b))

    def compare(self, golden, modules=MODULES, **options):
        packed = self.make_checkpoint(golden)
        generator = random.Random(3)
        factors, tensors = {}, {}
        for module in modules:
            rows, columns = (WIDTH, FEED) if module.endswith("ffn.2") else (WIDTH, WIDTH)
            up, down = (array("f", (generator.gauss(0, 0.3) for _ in range(count))) for count in (rows * RANK, RANK * columns))
            factors[module] = up, down
            tensors[f"{module}.lora_B.weight"] = ("F32", [rows, RANK], up.tobytes())
            tensors[f"{module}.lora_A.weight"] = ("F32", [RANK, columns], down.tobytes())
        write_tensors(self.folder / "lora.safetensors", tensors)
        lora = ("--lora", f"lora.safetensors:{STRENGTH}")
        plan = self.run_wan(*generate_arguments(checkpoint=packed, save_file="a.mp4", device="cpu", json=True, plan=True, **options), *lora)
        self.assertGreater(next(event["loras"] for event in plan.events if event["event"] == "plan"), 0, "it is merged")
        beside = self.latents(packed, *lora, **options)
        merged = self.latents(self.merge(packed, factors), **options)
        self.assertLess(self.off(beside, merged), 1e-3)
        self.assertGreater(self.off(beside, self.latents(packed, **options)), 1e-2)

    def test_i2v(self):
        self.compare(PIPELINE / "checkpoint_i2v", task="i2v-A14B", image=PIPELINE / "portrait.png", size="32*32", sample_steps="2")

    def test_ti2v(self):
        self.compare(PIPELINE / "checkpoint_ti2v", task="ti2v-5B", image=PIPELINE / "landscape.png", size="64*64", sample_steps="2")

    def test_s2v(self):
        write_sound(self.folder / "sound.wav", 0.4)
        write_png(self.folder / "face.png", 70, 64, lambda x, y: (3 * x, 4 * y, 255 - 2 * x))
        self.compare(UNPACKED / "speech/checkpoint", task="s2v-14B", image="face.png", audio="sound.wav", size="64*64", frame_num=None,
                     infer_frames="8", sample_steps="2")

    def test_animate(self):
        self.compare(UNPACKED / "animate/checkpoint", MODULES + IMAGE_MODULES, task="animate-14B", src_root_path=UNPACKED / "animate/moves",
                     size=None, prompt=None, frame_num="9", sample_steps="1")


if __name__ == "__main__":
    unittest.main()
