"""wan bench on the CPU: one layer, small frames."""

import json
import unittest

from support import INVALID_ARGUMENT, WanTest

SMALL = ("bench", "--size", "32*32", "--frame_num", "1", "--num_layers", "1", "--repeats", "3", "--warmup", "0",
         "--device", "cpu", "--threads", "1")


class Bench(WanTest):
    def test_json(self):
        result = self.run_wan(*SMALL, "--phases", "decode,forward", "--json")
        self.assertEqual(result.status, 0, result.err)
        measured = json.loads(result.out)
        self.assertEqual((measured["device"], measured["tokens"]), ("cpu", 4))
        self.assertEqual([row["phase"] for row in measured["rows"]], ["forward", "decode"])
        for row in measured["rows"]:
            self.assertEqual(len(row["seconds"]), 3)
            self.assertEqual(row["median_seconds"], sorted(row["seconds"])[1])
            self.assertLessEqual(row["least_seconds"], row["median_seconds"])
            self.assertAlmostEqual(row["flops_per_second"] * row["median_seconds"] / row["flops"], 1, places=6)
            self.assertAlmostEqual(
                row["share_of_product"] * measured["ceilings"]["product_flops_per_second"] / row["flops_per_second"],
                1, places=6)
            self.assertGreater(row["peak_host_bytes"], 10**8)
            self.assertEqual(row["non_finite"], 0)

    def test_the_command_gives_the_row_again(self):
        arguments = (*SMALL, "--task", "ti2v-5B", "--phases", "forward", "--repeats", "1")
        first = json.loads(self.run_wan(*arguments, "--json").out)
        again = json.loads(self.run_wan(*first["command"].split()[1:], "--json").out)
        for key in ("command", "tokens", "task", "size", "frame_num", "num_layers"):
            self.assertEqual(first[key], again[key])
        self.assertEqual(first["rows"][0]["flops"], again["rows"][0]["flops"])

    def test_table(self):
        result = self.run_wan(*SMALL, "--task", "i2v-A14B", "--phases", "forward", "--repeats", "1")
        self.assertEqual(result.status, 0, result.err)
        self.assertIn("wan bench --task i2v-A14B --size 32*32", result.out)
        self.assertIn("forward", result.out.splitlines()[-1])

    def test_refusals(self):
        for option, value in (("--size", "30*32"), ("--frame_num", "2"), ("--phases", "sleep"), ("--repeats", "none")):
            with self.subTest(option):
                result = self.run_wan(*SMALL, option, value)
                self.assertEqual(result.status, INVALID_ARGUMENT)
                self.assertIn(option, result.err)


if __name__ == "__main__":
    unittest.main()
