"""The demo with its transformers in eight bits: as small in memory as in the file, and the video is close to bf16's."""

import bisect
import json
import math
import os
import random
import shutil
import struct
import unittest
from array import array

from gguf_support import (BF16_TENSOR, F32_TENSOR, Q2_K_TENSOR, Q3_K_TENSOR, Q8_0_TENSOR, q2_k_values, q3_k_values, q8_0,
                          rounded, write_gguf)
from layouts_support import make_comfyui
from support import BAD_FILE, INVALID_ARGUMENT, SOURCE, UNPACKED, UNSUPPORTED, WanTest, bf16_floats, psnr, read_png

DEMO = SOURCE / "models/demo"
EXPERTS = ("high_noise_model", "low_noise_model")
LEAST_PSNR = 40.0  # dB, from the video in bf16: five frames after six steps


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"],
                   data[8 + length + entry["data_offsets"][0] : 8 + length + entry["data_offsets"][1]])
            for name, entry in header.items()}


def write_safetensors(path, tensors):
    header, end = {}, 0
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(values)]}
        end += len(values)
    text = json.dumps(header).encode()
    path.write_bytes(b"".join([struct.pack("<Q", len(text)), text, *(values for _, _, values in tensors.values())]))


def bf16_rows(shape, values):
    """Rows of floats."""
    floats = bf16_floats(values)
    width = shape[1]
    return [floats[row * width : (row + 1) * width] for row in range(shape[0])]


def is_matrix(name, shape):
    return name.startswith("blocks.") and name.endswith(".weight") and len(shape) == 2


def as_int8(tensors):
    """Matrices of the blocks in int8 with a scale a row, as LightX2V writes them."""
    made = {}
    for name, (dtype, shape, values) in tensors.items():
        if not is_matrix(name, shape):
            made[name] = (dtype, shape, values)
            continue
        assert dtype == "BF16"
        codes, scales = [], array("f")
        for row in bf16_rows(shape, values):
            scale = max(1e-12, max(row), -min(row)) / 127
            scales.append(scale)
            codes.append(rounded(row, scale))
        made[name] = ("I8", shape, b"".join(codes))
        made[name.removesuffix("weight") + "weight_scale"] = ("F32", [shape[0], 1], scales.tobytes())
    return made


E4M3 = [(code & 7 | (8 if code > 7 else 0)) * 2.0 ** (max(code >> 3, 1) - 10) for code in range(127)]  # of the codes that are no NaN


def size_of_bf16(half):
    return struct.unpack("<f", struct.pack("<I", half << 16))[0]


def as_fp8(tensors, prefix):
    """Matrices under `prefix` in fp8 with a scale a tensor, the marker of no elements beside them."""
    made = {"scaled_fp8": ("F8_E4M3", [0], b"")}
    for name, (dtype, shape, values) in tensors.items():
        if not name.startswith(prefix) or not name.endswith(".weight") or len(shape) != 2 or "bias" in name:
            made[name] = (dtype, shape, values)
            continue
        halves = array("H", values)
        sizes = {half & 0x7FFF for half in set(halves)}  # a thousand, in bf16
        scale = size_of_bf16(max(sizes)) / E4M3[-1]
        codes = {}
        for half in sizes:
            size = size_of_bf16(half) / scale
            above = min(bisect.bisect(E4M3, size), 126)
            codes[half] = above - (size - E4M3[above - 1] <= E4M3[above] - size)  # the nearer one
            codes[half | 0x8000] = codes[half] | 128
        made[name] = ("F8_E4M3", shape, bytes(map(codes.__getitem__, halves)))
        made[name.removesuffix("weight") + "scale_weight"] = ("F32", [], struct.pack("<f", scale))
    return made


def some_codes(shape):
    count = shape[0] * shape[1]
    return (bytes(17 * at % 96 for at in range(96)) * (count // 96 + 1))[:count]


def write_q8_0(path, tensors):
    """A GGUF file: matrices of the blocks in Q8_0, all else as it is."""
    kinds = {"BF16": BF16_TENSOR, "F32": F32_TENSOR}
    made = {}
    for name, (dtype, shape, values) in tensors.items():
        if is_matrix(name, shape):
            made[name] = (Q8_0_TENSOR, shape, b"".join(map(q8_0, bf16_rows(shape, values))))
        else:
            made[name] = (kinds[dtype], shape, values)
    write_gguf(path, {"general.architecture": "wan"}, made)


class Formats(WanTest):
    made = []  # the video in bf16

    def reference(self):
        if not self.made:
            self.made.append(self.frames(DEMO, "reference"))
        return self.made[0]

    def checkpoint(self, name):
        """A copy of the demo without its transformers' files."""
        folder = self.folder / name
        folder.mkdir()
        for part in DEMO.iterdir():
            if part.name not in EXPERTS:
                os.symlink(part, folder / part.name)
        for expert in EXPERTS:
            (folder / expert).mkdir()
            shutil.copy(DEMO / expert / "config.json", folder / expert)
        return folder

    def convert(self, checkpoint, kind, target):
        made = self.run_wan("convert", "--ckpt_dir", checkpoint, "--format", kind, target)
        self.assertEqual(made.status, 0, made.err)

    def frames(self, checkpoint, name, *options):
        folder = self.folder / name
        folder.mkdir()
        result = self.run_wan("generate", "--task", "t2v-A14B", "--ckpt_dir", checkpoint, "--prompt",
                              "a red circle moves right on a blue background", "--sample_steps", "6", "--frame_num", "5", "--base_seed",
                              "1", "--threads", "1", "--save_file", folder / "%05d.png", *options)
        self.assertEqual(result.status, 0, result.err)
        return b"".join(read_png(path)[2] for path in sorted(folder.iterdir()))

    def notices(self, checkpoint):
        """Of a still of one step."""
        made = self.run_wan("generate", "--task", "t2v-A14B", "--ckpt_dir", checkpoint, "--prompt", "x", "--sample_steps", "1", "--frame_num", "1",
                            "--size", "64*64", "--save_file", "a.png", "--json")
        self.assertEqual(made.status, 0, made.err)
        return [event["message"] for event in made.events if event["event"] == "notice"]

    def test_int8_and_q8_0(self):
        """One expert in each of the formats: a file says itself how its weights are stored."""
        high, low = (read_safetensors(next((DEMO / expert).glob("*.safetensors"))) for expert in EXPERTS)
        checkpoint = self.checkpoint("packed")
        write_safetensors(checkpoint / EXPERTS[0] / "x.safetensors", as_int8(high))
        write_q8_0(checkpoint / EXPERTS[1] / "x.gguf", low)
        reference = self.reference()
        resident = self.frames(checkpoint, "resident")
        self.assertGreater(psnr(resident, reference), LEAST_PSNR)
        self.assertNotEqual(resident, reference)
        self.assertEqual(resident, self.frames(checkpoint, "streamed", "--residency", "streamed"))

    def test_convert(self):
        """What wan convert writes is read again, and is as near to the demo as its bits allow."""
        reference = self.reference()
        for kind, least, most_bytes in (("fp8", 30, 0.6), ("q4_0", 15, 0.4)):
            with self.subTest(kind):
                target = self.folder / kind
                result = self.run_wan("convert", "--ckpt_dir", DEMO, "--format", kind, "--json", target)
                self.assertEqual(result.status, 0, result.err)
                table = json.loads(result.out)["tensors"]
                errors = [tensor["error"] for tensor in table if is_matrix(tensor["name"], [1, 1])
                          and "norm" not in tensor["name"]]
                self.assertEqual(len(errors), 2 * 6 * 10)
                self.assertLess(max(errors), 0.04 if kind == "fp8" else 0.15)
                self.assertGreater(min(errors), 1e-3)
                blocks = sum(tensor["bytes"] for tensor in table if tensor["name"].startswith("blocks."))
                self.assertLess(blocks, most_bytes * sum(
                    len(values) for expert in EXPERTS
                    for name, (_, _, values) in read_safetensors(next((DEMO / expert).glob("*.safetensors"))).items()
                    if name.startswith("blocks.")))
                packed = self.frames(target, kind + "_frames")
                self.assertGreater(psnr(packed, reference), least)
        # An interrupted one goes on: what is whole stays, another conversion's file does too.
        whole = (target / "low_noise_model/diffusion_pytorch_model.gguf").stat().st_mtime_ns
        (target / "high_noise_model/diffusion_pytorch_model.gguf").unlink()
        (target / "Wan2.1_VAE.pth").unlink()
        again = self.run_wan("convert", "--ckpt_dir", DEMO, "--format", "q4_0", target)
        self.assertEqual(again.status, 0, again.err)
        self.assertIn("is there already", again.out)
        self.assertEqual((target / "low_noise_model/diffusion_pytorch_model.gguf").stat().st_mtime_ns, whole)
        self.assertTrue((target / "Wan2.1_VAE.pth").exists())
        other = self.run_wan("convert", "--ckpt_dir", DEMO, "--format", "q8_0", target)
        self.assert_refused(other, INVALID_ARGUMENT, "not this conversion's")
        other = self.run_wan("convert", "--ckpt_dir", DEMO, "--format", "fp8", target)  # safetensors, beside which no GGUF would be read
        self.assert_refused(other, INVALID_ARGUMENT, "diffusion_pytorch_model.gguf", "not this conversion's")
        # Nor is one expert written where the other one's place is taken.
        for missing, taken in (EXPERTS, EXPERTS[::-1]):
            (target / missing).rename(self.folder / missing)
            other = self.run_wan("convert", "--ckpt_dir", DEMO, "--format", "q8_0", target)
            self.assert_refused(other, INVALID_ARGUMENT, taken, "not this conversion's")
            self.assertFalse((target / missing).exists())
            (self.folder / missing).rename(target / missing)
        back = self.run_wan("convert", "--ckpt_dir", target, "--format", "bf16", self.folder / "back")
        self.assertEqual(back.status, 0, back.err)
        self.assertGreater(psnr(self.frames(self.folder / "back", "back_frames"), packed), LEAST_PSNR)
        inspected = self.run_wan("inspect", target)
        self.assertEqual(inspected.status, 0, inspected.err)
        self.assertIn("q4_0", inspected.out)

    def test_a_weight_that_is_not_finite_is_not_converted(self):
        checkpoint = self.checkpoint("broken")
        for expert in EXPERTS:
            tensors = read_safetensors(next((DEMO / expert).glob("*.safetensors")))
            name = "blocks.0.ffn.0.weight"
            dtype, shape, values = tensors[name]
            tensors[name] = (dtype, shape, values[:-2] + struct.pack("<H", 0x7FC0))
            write_safetensors(checkpoint / expert / "x.safetensors", tensors)
        for kind in ("int8", "q8_0"):
            result = self.run_wan("convert", "--ckpt_dir", checkpoint, "--format", kind, self.folder / kind)
            self.assertEqual(result.status, BAD_FILE, result.err)
            self.assertRegex(result.err, "blocks.0.ffn.0.weight.*not finite")
            self.assertEqual(list((self.folder / kind).rglob("diffusion_pytorch_model.*")), [])

    def test_what_cannot_be_converted_is_told(self):
        for name, kind, status, words in (("blocks.0.norm3.weight", "int8", BAD_FILE, "norm3.weight.*not finite"),
                                                  ("blocks.0.ffn.0.weight", "q8_0", UNSUPPORTED, "ffn.0.weight.*too large for the scales of q8_0"),
                                                  ("blocks.0.ffn.0.weight", "q4_0", UNSUPPORTED, "too large for the scales of q4_0")):
            with self.subTest(name + kind):
                checkpoint = self.checkpoint(f"broken_{kind}")
                for expert in EXPERTS:
                    tensors = read_safetensors(next((DEMO / expert).glob("*.safetensors")))
                    dtype, shape, values = tensors[name]
                    if "norm" in name:  # NaN, in the tensor's own dtype
                        last = struct.pack("<f", math.nan) if dtype == "F32" else struct.pack("<H", 0x7FC0)
                    else:
                        last = struct.pack("<H", 0x4B80)  # 2^24 in bf16
                    tensors[name] = (dtype, shape, values[:-len(last)] + last)
                    write_safetensors(checkpoint / expert / "x.safetensors", tensors)
                result = self.run_wan("convert", "--ckpt_dir", checkpoint, "--format", kind, self.folder / ("to_" + kind))
                self.assertEqual(result.status, status, result.err)
                self.assertRegex(result.err, words)
        wrong = self.run_wan("convert", "--ckpt_dir", DEMO, "--format", "q9", self.folder / "nothing")
        self.assertNotEqual(wrong.status, 0)
        self.assertFalse((self.folder / "nothing").exists())

    def test_scaled_fp8_as_comfyui_has_it(self):
        """Every linear layer in fp8 with a scale of no dimensions, the marker of no elements: named, and told where it is too coarse."""
        checkpoint = self.checkpoint("comfy")
        for expert in EXPERTS:
            tensors = {"scaled_fp8": ("F8_E4M3", [0], b"")}
            for name, (dtype, shape, values) in read_safetensors(next((DEMO / expert).glob("*.safetensors"))).items():
                if name.endswith(".weight") and len(shape) == 2:
                    tensors[name] = ("F8_E4M3", shape, some_codes(shape))
                    tensors[name.removesuffix("weight") + "scale_weight"] = ("F32", [], struct.pack("<f", 1e-3))
                    tensors[name.removesuffix("weight") + "scale_input"] = ("F32", [], struct.pack("<f", 1))
                else:
                    tensors[name] = (dtype, shape, values)
            write_safetensors(checkpoint / expert / "diffusion_pytorch_model.safetensors", tensors)
        told = self.run_wan("inspect", checkpoint).out
        self.assertIn("66 f8_e4m3 (scaled per tensor)", told)
        notices = self.notices(checkpoint)
        self.assertEqual(sum("holds head, time_embedding, time_projection in 8 bits" in notice for notice in notices), 2, notices)
        self.assertFalse([notice for notice in notices if "without scales" in notice])

    def test_scaled_fp8_gives_the_video_by_either_spelling(self):
        short = ("--frame_num", "1")
        reference = self.frames(DEMO, "reference", *short)
        text = make_comfyui(DEMO, self.folder / "comfy") / "split_files/text_encoders/umt5_xxl_fp16.safetensors"
        parts = {expert: as_fp8(read_safetensors(next((DEMO / expert).glob("*.safetensors"))), "blocks.") for expert in EXPERTS}
        parts["text"] = as_fp8(read_safetensors(text), "encoder.block.")
        for spelling in ("scale_weight", "weight_scale"):
            with self.subTest(spelling):
                checkpoint = self.checkpoint(spelling)
                (checkpoint / "text").mkdir()
                for part, tensors in parts.items():
                    write_safetensors(checkpoint / part / "x.safetensors",
                                      {name.replace("scale_weight", spelling): tensor for name, tensor in tensors.items()})
                encoder = checkpoint / "text/x.safetensors"
                self.assertIn("f8_e4m3 (scaled per tensor)", self.run_wan("inspect", encoder).out)
                made = self.frames(checkpoint, spelling + "_frames", *short, "--text_encoder", encoder)
                self.assertGreater(psnr(made, reference), 25)

    def test_a_gguf_pair_that_takes_images(self):
        """As QuantStack's files of I2V-A14B lie: 36 channels in, told by the shape; with a config.json, as the demo has no heads of 128."""
        official = SOURCE / "models/demo-i2v"
        converted, loose = self.folder / "q4_0", self.folder / "loose"
        self.convert(official, "q4_0", converted)
        for noise, folder in (("High", "high_noise_model"), ("Low", "low_noise_model")):
            target = loose / f"{noise}Noise"
            target.mkdir(parents=True)
            shutil.copy(converted / folder / "config.json", target)
            shutil.copy(next((converted / folder).glob("*.gguf")), target / f"Wan2.2-I2V-A14B-{noise}Noise-Q4_0.gguf")
            told = self.run_wan("inspect", next(target.glob("*.gguf"))).out
            self.assertIn("expert of Wan2.2-I2V-A14B", told)
            self.assertRegex(told, r"q4_0")
        for part in ("google", "generation_config.json"):
            os.symlink(official / part, loose / part)
        os.symlink(official / "models_t5_umt5-xxl-enc-bf16.pth", loose / "umt5.pth")
        os.symlink(official / "Wan2.1_VAE.pth", loose / "wan_2.1_vae.pth")
        options = ("--task", "i2v-A14B", "--image", official / "red_circle.png", "--prompt", "a red circle moves left on a blue background",
                   "--sample_steps", "4")
        frames = self.frames(loose, "loose_frames", *options)
        self.assertEqual(frames, self.frames(converted, "converted_frames", *options))
        self.assertGreater(psnr(frames, self.frames(official, "official_frames", *options)), 18)

    def test_q2_k_and_q3_k(self):
        """A pair as QuantStack's Q2_K files of I2V-A14B lie: values in Q3_K, no config.json, so that shapes tell heads of 128 and 36 channels.
        The video is that of the same weights in fp32."""
        draw = random.Random(1)
        half = lambda value: struct.pack("<e", value)
        pools = {  # blocks of random bits with values of about 0.05, and what they are
            Q2_K_TENSOR: [draw.randbytes(80) + half(0.006) + half(0.009) for _ in range(64)],
            Q3_K_TENSOR: [draw.randbytes(108) + half(0.001) for _ in range(64)]}
        values = {Q2_K_TENSOR: q2_k_values, Q3_K_TENSOR: q3_k_values}
        decoded = {kind: [array("f", values[kind](block)).tobytes() for block in pool] for kind, pool in pools.items()}
        normal = array("f", [draw.gauss(0, 0.06) for _ in range(4099)]).tobytes()
        matrices = {f"{part}.{name}": [256, 256] for part in ("self_attn", "cross_attn") for name in "qkvo"}
        matrices |= {"ffn.0": [512, 256], "ffn.2": [256, 512]}
        plain = {"patch_embedding.weight": [256, 36, 1, 2, 2], "text_embedding.0.weight": [256, 32], "text_embedding.2.weight": [256, 256],
                 "time_embedding.0.weight": [256, 64], "time_embedding.2.weight": [256, 256], "time_projection.1.weight": [1536, 256],
                 "head.head.weight": [64, 256], "head.modulation": [1, 2, 256], "blocks.0.modulation": [1, 6, 256]}
        plain |= {name.replace("weight", "bias"): [shape[0]] for name, shape in plain.items() if name.endswith("weight")}
        plain |= {f"blocks.0.{name}.bias": shape[:1] for name, shape in matrices.items()}
        plain |= {f"blocks.0.{name}": [256] for name in ("norm3.weight", "norm3.bias", *(
            f"{part}.norm_{which}.weight" for part in ("self_attn", "cross_attn") for which in "qk"))}
        options = {"packed": [], "whole": []}
        for noise in ("high", "low"):
            packed, whole = {}, {}
            for name, shape in plain.items():
                count = 4 * math.prod(shape)
                data = (normal * (count // len(normal) + 2))[4 * draw.randrange(len(normal) // 4):][:count]
                packed[name], whole[name] = (F32_TENSOR, shape, data), ("F32", shape, data)
            for name, shape in matrices.items():
                kind = Q3_K_TENSOR if name.endswith(".v") or noise == "low" else Q2_K_TENSOR
                chosen = draw.choices(range(64), k=math.prod(shape) // 256)
                packed[f"blocks.0.{name}.weight"] = kind, shape, b"".join(pools[kind][at] for at in chosen)
                whole[f"blocks.0.{name}.weight"] = "F32", shape, b"".join(decoded[kind][at] for at in chosen)
            files = {"packed": self.folder / f"Wan2.2-I2V-A14B-{noise.title()}Noise-Q2_K.gguf", "whole": self.folder / f"{noise}_noise.safetensors"}
            write_gguf(files["packed"], {"general.architecture": "wan"}, packed)
            write_safetensors(files["whole"], whole)
            for name, file in files.items():
                options[name] += [f"--{noise}_noise", file]
        told = self.run_wan("inspect", options["packed"][1]).out
        for words in ("expert of Wan2.2-I2V-A14B", "q2_k", "q3_k", "heads            2 of 128", "36 in, 16 out"):
            self.assertIn(words, told)
        made = {name: self.frames(UNPACKED / "pipeline/checkpoint_i2v", name, "--task", "i2v-A14B", "--image", UNPACKED / "pipeline/portrait.png",
                                  "--size", "32*32", "--sample_steps", "2", *chosen) for name, chosen in options.items()}
        self.assertEqual(made["packed"], made["whole"])
        self.assertGreater(len(set(made["packed"])), 16)

    def test_the_same_job_twice_in_one_process(self):
        """fp8 with a LoRA beside it and guidance above 1: nothing of a run stays for the next."""
        fp8 = self.folder / "fp8"
        self.convert(DEMO, "fp8", fp8)
        name = "blocks.0.ffn.0"
        rows, columns = read_safetensors(next((DEMO / EXPERTS[0]).glob("*.safetensors")))[name + ".weight"][1]
        write_safetensors(self.folder / "lora.safetensors", {
            f"{name}.lora_A.weight": ("F32", [2, columns], array("f", [0.5 - at % 3 / 2 for at in range(2 * columns)]).tobytes()),
            f"{name}.lora_B.weight": ("F32", [rows, 2], array("f", [0.05 - at % 5 / 40 for at in range(2 * rows)]).tobytes())})
        lines = [{"save_file": f"{at}_%05d.png", "base_seed": seed} for at, seed in enumerate((3, 4, 3))]
        (self.folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        flags = ("--ckpt_dir", fp8, "--prompt", "a red circle moves right on a blue background", "--sample_steps", "3", "--frame_num", "1",
                 "--sample_guide_scale", "3,4", "--threads", "1")
        made = self.run_wan("generate", *flags, "--lora", "lora.safetensors", "--requests", "requests.jsonl")
        self.assertEqual(made.status, 0, made.err)
        first, other, again = (read_png(self.folder / f"{at}_00000.png")[2] for at in range(3))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)
        alone = self.run_wan("generate", *flags, "--base_seed", "3", "--save_file", "alone.png")
        self.assertEqual(alone.status, 0, alone.err)
        self.assertNotEqual(read_png(self.folder / "alone.png")[2], first)

    def test_fp8_without_scales_is_told(self):
        checkpoint = self.checkpoint("plain")
        for expert in EXPERTS:
            tensors = read_safetensors(next((DEMO / expert).glob("*.safetensors")))
            name = "blocks.0.ffn.0.weight"
            shape = tensors[name][1]
            tensors[name] = ("F8_E4M3", shape, some_codes(shape))
            write_safetensors(checkpoint / expert / "diffusion_pytorch_model.safetensors", tensors)
        self.assertIn("1 f8_e4m3 (unscaled)", self.run_wan("inspect", checkpoint).out)
        notices = self.notices(checkpoint)
        self.assertEqual(sum("fp8 without scales" in notice for notice in notices), 2, notices)

    def test_a_forgotten_scale_is_no_video(self):
        checkpoint = self.checkpoint("bare")
        for expert in EXPERTS:
            tensors = read_safetensors(next((DEMO / expert).glob("*.safetensors")))
            name = "blocks.0.ffn.0.weight"
            dtype, shape, values = tensors[name]
            tensors[name] = ("I8", shape, values[::2])
            write_safetensors(checkpoint / expert / "x.safetensors", tensors)
        result = self.run_wan("generate", "--task", "t2v-A14B", "--ckpt_dir", checkpoint, "--prompt", "x")
        self.assert_refused(result, BAD_FILE, "blocks.0.ffn.0.weight", "without a scale")
        for expert in EXPERTS:
            tensors["blocks.0.ffn.0.qweight"] = tensors.pop(name) if name in tensors else ("I8", [1], b"1")
            write_safetensors(checkpoint / expert / "x.safetensors", tensors)
        result = self.run_wan("generate", "--task", "t2v-A14B", "--ckpt_dir", checkpoint, "--prompt", "x")
        self.assert_refused(result, UNSUPPORTED, "Nunchaku")


if __name__ == "__main__":
    unittest.main()
