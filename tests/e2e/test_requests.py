"""Many videos a load: --requests, a JSON object a line."""

import json
import signal
import subprocess
import unittest

from support import (BAD_FILE, CANCELLED, INVALID_ARGUMENT, OUT_OF_MEMORY, WAN, WanTest, environment,
                     generate_arguments)

LONG = {"size": "64*64", "frame_num": 17, "sample_steps": 1000, "sample_solver": "euler"}


class Requests(WanTest):
    def write(self, *lines):
        """requests.jsonl of these lines: objects, or text as it is."""
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        (self.folder / "requests.jsonl").write_text(text, encoding="utf-8")

    def make(self, *lines, flags=(), **options):
        self.write(*lines)
        return self.run_wan(*generate_arguments(**options), "--requests", "requests.jsonl", *flags)

    def start(self, *lines, **options):
        self.write(*lines)
        process = subprocess.Popen([WAN, *generate_arguments(json=True, **options), "--requests", "requests.jsonl"],
                                   cwd=self.folder, env=environment(), stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        return process

    def only(self, result, event):
        return [e for e in result.events if e["event"] == event]

    def test_every_video_is_the_one_made_alone(self):
        lines = [{"save_file": "0.mp4", "base_seed": 3},
                 {"save_file": "1.mp4", "size": "48*32", "frame_num": 9, "prompt": "a blue square \u2014 \"quoted\""},
                 {"save_file": "2_%05d.png", "sample_solver": "dpm++", "sample_guide_scale": "3,1", "sample-steps": "4"},
                 {"save_file": "3.mp4", "precision": "bf16", "prompt": "--not an option", "crf": 20},
                 {"save_file": "4.png", "frame_num": 1, "negative_prompt": "", "base_seed": 3},
                 {"save_file": "5.mp4", "sample_guide_scale": 1.5, "sample_shift": 3, "convert_model_dtype": False}]
        result = self.make(*lines, flags=("--json",))
        self.assertEqual(result.status, 0, result.err + result.out)
        made = {name: (self.folder / name).read_bytes() for name in self.names() if name != "requests.jsonl"}
        self.assertEqual(len(made), 5 + 5)
        loads = [e for e in self.only(result, "phase_started") if e["phase"] == "load"]
        self.assertEqual(len(loads), 3, "once for lines 1 to 3, for the fourth, and for the rest")
        self.assertEqual([e["line"] for e in self.only(result, "request_started")], [1, 2, 3, 4, 5, 6])
        (summary,) = self.only(result, "summary")
        self.assertEqual((summary["made"], summary["failed"], summary["not_begun"]), ([1, 2, 3, 4, 5, 6], [], []))
        for line in lines:
            options = {name.replace("-", "_"): value for name, value in line.items() if name != "prompt" and value is not False}
            if "prompt" in line:
                options["prompt"] = None
            self.generate(*(["--prompt=" + line["prompt"]] if "prompt" in line else []), **options)
        for name, data in made.items():
            self.assertEqual((self.folder / name).read_bytes(), data, name)

    def test_mistakes_are_told_at_once_and_the_rest_is_made(self):
        (self.folder / "link").symlink_to(".")
        wrong = {2: ({"promt": "a cat"}, "unknown option --promt (did you mean --prompt?)"),
                 3: ({"size": "30*30", "save_file": "b.mp4"}, "the nearest is 32*32"),
                 4: ("{\"prompt\": \"a\", \"prompt\": \"b\"}", "'prompt' stands twice"),
                 5: ("{\"prompt\": ", "malformed JSON"),
                 6: ("[1, 2]", "expected an object"),
                 7: ({"prompt": ["a"]}, "\"prompt\": expected a string, a number, true or false"),
                 8: ({"plan": True}, "give --plan on the command line"),
                 9: ({"task": "i2v-A14B", "image": "none.png"}, "use --task t2v-A14B"),
                 11: ({"save_file": "link/a.mp4"}, "line 11's --save_file link/a.mp4 would overwrite line 1's --save_file a.mp4"),
                 12: ({"from_latents": "none.safetensors"}, "none.safetensors"),
                 13: ({"frame-num": 5, "frame_num": 9}, "stands twice"),
                 14: ({"ckpt_dir": "nowhere"}, "nowhere"),
                 15: ({"frame_num": 1.5}, "--frame_num 1.5: expected a whole number"),
                 16: ({"seed": 1}, "it is called --base_seed here"),
                 17: ({"save_file": "no/such/folder.mp4"}, "no/such"),
                 18: ({"size": "8192*8192", "memory_limit": "60MB", "save_file": "c.mp4"}, "GB are free"),
                 19: ({"--prompt": "a"}, "no dashes"),
                 20: ({"save_latents": "a.mp4.latents.safetensors"}, "would overwrite line 1's latents' file")}
        lines = {1: {"save_file": "a.mp4"}, 10: {"save_file": "d.mp4"}, **{line: text for line, (text, _) in wrong.items()}}
        result = self.make(*(lines[number] for number in sorted(lines)))
        self.assertEqual(result.status, INVALID_ARGUMENT)
        told = result.err.splitlines()
        for place, (line, (_, words)) in enumerate(wrong.items()):
            self.assertTrue(told[place].startswith(f"error: requests.jsonl:{line}: "), told[place])
            self.assertIn(words, told[place])
        self.assertTrue(told[len(wrong)].startswith("[1/20] requests.jsonl:1: "), "before anything is loaded")
        self.assertIn("\nmade 2 of 20 videos in ", result.err)
        self.assertEqual(len([line for line in told if line.startswith("not made: requests.jsonl:")]), len(wrong))
        self.assertEqual(told[-1], "error: 18 of 20 requests failed, the first at requests.jsonl:2")
        self.assertEqual(self.names(), ["a.mp4", "d.mp4", "link", "requests.jsonl"])

    def test_a_mistake_on_the_command_line_is_told_once(self):
        result = self.make({"save_file": "a.mp4"}, {"save_file": "b.mp4"}, "", {"save_file": "c.mp4"}, checkpoint="nowhere")
        self.assertEqual(result.status, BAD_FILE)
        self.assertEqual(len([line for line in result.err.splitlines() if line.startswith("error: requests.jsonl:1-2, 4: ")]), 1)

    def test_a_line_that_fails_later_leaves_the_others_alone(self):
        # Written to a folder that is gone when its turn comes.
        (self.folder / "gone").mkdir()
        process = self.start({"save_file": "a.mp4"}, {"save_file": "gone/b.mp4"}, {"save_file": "c.mp4"})
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "request_started" and events[-1]["line"] == 1:
                (self.folder / "gone").rmdir()
        self.assertEqual(process.wait(timeout=60), INVALID_ARGUMENT)
        (summary,) = (e for e in events if e["event"] == "summary")
        self.assertEqual(summary["made"], [1, 3])
        self.assertEqual([failure["line"] for failure in summary["failed"]], [2])
        self.assertEqual(len([e for e in events if e["event"] == "request_failed"]), 1)
        self.assertEqual(len([e for e in events if e["event"] == "phase_started" and e["phase"] == "load"]), 1)
        self.assertEqual(self.names(), ["a.mp4", "c.mp4", "requests.jsonl"])

    def test_the_first_failed_line_gives_the_status(self):
        result = self.make({"save_file": "a.mp4"}, {"size": "8192*8192", "memory_limit": "60MB"}, {"size": "1*1"})
        self.assertEqual(result.status, OUT_OF_MEMORY, result.err)

    def test_names_do_not_collide(self):
        result = self.make({"base_seed": 1}, {"base_seed": 2}, {"base_seed": 3}, flags=("--json",))
        self.assertEqual(result.status, 0, result.out)
        self.assertEqual(len([name for name in self.names() if name.endswith(".mp4")]), 3)
        seeds = {event["values"]["seed"] for event in self.only(result, "settings")}
        self.assertEqual(seeds, {"1", "2", "3"})
        result = self.make({}, {}, save_file="one.mp4")
        self.assertEqual(result.status, INVALID_ARGUMENT)
        self.assertIn("requests.jsonl:2: line 2's --save_file one.mp4 would overwrite line 1's --save_file one.mp4", result.err)
        self.assertIn("made 1 of 2 videos", result.err)

    def test_one_line_reads_what_no_other_writes(self):
        self.generate(save_file="kept.mp4", save_latents="kept.safetensors")
        kept = (self.folder / "kept.safetensors").read_bytes()
        result = self.make({"save_file": "a.mp4", "from_latents": "kept.safetensors"},
                           {"save_file": "b.mp4", "save_latents": "kept.safetensors"}, prompt=None, base_seed=None)
        self.assertEqual(result.status, INVALID_ARGUMENT)
        self.assertIn("requests.jsonl:2: ", result.err)
        result = self.make({"save_file": "b.mp4", "save_latents": "kept.safetensors", "prompt": "x"},
                           {"save_file": "a.mp4", "from_latents": "kept.safetensors"}, prompt=None)
        self.assertIn("requests.jsonl:2: line 2's --from_latents kept.safetensors is what line 1's --save_latents", result.err)
        self.assertIn("made 1 of 2 videos", result.err)
        self.assertNotEqual((self.folder / "kept.safetensors").read_bytes(), kept)

    def test_standard_input_and_what_is_no_request(self):
        text = "# stills\n\n  \r\n{\"save_file\": \"a.png\", \"frame_num\": 1}\r\n  # end\n{\"save_file\": \"b.png\", \"frame_num\": 5}"
        done = subprocess.run([WAN, *generate_arguments(), "--requests", "-"], cwd=self.folder, env=environment(),
                              input=text, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, INVALID_ARGUMENT, done.stderr)
        self.assertIn("error: standard input:6: ", done.stderr)
        self.assertEqual(self.names(), ["a.png"])
        for text, words in (("", "holds no request"), ("# nothing\n\n", "holds no request")):
            self.write(text)
            self.assert_refused(self.run_wan(*generate_arguments(), "--requests", "requests.jsonl"), INVALID_ARGUMENT, words)
        self.assert_refused(self.run_wan(*generate_arguments(), "--requests", "nothing.jsonl"), BAD_FILE, "there is no such file")
        self.assert_refused(self.run_wan(*generate_arguments(), "--requests", "."), BAD_FILE, "it is a folder")

    def test_plan_is_every_lines(self):
        lines = ({"save_file": "a.mp4"}, {"save_file": "b.mp4", "size": "64*64"}, {"save_file": "c.mp4", "size": "9"})
        result = self.make(*lines, flags=("--plan",))
        self.assertEqual(result.status, INVALID_ARGUMENT)
        self.assertRegex(result.out, r"(?s)\Arequests\.jsonl:1: .*peak .*\n\nrequests\.jsonl:2: .*peak ")
        self.assertIn("error: requests.jsonl:3: --size 9", result.err)
        result = self.make(*lines[:2], flags=("--plan", "--json"))
        self.assertEqual([(e["event"], e["line"]) for e in result.events], [("plan", 1), ("plan", 2)])
        self.assertEqual(self.names(), ["requests.jsonl"])

    def test_ctrl_c_stops_the_running_one_and_all_that_follow(self):
        process = self.start({"save_file": "a.mp4", "sample_steps": 2, "size": "32*32"}, {"save_file": "b.mp4"},
                             {"save_file": "c.mp4"}, {"save_file": "d.mp4"}, **LONG)
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1].get("step") == 5:
                process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), CANCELLED)
        (summary,) = (e for e in events if e["event"] == "summary")
        self.assertEqual(summary["made"], [1])
        self.assertEqual([failure["line"] for failure in summary["failed"]], [2])
        self.assertEqual(summary["not_begun"], [3, 4])
        self.assertEqual(events[-1]["code"], "cancelled")
        self.assertIn("requests.jsonl:2: ", events[-1]["message"])
        self.assertIn("--from_latents b.mp4.latents.safetensors", events[-1]["message"])
        self.assertEqual(self.names(), ["a.mp4", "b.mp4.latents.safetensors", "requests.jsonl"])

    def test_memory_is_flat(self):
        """Over 50 requests of mixed sizes: once every size was there, the most that was ever taken grows no more."""
        sizes = ["32*32", "96*64", "48*32", "32*112", "64*64", "16*16", "128*96"]
        lines = [{"save_file": f"{number}.mp4", "size": sizes[number % len(sizes)], "frame_num": 1 + 4 * (number % 3 + 1),
                  "prompt": f"a red circle, the {number}th", "base_seed": number} for number in range(56)]
        process = self.start(*lines, sample_steps=1)
        # By the process itself: when this one comes to look, the next request may be on its way.
        peaks = [event["peak_host_bytes"] for event in map(json.loads, process.stdout) if event["event"] == "finished"]
        self.assertEqual(process.wait(timeout=60), 0)
        warm = len(sizes) * 3  # each size with each number of frames
        self.assertEqual(len(peaks), len(lines))
        # 3 MB more were seen once, in one request; a video that stays is 0.4 MB on average, and 35 follow.
        self.assertLessEqual(peaks[-1], peaks[warm - 1] + (6 << 20), peaks)


if __name__ == "__main__":
    unittest.main()
