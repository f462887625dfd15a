"""Several ranks on one video, parts of the CPU here: the video of one, whatever divides the heads, and an end for all at once."""

import signal
import subprocess
import unittest

from support import CANCELLED, SOURCE, UNPACKED, WAN, WanTest, environment, generate_arguments, read_npy

DEMO = SOURCE / "models/demo"  # four heads
CLOSE = 2e-5  # of the latents' root mean square: the order of sums


def relative_rms(a, b):
    difference = sum((x - y) ** 2 for x, y in zip(a, b))
    return (difference / sum(x * x for x in b)) ** 0.5


class Ranks(WanTest):
    known = {}  # what videos are that several tests look at, by their options

    def arguments(self, name, checkpoint=DEMO, **options):
        return generate_arguments(checkpoint, **{"size": "64*48", "frame_num": "5", "sample_steps": "4", "device": "cpu", "threads": "4",
                                           "save_file": f"{name}_%05d.png", **options})

    def make(self, name, **options):
        result = self.run_wan(*self.arguments(name, dump=name, **options))
        self.assertEqual(result.status, 0, result.err)
        return {file: read_npy(self.folder / name / file) for file in ("latents.npy", "frames.npy")}

    def by(self, **options):
        """The same, made once."""
        key = str(options)
        if key not in self.known:
            self.known[key] = self.make("by" + "_".join(map(str, options.values())), **options)
        return self.known[key]

    def test_any_number_makes_the_video_of_one(self):
        alone = self.by()
        halves = {"guidance_parallel": "on"}
        for options in ({"ulysses_size": 2}, {"ulysses_size": 3}, {"ulysses_size": 4}, halves, {"ulysses_size": 2, **halves},
                        {"ulysses_size": 4, **halves}):
            with self.subTest(**options):
                made = self.by(**options)
                for file, values in alone.items():
                    self.assertEqual(made[file].shape, values.shape)
                self.assertLess(relative_rms(made["latents.npy"].values, alone["latents.npy"].values), CLOSE)
                self.assertLessEqual(max(abs(a - b) for a, b in zip(made["frames.npy"].values, alone["frames.npy"].values)), 1)  # grey level

    def test_pictures_become_the_latents_of_one(self):
        image = SOURCE / "models/demo-i2v/red_circle.png"
        for task, options in (("i2v", {"checkpoint": SOURCE / "models/demo-i2v", "task": "i2v-A14B"}),
                              ("ti2v", {"checkpoint": UNPACKED / "pipeline/checkpoint_ti2v", "task": "ti2v-5B"})):
            options = {**options, "image": image, "size": "96*64", "prompt": "a red circle moves up"}
            alone = self.make(task + "1", **options)
            made = self.make(task + "2", ulysses_size=2, **options)
            with self.subTest(task=task):
                self.assertLess(relative_rms(made["latents.npy"].values, alone["latents.npy"].values), 10 * CLOSE)
                self.assertLessEqual(max(abs(a - b) for a, b in zip(made["frames.npy"].values, alone["frames.npy"].values)), 1)
                self.assertLess(relative_rms(read_npy(self.folder / f"{task}2/condition.npy").values,
                                             read_npy(self.folder / f"{task}1/condition.npy").values), CLOSE)

    def test_decoding_stops_on_all_at_once(self):
        options = {"save_file": "cut_%05d.png", "frame_num": "41", "size": "96*128", "sample_steps": "1"}
        with subprocess.Popen([WAN, *self.arguments("cut", ulysses_size=2, json=True, **options)], cwd=self.folder, env=environment(),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as wan:
            next(line for line in wan.stdout if '"phase":"decode","done":1,' in line)
            wan.send_signal(signal.SIGINT)
            rest = wan.stdout.read()
            self.assertEqual(wan.wait(30), CANCELLED, wan.stderr.read())
        self.assertNotIn('"done":41', rest)
        result = self.run_wan("generate", "--ckpt_dir", DEMO, "--from_latents", "cut_%05d.png.latents.safetensors", "--device", "cpu",
                              "--ulysses_size", "2")
        self.assertEqual(result.status, 0, result.err)
        self.assertTrue((self.folder / "cut_00040.png").exists())

    def test_divided_weights_make_the_same_video(self):
        for ranks in (2, 3):
            whole = self.by(ulysses_size=ranks)
            for name, divided in (("both", {"dit_fsdp": True, "t5_fsdp": True}), ("dit", {"dit_fsdp": True}), ("t5", {"t5_fsdp": True})):
                with self.subTest(ranks=ranks, divided=name):
                    made = self.make(f"{name}{ranks}", ulysses_size=ranks, **divided)
                    for file, values in whole.items():
                        self.assertEqual(made[file].values, values.values)

    def test_what_ranks_with_divided_weights_keep_one_goes_on_with(self):
        whole = self.by()
        self.make("first", save_latents="kept.safetensors", ulysses_size=2, dit_fsdp=True, t5_fsdp=True)
        for options in ({}, {"ulysses_size": 3, "dit_fsdp": True}):
            result = self.run_wan(*self.arguments("again", from_latents="kept.safetensors", dump="again", **options))
            self.assertEqual(result.status, 0, result.err)
            self.assertLessEqual(max(abs(a - b) for a, b in zip(read_npy(self.folder / "again/frames.npy").values, whole["frames.npy"].values)), 1)

    def test_the_plan_of_divided_weights(self):
        def plan(**options):
            result = self.run_wan(*self.arguments("a", plan=True, json=True, **options))
            self.assertEqual(result.status, 0, result.err)
            return result.events[0]

        whole = plan(ulysses_size=2)
        self.assertEqual((whole["shards"], whole["sharded_blocks"]), (1, 0))
        divided = {"dit_fsdp": True, "t5_fsdp": True}
        for ranks in (2, 3):
            shared = plan(ulysses_size=ranks, **divided)
            self.assertEqual(shared["shards"], ranks)
            self.assertEqual(shared["block_places"], 2)
            self.assertLess(shared["transformers"], 0.75 * whole["transformers"])
            self.assertLess(shared["text_encoder"], whole["text_encoder"])
        text = self.run_wan(*self.arguments("a", plan=True, ulysses_size=2, **divided)).out
        self.assertEqual(text.count("sharded over 2 ranks"), 2)
        self.assertEqual(plan(**divided)["shards"], 1)
        self.assertEqual(plan(ulysses_size=2, residency="streamed", **divided)["shards"], 1)

    def test_what_several_keep_one_goes_on_with(self):
        whole = self.by()
        options = {"sample_steps": "30", "save_file": "cut_%05d.png", "sample_solver": "euler"}
        uncut = self.make("uncut", **options)
        with subprocess.Popen([WAN, *self.arguments("cut", ulysses_size=2, json=True, **options)], cwd=self.folder, env=environment(),
                              stdout=subprocess.PIPE, text=True) as wan:
            next(line for line in wan.stdout if '"step":3,' in line)
            wan.send_signal(signal.SIGINT)
            wan.stdout.read()
            self.assertEqual(wan.wait(30), CANCELLED)
        result = self.run_wan("generate", "--ckpt_dir", DEMO, "--from_latents", "cut_%05d.png.latents.safetensors", "--device", "cpu",
                              "--dump", "on")
        self.assertEqual(result.status, 0, result.err)
        self.assertLess(relative_rms(read_npy(self.folder / "on/latents.npy").values, uncut["latents.npy"].values), 10 * CLOSE)
        self.make("first", save_latents="kept.safetensors", ulysses_size=2)
        result = self.run_wan("generate", "--ckpt_dir", DEMO, "--from_latents", "kept.safetensors", "--device", "cpu", "--save_file",
                              "again_%05d.png", "--dump", "again")
        self.assertEqual(result.status, 0, result.err)
        self.assertLessEqual(max(abs(a - b) for a, b in zip(read_npy(self.folder / "again/frames.npy").values, whole["frames.npy"].values)), 1)

    def test_halves_run_the_passes_of_guidance_where_there_are_two(self):
        # The steps of one expert have one pass, those of the other have two.
        scales = {"sample_guide_scale": "1,4", "ulysses_size": 1}
        alone = self.make("alone", **scales)
        halves = self.make("halves", guidance_parallel="on", **scales)
        self.assertLess(relative_rms(halves["latents.npy"].values, alone["latents.npy"].values), CLOSE)
        for name in ("cond", "uncond"):
            one, two = (read_npy(self.folder / run / f"step_00_{name}.npy").values for run in ("alone", "halves"))
            self.assertLess(relative_rms(two, one), CLOSE)
            self.assertGreater(max(map(abs, two)), 0)
        self.assertEqual(sorted(file.name for file in (self.folder / "halves").iterdir()),
                         sorted(file.name for file in (self.folder / "alone").iterdir()))
        plan = self.run_wan(*self.arguments("a", plan=True, json=True, guidance_parallel="on")).events[0]
        self.assertEqual((plan["ranks"], plan["ulysses_size"], plan["guidance_parallel"]), (2, 1, True))

    def test_steps_say_how_long_ranks_waited(self):
        def events(**options):
            result = self.run_wan(*self.arguments("a", json=True, **options))
            self.assertEqual(result.status, 0, result.err)
            return result.events

        self.assertFalse([event for event in events() if "waited" in event])
        for options in ({"ulysses_size": 2}, {"guidance_parallel": "on"}):
            told = events(**options)
            finished = told[-1]
            self.assertFalse([event for event in told if "devices" in event])  # these have no memory of their own
            steps = [event for event in told if "step" in event]
            self.assertEqual(len(steps), 4)
            for event in steps:
                self.assertLessEqual(0, event["waited"])
                self.assertLessEqual(event["waited"], event["waited_longest"])
            self.assertLess(0, sum(event["waited_longest"] for event in steps))
            self.assertLess(sum(event["waited"] for event in steps), finished["seconds"])
            self.assertFalse([event for event in told if "waited" in event and "step" not in event])
        shown = self.run_wan(*self.arguments("b", ulysses_size=2)).err
        self.assertRegex(shown, r"step 4/4, .* waited \d+\.\d\d s for other ranks")

    def test_the_plan_says_why_ranks_go_so(self):
        for options, why in (({"ulysses_size": 2}, "asked for"), ({"guidance_parallel": "on"}, "asked for")):
            arguments = self.arguments("a", plan=True, **options)
            plan = self.run_wan(*arguments, "--json").events[0]
            self.assertEqual(plan["layout_reason"], why)
            self.assertEqual([rank["device"] for rank in plan["rank_memory"]], ["cpu", "cpu"])
            self.assertEqual(plan["rank_memory"][0]["peak"], plan["peak"])
            self.assertIn(f": {why}); of each:", self.run_wan(*arguments).out)
        alone = self.run_wan(*self.arguments("a", plan=True, json=True)).events[0]
        self.assertFalse({"layout_reason", "rank_memory"} & alone.keys())

    def test_the_plan_divides_memory_and_work(self):
        def plan(**options):
            result = self.run_wan(*self.arguments("a", plan=True, json=True, size="256*256", **options))
            self.assertEqual(result.status, 0, result.err)
            return result.events[0]

        one, two = plan(), plan(ulysses_size=2)
        self.assertLess(two["activations"], 0.7 * one["activations"])
        self.assertLess(two["vae"], 0.75 * one["vae"])  # its weights are the same
        self.assertLess(two["available"], 0.6 * one["available"])


if __name__ == "__main__":
    unittest.main()
