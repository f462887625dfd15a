"""LoRAs merged into weights: every dialect of keys gives, to the byte, the video of a checkpoint that Python has merged; every key is counted."""

import json
import math
import random
import shutil
import struct
import unittest
from array import array

from layouts_support import read_tensors, write_tensors
from support import BAD_FILE, CHECKPOINT, INVALID_ARGUMENT, SOURCE, UNSUPPORTED, WanTest, bf16_floats, generate_arguments, psnr, read_png

FOLDERS = {"high": "high_noise_model", "low": "low_noise_model"}
QUERY, FEED, HEAD = "blocks.0.self_attn.q", "blocks.1.ffn.0", "head.head"
RANK, ALPHA = 2, 1.0


def floats(tensor):
    dtype, shape, data = tensor
    if dtype == "F32":
        values = array("f")
        values.frombytes(data)
        return list(values)
    if dtype == "BF16":
        return bf16_floats(data)
    assert dtype == "F16"
    return list(struct.unpack(f"<{len(data) // 2}e", data))


def f32(values, shape):
    return "F32", list(shape), array("f", values).tobytes()


def dyadic(count, seed):
    """Numbers whose products and sums are exact."""
    generator = random.Random(seed)
    return [generator.choice([-1.0, -0.5, 0.5, 1.0]) / 8 for _ in range(count)]


def product(a, b, rows, inner, columns):
    return [sum(a[r * inner + k] * b[k * columns + c] for k in range(inner)) for r in range(rows) for c in range(columns)]


class Lora(WanTest):
    @classmethod
    def setUpClass(cls):
        cls.weights = {noise: read_tensors(next((CHECKPOINT / folder).glob("*.safetensors")))
                       for noise, folder in FOLDERS.items()}
        cls.factors = {}
        for seed, module in enumerate((QUERY, FEED)):
            rows, columns = cls.weights["high"][module + ".weight"][1]
            cls.factors[module] = (f32(dyadic(rows * RANK, seed), [rows, RANK]), f32(dyadic(RANK * columns, 9 + seed), [RANK, columns]))

    def delta(self, module, factor):
        up, down = self.factors[module]
        return [factor * value for value in product(floats(up), floats(down), up[1][0], RANK, down[1][1])]

    def merged(self, deltas, experts=("high", "low"), name="merged"):
        """A copy of the checkpoint in F32 with {tensor: what is added}."""
        folder = self.copy_checkpoint(name)
        for noise in FOLDERS:
            tensors = {key: f32(floats(tensor), tensor[1]) for key, tensor in self.weights[noise].items()}
            for key, delta in deltas.items() if noise in experts else ():
                tensors[key] = f32([a + b for a, b in zip(floats(tensors[key]), delta)], tensors[key][1])
            write_tensors(next((folder / FOLDERS[noise]).glob("*.safetensors")), tensors)
        return folder

    def frame(self, *flags, checkpoint=CHECKPOINT):
        result = self.generate(*flags, checkpoint=checkpoint, save_file="still.png", frame_num="1", sample_steps="2")
        return read_png(self.folder / "still.png")[2], result.err + result.out

    def write(self, name, tensors, metadata=None):
        write_tensors(self.folder / name, tensors, metadata)
        return self.folder / name

    def pairs(self, spell, down, up, alpha=None):
        tensors = {}
        for module, (a, b) in self.factors.items():
            tensors[spell(module) + down] = b
            tensors[spell(module) + up] = a
            if alpha is not None:
                tensors[spell(module) + ".alpha"] = f32([alpha], [])
        return tensors

    def test_every_dialect(self):
        factor = ALPHA / RANK
        expected, _ = self.frame(checkpoint=self.merged({m + ".weight": self.delta(m, factor) for m in self.factors}))
        plain, _ = self.frame()
        self.assertNotEqual(expected, plain)
        diffusers = {QUERY: "blocks.0.attn1.to_q", FEED: "blocks.1.ffn.net.0.proj"}
        same = lambda module: module
        dialects = {
            "kohya": self.pairs(lambda m: "lora_unet_" + m.replace(".", "_"), ".lora_down.weight", ".lora_up.weight", ALPHA),
            "kohya with dots": self.pairs(lambda m: "lora_unet_" + m, ".lora_down.weight", ".lora_up.weight", ALPHA),
            "Fun": self.pairs(lambda m: "lora_unet__" + m.replace(".", "_"), ".lora_down.weight", ".lora_up.weight", ALPHA),
            "ComfyUI": self.pairs(lambda m: "diffusion_model." + m, ".lora_A.weight", ".lora_B.weight", ALPHA),
            "bare": self.pairs(same, ".lora_A.default.weight", ".lora_B.default.weight", ALPHA),
            "peft": self.pairs(lambda m: "base_model.model." + m, ".lora_A", ".lora_B", ALPHA),
            "diffusers": self.pairs(lambda m: "transformer." + diffusers[m], ".lora.down.weight", ".lora.up.weight", ALPHA),
            "diffusers, older": self.pairs(lambda m: "unet." + diffusers[m], ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", ALPHA),
            "diffusers, oldest": self.pairs(lambda m: diffusers[m], "_lora.down.weight", "_lora.up.weight", ALPHA),
            "merged checkpoints'": self.pairs(lambda m: "model.diffusion_model." + m, ".lora_A.weight", ".lora_B.weight", ALPHA),
            "diffusers with _": self.pairs(lambda m: "lora_transformer_" + diffusers[m].replace(".", "_"), ".lora_down.weight",
                                           ".lora_up.weight", ALPHA)}
        for name, tensors in dialects.items():
            with self.subTest(name):
                frame, told = self.frame("--lora", self.write("a.safetensors", tensors))
                self.assertEqual(frame, expected)
                self.assertIn("'a.safetensors': 2 modules of the high-noise expert", told)
        with self.subTest("alpha of the metadata"):
            for text in ({"lora_alpha": ALPHA, "r": RANK}, {"transformer.lora_alpha": ALPHA, "transformer.r": RANK}):
                file = self.write("a.safetensors", self.pairs(same, ".lora_A.weight", ".lora_B.weight"),
                                  {"lora_adapter_metadata": json.dumps(text)})
                self.assertEqual(self.frame("--lora", file)[0], expected)
        with self.subTest("alpha of adapter_config.json, over the rank or its root"):
            file = self.write("a.safetensors", self.pairs(same, ".lora_A.weight", ".lora_B.weight"))
            for text in ({"lora_alpha": ALPHA}, {"lora_alpha": factor * RANK ** 0.5, "use_rslora": True}):
                (self.folder / "adapter_config.json").write_text(json.dumps(text))
                self.assertEqual(self.frame("--lora", file)[0], expected)
            (self.folder / "adapter_config.json").unlink()
        with self.subTest("without alpha, by strength"):
            file = self.write("a.safetensors", self.pairs(same, ".lora_A.weight", ".lora_B.weight"))
            self.assertEqual(self.frame("--lora", f"{file}:{factor}")[0], expected)
            self.assertEqual(self.frame("--lora", f"{file}:0.25", "--lora", f"{file}:0.25")[0], expected)
            self.assertEqual(self.frame("--lora", f"{file}:{factor}", "--residency", "streamed")[0], expected)

    def test_divided_blocks(self):
        """Ranks load runs of a block's bytes, which begin in the middle of a weight: so every matrix is changed."""
        names = [name for name, (_, shape, _) in self.weights["high"].items() if name.startswith("blocks.") and len(shape) == 2]
        deltas = {name: dyadic(len(floats(self.weights["high"][name])), number) for number, name in enumerate(names)}
        flags = ("--ulysses_size", "2")
        expected, _ = self.frame(*flags, checkpoint=self.merged(deltas))
        file = self.write("a.safetensors", {f"diffusion_model.{name.removesuffix('.weight')}.diff": f32(deltas[name], self.weights["high"][name][1])
                                            for name in names})
        self.assertEqual(self.frame("--lora", file, *flags, "--dit_fsdp")[0], expected)
        self.assertEqual(self.frame("--lora", file, *flags, "--residency", "streamed")[0], expected)

    def test_one_expert(self):
        deltas = {m + ".weight": self.delta(m, 1) for m in self.factors}
        frames = {noise: self.frame(checkpoint=self.merged(deltas, (noise,), noise))[0] for noise in FOLDERS}
        tensors = self.pairs(lambda m: m, ".lora_A.weight", ".lora_B.weight")
        file = self.write("a.safetensors", tensors)
        for noise in FOLDERS:
            self.assertEqual(self.frame("--lora", f"{file}@{noise}")[0], frames[noise])
            named = self.write(f"style_{noise}_noise.safetensors", tensors)
            self.assertEqual(self.frame("--lora", named)[0], frames[noise])
        both = self.write("pair.safetensors", {"transformer_2." + key: tensor for key, tensor in tensors.items()})
        self.assertEqual(self.frame("--lora", both)[0], frames["low"])

    def test_whole_differences(self):
        weights = self.weights["high"]
        count = lambda name: len(floats(weights[name]))
        names = {"blocks.0.modulation": "diffusion_model.blocks.0.diff_m", "blocks.0.norm3.weight": "diffusion_model.blocks.0.norm3.diff",
                 "blocks.0.norm3.bias": "diffusion_model.blocks.0.norm3.diff_b", QUERY + ".bias": f"diffusion_model.{QUERY}.diff_b",
                 "head.head.weight": "diffusion_model.head.head.diff", "head.modulation": "diffusion_model.head.diff_m",
                 "patch_embedding.weight": "diffusion_model.patch_embedding.diff",
                 "blocks.1.cross_attn.norm_q.weight": "diffusion_model.blocks.1.cross_attn.norm_q.diff"}
        deltas = {name: dyadic(count(name), number) for number, name in enumerate(names)}
        expected, _ = self.frame(checkpoint=self.merged(deltas))
        file = self.write("a.safetensors", {key: f32(deltas[name], weights[name][1]) for name, key in names.items()})
        self.assertEqual(self.frame("--lora", file)[0], expected)
        whole = {f"diffusion_model.{name.removesuffix('.weight')}.set_weight": f32(
            [a + b for a, b in zip(floats(weights[name]), deltas[name])], weights[name][1]) for name in names if name.endswith(".weight")}
        rest = {key: f32(deltas[name], weights[name][1]) for name, key in names.items() if not name.endswith(".weight")}
        self.assertEqual(self.frame("--lora", str(self.write("b.safetensors", {**whole, **rest})) + "@high")[0],
                         self.frame("--lora", f"{file}@high")[0])

    def test_other_kinds(self):
        rows, columns = self.weights["high"][QUERY + ".weight"][1]
        size = [dyadic(rows * RANK, 1), dyadic(RANK * columns, 2), dyadic(rows * RANK, 3), dyadic(RANK * columns, 4)]
        first, second = (product(size[i], size[i + 1], rows, RANK, columns) for i in (0, 2))
        with self.subTest("LoHa"):
            tensors = {f"lycoris_{QUERY.replace('.', '_')}.hada_w{i // 2 + 1}_{'ab'[i % 2]}":
                       f32(size[i], [rows, RANK] if i % 2 == 0 else [RANK, columns]) for i in range(4)}
            expected, _ = self.frame(checkpoint=self.merged({QUERY + ".weight": [a * b for a, b in zip(first, second)]}, name="loha"))
            self.assertEqual(self.frame("--lora", self.write("a.safetensors", tensors))[0], expected)
        with self.subTest("LoKr"):
            outer, inner = dyadic(4, 5), dyadic(rows // 2 * (columns // 2), 6)
            kron = [outer[r // (rows // 2) * 2 + c // (columns // 2)] * inner[r % (rows // 2) * (columns // 2) + c % (columns // 2)]
                    for r in range(rows) for c in range(columns)]
            tensors = {f"diffusion_model.{QUERY}.lokr_w1": f32(outer, [2, 2]),
                       f"diffusion_model.{QUERY}.lokr_w2": f32(inner, [rows // 2, columns // 2]),
                       f"diffusion_model.{QUERY}.alpha": f32([7.0], [])}
            expected, _ = self.frame(checkpoint=self.merged({QUERY + ".weight": kron}, name="lokr"))
            self.assertEqual(self.frame("--lora", self.write("a.safetensors", tensors))[0], expected)
        with self.subTest("DoRA"):  # the magnitude that the weight has anyhow, with a LoRA of zeros: nothing changes but by rounding
            weight = floats(self.weights["high"][QUERY + ".weight"])
            up, down = self.factors[QUERY]
            doubled = [2 * sum(w * w for w in weight[r * columns : (r + 1) * columns]) ** 0.5 for r in range(rows)]
            tensors = {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": f32([0.0] * rows * RANK, [rows, RANK]),
                       f"{QUERY}.dora_scale": f32(doubled, [rows, 1])}
            expected, _ = self.frame(checkpoint=self.merged({QUERY + ".weight": weight}, ("high",), name="dora"))
            frame, _ = self.frame("--lora", str(self.write("a.safetensors", tensors)) + "@high")
            self.assertLessEqual(max(abs(a - b) for a, b in zip(frame, expected)), 1)
            self.assertNotEqual(frame, self.frame()[0])
            sizes = [2 * sum(w * w for w in weight[c::columns]) ** 0.5 for c in range(columns)]  # of a square weight's columns
            tensors[f"{QUERY}.dora_scale"] = f32(sizes, [1, columns])
            frame, _ = self.frame("--lora", str(self.write("a.safetensors", tensors)) + "@high")
            self.assertLessEqual(max(abs(a - b) for a, b in zip(frame, expected)), 1)

    def test_cores(self):
        """LyCORIS' Tucker decomposition: between a low rank's two matrices stands a core, which has a convolution's kernel."""
        modules = {QUERY: ([2, 2], []), "blocks.1.ffn.0": ([2, 2], [1, 1, 1]), "patch_embedding": ([2, 1], [1, 2, 2])}
        shapes = {m: self.weights["high"][m + ".weight"][1] for m in modules}
        self.assertEqual(shapes["patch_embedding"][2:], [1, 2, 2])

        def core(up, t, down, rows, ranks, columns, kernel):
            """up [rows, ranks[0]], t [ranks, kernel], down [ranks[1], columns] -> [rows, columns, kernel]"""
            return [sum(up[r * ranks[0] + i] * t[(i * ranks[1] + j) * kernel + k] * down[j * columns + c]
                        for i in range(ranks[0]) for j in range(ranks[1]))
                    for r in range(rows) for c in range(columns) for k in range(kernel)]

        def turned(values, rows, columns):
            return [values[r * columns + c] for c in range(columns) for r in range(rows)]

        tensors, deltas = {kind: {} for kind in ("LoCon", "LoHa", "LoKr")}, {kind: {} for kind in ("LoCon", "LoHa", "LoKr")}
        for seed, (module, ((outer, across), kernel)) in enumerate(modules.items()):
            rows, columns = shapes[module][:2]
            size, weight, name = math.prod(kernel), module + ".weight", "lora_unet_" + module.replace(".", "_")
            up, t, down = dyadic(rows * 3, seed), dyadic(6 * size, 10 + seed), dyadic(2 * columns, 20 + seed)
            made = core(up, t, down, rows, (3, 2), columns, size)
            tensors["LoCon"].update({f"{name}.lora_up.weight": f32(up, [rows, 3] + [1] * len(kernel)),
                                     f"{name}.lora_mid.weight": f32(t, [3, 2] + kernel), f"{name}.alpha": f32([1.0], []),
                                     f"{name}.lora_down.weight": f32(down, [2, columns] + [1] * len(kernel))})
            deltas["LoCon"][weight] = [value / 2 for value in made]
            other = [dyadic(rows * 2, 30 + seed), dyadic(4 * size, 40 + seed), dyadic(2 * columns, 50 + seed)]
            tensors["LoHa"].update({f"{name}.hada_w1_a": f32(turned(up, rows, 3), [3, rows]), f"{name}.hada_w1_b": f32(down, [2, columns]),
                                    f"{name}.hada_t1": f32(t, [3, 2] + kernel), f"{name}.hada_t2": f32(other[1], [2, 2] + kernel),
                                    f"{name}.hada_w2_a": f32(turned(other[0], rows, 2), [2, rows]),
                                    f"{name}.hada_w2_b": f32(other[2], [2, columns])})
            deltas["LoHa"][weight] = [16 * a * b for a, b in zip(made, core(*other, rows, (2, 2), columns, size))]
            first, height, width = dyadic(outer * across, 60 + seed), rows // outer, columns // across
            inner = core(up, t, down, height, (3, 2), width, size)
            tensors["LoKr"].update({f"{name}.lokr_w1": f32(first, [outer, across]), f"{name}.lokr_t2": f32(t, [3, 2] + kernel),
                                    f"{name}.lokr_w2_a": f32(turned(up[: height * 3], height, 3), [3, height]),
                                    f"{name}.lokr_w2_b": f32([down[j * width + c] for j in range(2) for c in range(width)], [2, width]),
                                    f"{name}.alpha": f32([8.0], [])})
            deltas["LoKr"][weight] = [4 * first[r // height * across + c // width] * inner[(r % height * width + c % width) * size + k]
                                      for r in range(rows) for c in range(columns) for k in range(size)]
        plain, _ = self.frame()
        for kind, of_kind in tensors.items():
            with self.subTest(kind):
                expected, _ = self.frame(checkpoint=self.merged(deltas[kind], name=kind))
                self.assertNotEqual(expected, plain)
                file = self.write("a.safetensors", of_kind)
                strength = ":16" if kind == "LoHa" else ""
                frame, told = self.frame("--lora", f"{file}{strength}")
                self.assertEqual(frame, expected)
                self.assertIn("3 modules of the high-noise expert", told)
                self.assertEqual(self.frame("--lora", f"{file}{strength}", "--residency", "streamed")[0], expected)
        name = f"lora_unet_{QUERY.replace('.', '_')}"
        for kind, left_out, words in (("LoCon", "lora_up.weight", "no other half"), ("LoHa", "hada_t2", "one core and not the other"),
                                      ("LoHa", "hada_w1_a", "no other half"), ("LoKr", "lokr_w2_b", "no other half"), ("LoKr", "lokr_w1", "no other half")):
            file = self.write("a.safetensors", {key: tensor for key, tensor in tensors[kind].items() if key != f"{name}.{left_out}"})
            self.assert_refused(self.run_wan(*generate_arguments(save_file="a.mp4"), "--lora", file), BAD_FILE, QUERY.replace(".", "_"), words)
        wrong = {**tensors["LoCon"], f"{name}.lora_mid.weight": f32([0.0] * 6, [2, 3])}
        self.assert_refused(self.run_wan(*generate_arguments(save_file="a.mp4"), "--lora", self.write("a.safetensors", wrong)), BAD_FILE, "do not fit")

    def test_keys_without_a_place(self):
        tensors = self.pairs(lambda m: "diffusion_model." + m, ".lora_A.weight", ".lora_B.weight")
        image = {"diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight": f32([1.0], [1, 1]),
                 "diffusion_model.img_emb.proj.1.lora_B.weight": f32([1.0], [1, 1])}
        _, told = self.frame("--lora", self.write("a.safetensors", {**tensors, **image}))
        self.assertIn("2 keys are of Wan2.1's cross-attention to images", told)
        unknown = {"diffusion_model.blocks.99.ffn.0.lora_A.weight": f32([1.0], [1, 1]), "who": f32([1.0], [1])}
        file = self.write("b.safetensors", {**tensors, **unknown})
        refuse = lambda file, status, *words: self.assert_refused(
            self.run_wan(*generate_arguments(save_file="a.mp4"), "--lora", file), status, *words)
        refuse(file, BAD_FILE, "2 of its keys are not known", "blocks.99", "--lora_allow_unmatched")
        _, told = self.frame("--lora", file, "--lora_allow_unmatched")
        self.assertIn("2 keys are not known", told)
        refuse(self.write("c.safetensors", image), BAD_FILE, "nothing of it has a place")
        refuse(self.write("d.safetensors", {"lora_te_text_model_encoder.lora_down.weight": f32([1.0], [1, 1])}), UNSUPPORTED,
               "text encoder's LoRA")
        wide = dict(tensors)
        wide[f"diffusion_model.{QUERY}.lora_A.weight"] = f32([0.0] * RANK * 3072, [RANK, 3072])
        refuse(self.write("e.safetensors", wide), BAD_FILE, "3072", "of another model")
        half = {key: tensor for key, tensor in tensors.items() if QUERY not in key or "lora_A" in key}
        refuse(self.write("f.safetensors", half), BAD_FILE, "no other half")
        large = {f"diffusion_model.{QUERY}.lokr_w1_a": f32([0.0] * 60000, [60000, 1]), f"diffusion_model.{QUERY}.lokr_w1_b": f32([0.0] * 60000, [1, 60000]),
                 f"diffusion_model.{QUERY}.lokr_w2": f32([1.0], [1, 1])}
        refuse(self.write("g.safetensors", large), BAD_FILE, "do not fit")  # before 14 GB are asked for
        refuse(CHECKPOINT / "high_noise_model", BAD_FILE, "not known")
        refuse("nowhere.safetensors:2", BAD_FILE, "nowhere.safetensors")
        refuse(":2", INVALID_ARGUMENT, "--lora :2")

    def test_packed_weights(self):
        """Beside weights in few bits a LoRA does what it does to bf16, resident, streamed and divided alike; wan convert merges it."""
        demo = SOURCE / "models/demo"
        rank = 4
        shapes = {name: shape for name, (_, shape, _) in
                  read_tensors(next((demo / "high_noise_model").glob("*.safetensors"))).items()
                  if name.startswith("blocks.") and len(shape) == 2}
        values = lambda count, seed: [0.6 * value for value in dyadic(count, seed)]
        tensors = {}
        for seed, (name, (rows, columns)) in enumerate(sorted(shapes.items())):
            module = "diffusion_model." + name.removesuffix(".weight")
            tensors[module + ".lora_A.weight"] = f32(values(rank * columns, seed), [rank, columns])
            tensors[module + ".lora_B.weight"] = f32(values(rows * rank, 100 + seed), [rows, rank])
        file = self.write("a.safetensors", tensors)
        other = self.write("b.safetensors", {**tensors, "diffusion_model.blocks.0.self_attn.q.diff": f32(
            dyadic(shapes["blocks.0.self_attn.q.weight"][0] ** 2, 3), shapes["blocks.0.self_attn.q.weight"])})

        def frame(checkpoint, *flags):
            result = self.run_wan("generate", "--task", "t2v-A14B", "--ckpt_dir", checkpoint, "--prompt", "a red circle moves right on a blue background",
                                  "--sample_steps", "6", "--frame_num", "1", "--size", "64*64", "--base_seed", "1", "--threads", "1",
                                  "--save_file", self.folder / "still.png", *flags)
            self.assertEqual(result.status, 0, result.err)
            return read_png(self.folder / "still.png")[2]

        merged = frame(demo, "--lora", f"{file}:0.7", "--lora", f"{file}:-0.2@low")
        plain = frame(demo)
        self.assertLess(psnr(merged, plain), 25)
        converted = self.run_wan("convert", "--ckpt_dir", demo, "--format", "q8_0", self.folder / "q8_0")
        self.assertEqual(converted.status, 0, converted.err)
        flags = ("--lora", f"{file}:0.7", "--lora", f"{file}:-0.2@low")
        resident = frame(self.folder / "q8_0", *flags)
        self.assertGreater(psnr(resident, merged), 32)
        self.assertEqual(frame(self.folder / "q8_0", *flags, "--residency", "streamed"), resident)
        two = ("--ulysses_size", "2")
        self.assertEqual(frame(self.folder / "q8_0", *flags, *two, "--dit_fsdp"), frame(self.folder / "q8_0", *flags, *two))
        self.assertEqual(frame(self.folder / "q8_0", "--lora", f"{file}:0"), frame(self.folder / "q8_0"))
        # What is no product of two matrices is merged into the unpacked weight.
        self.assertNotEqual(frame(self.folder / "q8_0", "--lora", other), frame(self.folder / "q8_0", "--lora", file))
        plan = self.run_wan("generate", "--ckpt_dir", self.folder / "q8_0", "--prompt", "a", "--save_file", "a.mp4", "--plan", *flags)
        self.assertRegex(plan.out + plan.err, r"of LoRAs +0\.0\d\d GB; loading blocks takes 0\.\d+ GB")
        for kind in ("bf16", "q8_0"):
            made = self.run_wan("convert", "--ckpt_dir", demo, "--format", kind, *flags, self.folder / f"{kind}_merged")
            self.assertEqual(made.status, 0, made.err)
            self.assertIn("modules of the low-noise expert, at strength -0.2", made.out)
            self.assertGreater(psnr(frame(self.folder / f"{kind}_merged"), merged), 32)
        again = self.run_wan("convert", "--ckpt_dir", demo, "--format", "bf16", "--lora", file, self.folder / "bf16_merged")
        self.assert_refused(again, INVALID_ARGUMENT, "not this conversion's")
        bad = self.write("c.safetensors", {"who": f32([1.0], [1])})
        refused = self.run_wan("convert", "--ckpt_dir", demo, "--format", "bf16", "--lora", bad, self.folder / "nothing")
        self.assert_refused(refused, BAD_FILE, "not known")
        self.assertFalse((self.folder / "nothing").exists())

    def test_a_name_with_a_colon(self):
        tensors = self.pairs(lambda m: m, ".lora_A.weight", ".lora_B.weight")
        shutil.copy(self.write("a.safetensors", tensors), self.folder / "a:b.safetensors")
        self.assertEqual(self.frame("--lora", "a:b.safetensors")[0], self.frame("--lora", "a.safetensors")[0])
        self.assertEqual(read_png(self.folder / "still.png")[3]["lora"], "a.safetensors")


if __name__ == "__main__":
    unittest.main()
