"""Sentences for speech to video: they say what the picture shows, and the model learns that they change nothing."""

import random

from . import prompts, world

WHO = ("a face", "a round face", "a drawn face", "a person", "somebody", "the face in the picture", "a mask", "a friendly face")
DOES = ("speaks", "talks", "is talking", "sings", "says something", "tells a story", "opens and closes its mouth",
        "answers a question", "reads aloud")
WHERE = ("", " on a {} background", " before a {} wall", " in front of a {} screen", " and looks at us", " to the camera")


def sentences(count, seed):
    """A fifth are of the other demos' world, one is empty."""
    rng = random.Random(seed)
    scenes = world.all_scenes()
    result = [""]
    while len(result) < count:
        if rng.random() < 0.2:
            result.append(prompts.training_prompt(rng.choice(scenes), rng))
        else:
            text = f"{rng.choice(WHO)} {rng.choice(DOES)}{rng.choice(WHERE).format(rng.choice(world.BACKGROUNDS))}"
            result.append(rng.choice((text, text.capitalize() + ".")))
    return result
