"""wan bench on the CPU: one layer, small frames."""

import json
import unittest

from support import INVALID_ARGUMENT, WanTest

SMALL = ("bench", "--size", "32*32", "--frame_num", "1", "--num_layers", "1", "--repeats", "3", "--warmup", "0",
         "--device", "cpu", "--threads", "1")


class Bench(WanTest):
    def test_json(self):
        result = self.run_wan(*SMALL, "--task", "i2v-A14B", "--phases", "decode,forward", "--json")
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

    def test_the_command_in_the_table_gives_the_row_again(self):
        table = self.run_wan(*SMALL, "--task", "i2v-A14B", "--phases", "decode", "--repeats", "1")
        self.assertEqual(table.status, 0, table.err)
        self.assertIn("wan bench --task i2v-A14B --size 32*32", table.out)
        self.assertIn("decode", table.out.splitlines()[-1])
        (command,) = [line[line.index("wan bench"):] for line in table.out.splitlines() if "wan bench" in line]
        again = json.loads(self.run_wan(*command.split()[1:], "--json").out)
        self.assertEqual(again["command"], command)
        self.assertEqual((again["task"], again["size"], again["frame_num"], again["num_layers"]), ("i2v-A14B", "32*32", 1, 1))
        self.assertIn(f" {again['rows'][0]['flops'] * 1e-15:.4g} ", table.out.splitlines()[-1])

    def test_refusals(self):
        for option, value in (("--size", "30*32"), ("--frame_num", "2"), ("--phases", "sleep"), ("--repeats", "none")):
            with self.subTest(option):
                result = self.run_wan(*SMALL, option, value)
                self.assertEqual(result.status, INVALID_ARGUMENT)
                self.assertIn(option, result.err)


if __name__ == "__main__":
    unittest.main()
