"""Few steps: presets, timesteps by hand, and the notice for files that tell their steps by their names."""

import unittest

from support import INVALID_ARGUMENT, SOURCE, UNPACKED, WanTest, generate_arguments, read_npy

UNSET = {"sample_steps": None}


class Presets(WanTest):
    def settings(self, *flags, **options):
        result = self.generate(*flags, save_file="a_%05d.png", json=True, frame_num="1", **options)
        return next(event["values"] for event in result.events if event["event"] == "settings"), result

    def test_four_steps(self):
        settings, result = self.settings(preset="lightning-4", dump="dump", **UNSET)
        self.assertEqual({key: settings[key] for key in ("sample_solver", "sample_steps", "sample_shift", "sample_guide_scale")},
                         {"sample_solver": "euler", "sample_steps": "4", "sample_shift": "5", "sample_guide_scale": "1"})
        self.assertEqual([round(value, 2) for value in read_npy(self.folder / "dump/timesteps.npy").values],
                         [1000, 937.5, 833.33, 625])
        self.assertEqual(read_npy(sorted(self.folder.glob("dump/step_*_timestep.npy"))[1]).values[0], 937.5)
        self.assertEqual([list(self.folder.glob(f"dump/*_{pass_}.npy")) != [] for pass_ in ("cond", "uncond")], [True, False])
        steps = [event["phase"] for event in result.events if event["event"] == "progress" and event.get("step")]
        self.assertEqual([steps.count(phase) for phase in ("high_noise", "low_noise")], [2, 2])
        first = (self.folder / "a_00000.png").read_bytes()
        # By hand the same; what is set stands above a preset.
        by_hand = {"sample_solver": "euler", "sample_shift": "5", "sample_guide_scale": "1",
                   "sample_timesteps": settings["sample_timesteps"], **UNSET}
        self.settings(**by_hand)
        self.assertEqual((self.folder / "a_00000.png").read_bytes(), first)
        settings, _ = self.settings(preset="lightning-8", sample_steps="2", sample_guide_scale="2")
        self.assertEqual([settings[key] for key in ("sample_steps", "sample_guide_scale", "sample_timesteps")],
                         ["2", "2", "1000,833.3333333333334"])

    def test_a_last_frame(self):
        """By the task's own boundary three of these steps would be the high-noise expert's."""
        pictures = SOURCE / "tests/golden/pipeline"
        options = {"task": "i2v-A14B", "size": "48*48", "frame_num": "5", "image": pictures / "landscape.png", "last_image": pictures / "portrait.png"}
        result = self.generate(save_file="a.mp4", json=True, checkpoint=UNPACKED / "pipeline/checkpoint_i2v", preset="lightning-flf2v-4",
                               **options, **UNSET)
        steps = [event["phase"] for event in result.events if event["event"] == "progress" and event.get("step")]
        self.assertEqual([steps.count(phase) for phase in ("high_noise", "low_noise")], [2, 2])

    def test_steps_of_the_solver(self):
        """Two of each expert, and at integers."""
        settings, result = self.settings(preset="wangp-4", dump="dump", **UNSET)
        self.assertEqual({key: settings[key] for key in ("sample_solver", "sample_steps", "sample_shift", "sample_guide_scale")},
                         {"sample_solver": "unipc", "sample_steps": "4", "sample_shift": "3", "sample_guide_scale": "1"})
        self.assertEqual(list(read_npy(self.folder / "dump/timesteps.npy").values), [999, 899, 749, 499])
        steps = [event["phase"] for event in result.events if event["event"] == "progress" and event.get("step")]
        self.assertEqual([steps.count(phase) for phase in ("high_noise", "low_noise")], [2, 2])

    def test_kept_and_gone_on_with(self):
        self.generate(save_file="a_%05d.png", save_latents="a.safetensors", preset="lightning-4", **UNSET)
        self.generate(save_file="b_%05d.png", from_latents="a.safetensors", preset="lightning-4", **UNSET)
        self.assertEqual((self.folder / "a_00000.png").read_bytes(), (self.folder / "b_00000.png").read_bytes())
        self.assert_refused(self.run_wan(*generate_arguments(save_file="b_%05d.png", from_latents="a.safetensors",
                                                             sample_timesteps="900,800,700,600", **UNSET)),
                            INVALID_ARGUMENT, "--sample_timesteps contradicts the latents")

    def test_wrong(self):
        self.assert_refused(self.run_wan(*generate_arguments(save_file="a.mp4", preset="lightning-5")), INVALID_ARGUMENT,
                            "expected one of lightning-4, lightning-8, lightning-flf2v-4, wangp-4, fastwan-3, turbo-4")
        self.assert_refused(self.run_wan(*generate_arguments(save_file="a.mp4", preset="fastwan-3", **UNSET)), INVALID_ARGUMENT,
                            "--preset fastwan-3 is of ti2v-5B", "by hand: --sample_steps")
        self.assert_refused(self.run_wan(*generate_arguments(save_file="a.mp4", sample_timesteps="1000,500",
                                                             sample_solver="unipc", **UNSET)),
                            INVALID_ARGUMENT, "unipc begins below 1000")

    def test_a_name_that_tells_its_steps(self):
        folder = self.copy_checkpoint("Wan2.2-T2V-A14B-4steps")
        notice = "is made for 4 steps, by its name; this run takes 3, with guidance"
        result = self.run_wan(*generate_arguments(folder, save_file="a_%05d.png"))
        self.assertIn(notice, result.err + result.out)
        self.assertIn("--preset lightning-4", result.err + result.out)
        result = self.run_wan(*generate_arguments(folder, save_file="a_%05d.png", preset="lightning-4", **UNSET))
        self.assertNotIn("by its name", result.err + result.out)


if __name__ == "__main__":
    unittest.main()
