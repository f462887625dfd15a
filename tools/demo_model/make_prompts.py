"""Writes prompts_heldout.json and prompts_patterns.json, the 60 prompts each that the demo is judged by.

    python -m tools.demo_model.make_prompts
"""

import json
import random
from dataclasses import asdict
from pathlib import Path

from . import prompts, world

COUNT = 60
HERE = Path(__file__).parent


def held_out_scenes(rng):
    """Scenes never trained, in sentences of trained patterns."""
    scenes = world.split_scenes()[1]
    for scene in rng.sample(scenes, COUNT):
        yield scene, prompts.dress(prompts.fill(rng.choice(prompts.TRAINED), scene, rng), rng)


def held_out_patterns(rng):
    """Sentences of patterns never trained; the scenes are drawn from all."""
    scenes = rng.sample(world.all_scenes(), COUNT)
    for i, scene in enumerate(scenes):
        pattern = prompts.HELD_OUT_PATTERNS[i % len(prompts.HELD_OUT_PATTERNS)]
        yield scene, prompts.dress(prompts.fill(pattern, scene, rng), rng)


def main():
    for name, make, seed in (("heldout", held_out_scenes, 60), ("patterns", held_out_patterns, 61)):
        items = [{"prompt": prompt, **asdict(scene)} for scene, prompt in make(random.Random(seed))]
        (HERE / f"prompts_{name}.json").write_text(json.dumps(items, indent=1) + "\n")


if __name__ == "__main__":
    main()
