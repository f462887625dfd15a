"""wan plan: the published models' memory, with no file of theirs."""

import json
import time

import unittest

from support import INVALID_ARGUMENT, OUT_OF_MEMORY, WanTest


class Plan(WanTest):
    def plan(self, *arguments):
        result = self.run_wan("plan", *arguments, "--json")
        self.assertEqual(result.status, 0, result.err)
        return json.loads(result.out)

    def refuse(self, status, part, *arguments):
        result = self.run_wan("plan", *arguments)
        self.assertEqual(result.status, status, result.err)
        self.assertIn(part, result.err)

    def test_less_memory_holds_fewer_blocks(self):
        places = []
        for gpu in ("H200", "A40", "24GB"):
            plan = self.plan("--task", "t2v-A14B", "--size", "1280*720", "--gpu", gpu)
            self.assertLessEqual(plan["peak"], plan["available"])
            places.append(plan["block_places"])
        self.assertEqual(places[0], 2 * 40 + 24)
        self.assertTrue(places[0] > places[1] > places[2] > 2, places)
        self.refuse(OUT_OF_MEMORY, "choose a smaller --size", "--size", "1280*720", "--gpu", "8GB")

    def test_what_is_known_of_the_published_models(self):
        """Weights of 14.3e9 parameters an expert in bf16; what an H200 took at 832*480: 68 GB."""
        plan = self.plan("--task", "t2v-A14B", "--size", "832*480", "--gpu", "H200")
        self.assertTrue(plan["blocks_resident"])
        self.assertAlmostEqual(plan["transformers"] / 2 * 1e-9, 29, delta=1)
        self.assertAlmostEqual((plan["peak"] - plan["program"]) * 1e-9, 68, delta=1)

    def test_the_text_encoder_gives_way_before_the_transformers_do(self):
        at = ("--task", "t2v-A14B", "--size", "832*480", "--gpu")
        all_of_it, through_places, streamed = (self.plan(*at, gpu) for gpu in ("80GB", "67GB", "60GB"))
        self.assertEqual([plan["text_encoder_places"] for plan in (all_of_it, through_places, streamed)], [0, 2, 0])
        self.assertEqual([plan["blocks_resident"] for plan in (all_of_it, through_places, streamed)], [True, True, False])
        self.assertEqual(through_places["transformers"], all_of_it["transformers"])
        self.assertLess(through_places["text_encoder"], all_of_it["text_encoder"] / 5)
        text = self.run_wan("plan", *at, "67GB").out
        self.assertIn("blocks streamed through 2 places", text)
        self.assertIn("the text encoder's blocks come once a video", text)

    def test_every_task_at_its_own_size(self):
        for task, pixels, frames in (("t2v-A14B", "1280*720", 81), ("i2v-A14B", "1280*720", 81),
                                     ("ti2v-5B", "1280*704", 121)):
            result = self.run_wan("plan", "--task", task, "--gpu", "RTX 5090")
            self.assertEqual(result.status, 0, result.err)
            self.assertIn(f"{task}, {pixels}, {frames} frames, on RTX 5090", result.out)
            self.assertIn("It fits: ", result.out)
        image = self.plan("--task", "ti2v-5B", "--gpu", "RTX 5090", "--with_image")
        self.assertGreater(image["peak"], 0)

    def test_names_and_refusals(self):
        one = self.plan("--size", "832*480", "--gpu", "rtx4090")
        self.assertEqual(one, self.plan("--size", "832*480", "--gpu", "NVIDIA GeForce RTX 4090"))
        self.assertEqual(one, self.plan("--size", "832*480", "--gpu", "4090"))
        self.refuse(INVALID_ARGUMENT, "RTX 4090", "--gpu", "Voodoo")
        self.refuse(INVALID_ARGUMENT, "multiples of 16", "--gpu", "24GB", "--size", "833*480")
        self.refuse(INVALID_ARGUMENT, "4n + 1", "--gpu", "24GB", "--frame_num", "80")
        self.refuse(INVALID_ARGUMENT, "--residency", "--gpu", "24GB", "--residency", "elsewhere")

    def test_divided_over_gpus(self):
        at = ("--task", "t2v-A14B", "--size", "1280*720", "--gpu", "A40")
        one = self.plan(*at)
        self.assertLess(one["block_places"], 80)
        for ranks, divided in ((2, ("--gpus", "2")), (4, ("--ulysses_size", "4"))):
            plan = self.plan(*at, *divided, "--dit_fsdp", "--t5_fsdp")
            self.assertEqual((plan["shards"], plan["sharded_blocks"], plan["block_places"]), (ranks, 80, 2))
        self.assertLess(plan["peak"], 30e9)
        # As a run would divide a step over them.
        for gpus, ranks, size, halves in (("1", 1, 1, False), ("2", 2, 1, True), ("3", 3, 3, False), ("4", 4, 2, True)):
            plan = self.plan(*at, "--gpus", gpus)
            self.assertEqual((plan["ranks"], plan["ulysses_size"], plan["guidance_parallel"]), (ranks, size, halves))
        self.assertFalse(self.plan(*at, "--ulysses_size", "2")["guidance_parallel"])
        self.assertIn("each of 2 ranks keeps 1/2 of every transformer block",
                      self.run_wan("plan", *at, "--gpus", "2", "--dit_fsdp").out)
        some = self.plan("--size", "1280*720", "--gpu", "24GB", "--gpus", "2", "--dit_fsdp")
        self.assertLess(0, some["sharded_blocks"])
        self.assertLess(some["sharded_blocks"], 80)
        self.refuse(INVALID_ARGUMENT, "--ulysses_size 41: expected 1 to 40", *at, "--ulysses_size", "41")

    def test_takes_no_time(self):
        start = time.monotonic()
        self.plan("--task", "i2v-A14B", "--size", "1280*720", "--gpu", "18GB", "--residency", "streamed",
                  "--vae_precision", "bf16")
        self.assertLess(time.monotonic() - start, 10)


if __name__ == "__main__":
    unittest.main()
