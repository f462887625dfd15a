"""A conversion that was cut off, wherever: the same command goes on with it, to the bytes of one that was not."""

import fcntl
import json
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import unittest
from array import array
from pathlib import Path

from layouts_support import read_tensors, write_tensors
from support import INVALID_ARGUMENT, IO, SOURCE, WAN, WanTest, environment

DEMO = SOURCE / "models/demo"
FIRST, SECOND = "low_noise_model", "high_noise_model"  # as they are converted
FILE = FIRST + "/diffusion_pytorch_model"
MATRIX = "blocks.2.ffn.0.weight"
MATRICES = 60  # of an expert's blocks


def write_zeros(path, tensors):
    """A file with holes in place of values."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * 4
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Convert(WanTest):
    known = {}  # what conversions of the demo say and write that nothing stops, by their formats

    def command(self, target, kind, *flags, source=DEMO):
        return ["convert", "--ckpt_dir", source, "--format", kind, *flags, self.folder / target]

    def convert(self, target, kind, *flags, source=DEMO):
        result = self.run_wan(*self.command(target, kind, *flags, source=source))
        self.assertEqual(result.status, 0, result.err)
        return result.out

    def whole(self, kind):
        if kind not in self.known:
            self.known[kind] = self.convert("whole", kind), files(self.folder / "whole")
            shutil.rmtree(self.folder / "whole")
        return self.known[kind]

    def kill(self, lines, *command):
        """Starts a conversion and kills it once it has told of so many matrices: it is at most the pipe's page ahead."""
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        with subprocess.Popen([WAN, *map(os.fspath, command)], cwd=self.folder, env=environment(), stdout=writing) as process:
            os.close(writing)
            with open(reading, "rb", buffering=0) as out:
                while lines > 0:
                    line = out.readline()
                    self.assertTrue(line, "it ended before")
                    lines -= b"off by" in line
                process.kill()
        self.assertEqual(process.returncode, -signal.SIGKILL)

    def unfinished(self, target):
        """(its bytes, its journal's lines) of each expert that is not whole."""
        return {path.parent.name: (path.stat().st_size, path.with_suffix(".journal").read_text().splitlines())
                for path in (self.folder / target).rglob("*.partial")}

    def begun(self, target, kind, *flags, source=DEMO):
        self.kill(30, *self.command(target, kind, *flags, source=source))
        self.assertGreater(len(self.unfinished(target)[FIRST][1]), 30)
        return self.folder / target

    def checkpoint(self):
        """A copy of the demo of which a test may change the transformers."""
        folder = self.folder / "checkpoint"
        shutil.copytree(DEMO, folder, symlinks=True)
        return folder

    def test_goes_on_after_being_killed(self):
        for kind in ("fp8", "q4_0"):
            with self.subTest(kind):
                told, whole = self.whole(kind)
                for lines in (1, 15, 45, MATRICES + 1, 30):  # the last one of the second expert alone
                    self.kill(lines, *self.command(kind, kind))
                    (place, (size, journal)), = self.unfinished(kind).items()
                    self.assertGreaterEqual(len(journal), 2 if place == SECOND else lines)
                    self.assertFalse(list((self.folder / kind / place).glob("diffusion_pytorch_model.[sg]*")))
                    self.assertGreater(size, 0)
                again = self.convert(kind, kind)
                self.assertRegex(again, SECOND + r"/diffusion_pytorch_model.*: \d\d+ of \d+ tensors are there already")
                self.assertRegex(again, FIRST + "/.* is there already")
                # The table has what was converted earlier too.
                table = lambda text: [line for line in text.splitlines() if line.startswith(SECOND + ".")]
                self.assertEqual(table(again), table(told))
                self.assertEqual(files(self.folder / kind), whole)

    def test_trusts_nothing_that_is_damaged(self):
        whole = self.whole("int8")[1]
        state = self.begun("state", "int8")
        partial, journal = FILE + ".partial", FILE + ".journal"

        def cut(name, keep):
            def damage(folder):
                os.truncate(folder / name, int((folder / name).stat().st_size * keep))
            return damage

        def flip(folder):
            data = bytearray((folder / partial).read_bytes())
            data[len(data) // 2] ^= 1
            (folder / partial).write_bytes(data)

        def lie(folder):
            (folder / journal).write_text((folder / journal).read_text() + "0123456789abcdef 0.5\nnonsense\n")

        begun = self.unfinished("state")[FIRST][1]
        for name, damage, least, most in (("nothing", lambda folder: None, len(begun) - 2, len(begun) - 2),
                                          ("a line cut off", cut(journal, 0.5), 10, len(begun) - 10),
                                          ("the identity cut off", cut(journal, 0.001), 0, 0), ("no journal", lambda folder: (folder / journal).unlink(), 0, 0),
                                          ("bytes cut off", cut(partial, 0.5), 5, len(begun) - 5), ("no bytes", cut(partial, 0), 0, 0),
                                          ("a bit", flip, 5, len(begun) - 5), ("a sum", lie, len(begun) - 2, len(begun) - 2)):
            with self.subTest(name):
                shutil.rmtree(self.folder / "tried", ignore_errors=True)
                damage(Path(shutil.copytree(state, self.folder / "tried")))
                out = self.convert("tried", "int8")
                kept = [int(line.split(": ")[1].split()[0]) for line in out.splitlines() if "tensors are there already" in line]
                self.assertEqual(len(kept), 1 if least else 0, out)
                self.assertTrue(all(least <= count <= most for count in kept), (kept, len(begun)))
                self.assertEqual(files(self.folder / "tried"), whole)

    def test_begins_again_with_another_source_or_other_settings(self):
        def expect_anew(name, kind, *flags, source=DEMO):
            out = self.convert(name, kind, *flags, source=source)
            self.assertRegex(out, "of another source, of one that has changed since, or of other settings; it begins again")
            self.assertNotIn("tensors are there already", out)
            if (flags, source) == ((), DEMO):
                whole = self.whole(kind)[1]
            else:
                self.convert(name + "_whole", kind, *flags, source=source)
                whole = files(self.folder / (name + "_whole"))
            self.assertEqual(files(self.folder / name), whole)

        for kind in ("fp8", "q8_0"):  # the same file's name, and another's
            self.begun(kind, "int8")
            expect_anew(kind, kind)
        # One number of one tensor, of which no finished file's stamp need know.
        source = self.checkpoint()
        self.begun("changed", "int8", source=source)
        file = next((source / FIRST).glob("*.safetensors"))
        tensors = read_tensors(file)
        dtype, shape, data = tensors[MATRIX]
        write_tensors(file, {**tensors, MATRIX: (dtype, shape, b"\0\x3f" + data[2:])})
        expect_anew("changed", "int8", source=source)
        # LoRAs: the strength, and the file.
        rows, columns = shape
        lora = self.folder / "lora.safetensors"

        def write_lora(value):
            factor = lambda shape: ("F32", list(shape), array("f", [value] * (shape[0] * shape[1])).tobytes())
            write_tensors(lora, {f"blocks.2.ffn.0.lora_B.weight": factor([rows, 1]), "blocks.2.ffn.0.lora_A.weight": factor([1, columns])})

        write_lora(0.01)
        self.begun("strength", "int8", "--lora", lora)
        expect_anew("strength", "int8", "--lora", f"{lora}:0.5")
        self.begun("lora", "int8", "--lora", lora)
        write_lora(0.02)
        expect_anew("lora", "int8", "--lora", lora)

    def test_goes_on_after_a_full_disk(self):
        """Here a limit to files' sizes."""
        whole = self.whole("q8_0")[1]
        size = len(whole[FILE + ".gguf"])

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

        full = subprocess.run([WAN, *map(os.fspath, self.command("made", "q8_0"))], cwd=self.folder, env=environment(),
                              capture_output=True, text=True, preexec_fn=limit, check=False)
        self.assertEqual(full.returncode, IO, full.stderr)
        self.assertIn(FILE, full.stderr)
        self.assertIn("the same conversion goes on with what is written", full.stderr)
        self.assertRegex(self.convert("made", "q8_0"), r": \d+ of \d+ tensors are there already")
        self.assertEqual(files(self.folder / "made"), whole)

    def test_takes_parts_by_their_names(self):
        """A pair of files and what goes with it, in no folder of a known layout, and parts in place of a folder's."""
        whole = self.whole("int8")[1]
        parts = {"--high_noise": DEMO / SECOND, "--low_noise": DEMO / FIRST, "--text_encoder": DEMO / "models_t5_umt5-xxl-enc-bf16.pth",
                 "--vae": DEMO / "Wan2.1_VAE.pth"}
        named = files(self.convert_to("named", *(text for pair in parts.items() for text in pair)))
        self.assertEqual(named, {name: data for name, data in whole.items() if name != "generation_config.json" and not name.startswith("google/")})
        other = self.checkpoint()
        (other / SECOND / "diffusion_pytorch_model.safetensors").unlink()
        self.assertEqual(files(self.convert_to("replaced", "--ckpt_dir", other, "--high_noise", DEMO / SECOND)), whole)
        refused = self.run_wan("convert", "--format", "int8", self.folder / "nothing")
        self.assertEqual(refused.status, INVALID_ARGUMENT, refused.err)
        self.assertIn("--ckpt_dir", refused.err)

    def convert_to(self, target, *source):
        result = self.run_wan("convert", *source, "--format", "int8", self.folder / target)
        self.assertEqual(result.status, 0, result.err)
        return self.folder / target

    def test_takes_the_memory_of_one_tensor(self):
        """The largest one is no matrix of a block, is 57 MB in the file's precision, and fits once."""
        width, layers = 1536, 1
        tensors = {}
        for name, (dtype, shape, _) in read_tensors(next((DEMO / FIRST).glob("*.safetensors"))).items():
            if name.startswith("blocks.") and not name.startswith("blocks.0."):
                continue
            wide = {192: width, 6 * 192: 6 * width}
            tensors[name] = ("F32", [wide.get(extent, extent) if len(shape) != 5 or at == 0 else extent for at, extent in enumerate(shape)])
        wide = self.folder / "wide"
        shutil.copytree(DEMO, wide, symlinks=False)
        for folder in (FIRST, SECOND):
            write_zeros(next((wide / folder).glob("*.safetensors")), tensors)
            config = json.loads((wide / folder / "config.json").read_text())
            (wide / folder / "config.json").write_text(json.dumps({**config, "dim": width, "num_layers": layers}))
        most = 6 * width * width * 4
        limit = most + (48 << 20)  # the program, its threads' stacks and pieces; twice the tensor is more
        self.assertLess(limit, 2 * most)
        done = subprocess.run([WAN, "convert", "--ckpt_dir", wide, "--format", "bf16", self.folder / "narrow"], env=environment({"OMP_NUM_THREADS": "2"}),
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_one_process_at_a_time(self):
        target = self.begun("made", "int8")
        with open(target / (FILE + ".partial"), "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            refused = self.run_wan(*self.command("made", "int8"))
        self.assertEqual(refused.status, IO, refused.err)
        self.assertIn("is being written by another process", refused.err)
        self.convert("made", "int8")


if __name__ == "__main__":
    unittest.main()
