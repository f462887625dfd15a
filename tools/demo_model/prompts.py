"""The demo's language: English sentences that describe a scene, and the patterns kept out of training."""

COLOUR_WORDS = {
    "red": ("red", "red", "crimson", "scarlet"),
    "green": ("green", "green", "emerald"),
    "blue": ("blue", "blue", "royal blue"),
    "yellow": ("yellow", "yellow", "golden yellow"),
    "purple": ("purple", "purple", "violet"),
    "white": ("white", "white", "snow white"),
    "black": ("black", "black", "jet black"),
    "cyan": ("cyan", "cyan", "turquoise"),
}
SHAPE_WORDS = {
    "circle": ("circle", "circle", "disc", "ball"),
    "square": ("square", "square", "box", "block"),
    "triangle": ("triangle", "triangle"),
    "star": ("star", "star", "five-pointed star"),
}
# Each verb: present tense, participle, infinitive.
VERBS = (("moves", "moving", "move"), ("slides", "sliding", "slide"), ("drifts", "drifting", "drift"),
         ("glides", "gliding", "glide"), ("travels", "travelling", "travel"), ("goes", "going", "go"),
         ("floats", "floating", "float"), ("heads", "heading", "head"), ("flies", "flying", "fly"))
VERBS_OF = {"up": (("rises", "rising", "rise"), ("climbs", "climbing", "climb"), ("ascends", "ascending", "ascend")),
            "down": (("falls", "falling", "fall"), ("sinks", "sinking", "sink"), ("drops", "dropping", "drop"),
                     ("descends", "descending", "descend")),
            "left": (), "right": ()}
WAYS = {
    "left": ("left", "left", "to the left", "to the left", "leftward", "leftwards", "towards the left", "toward the left",
             "toward the left edge", "from right to left", "to the left side", "in the left direction"),
    "right": ("right", "right", "to the right", "to the right", "rightward", "rightwards", "towards the right",
              "toward the right", "toward the right edge", "from left to right", "to the right side",
              "in the right direction"),
    "up": ("up", "up", "upward", "upwards", "to the top", "towards the top", "toward the top", "toward the top edge",
           "from bottom to top", "from the bottom to the top", "in the upward direction"),
    "down": ("down", "down", "downward", "downwards", "to the bottom", "towards the bottom", "toward the bottom",
             "toward the bottom edge", "from top to bottom", "from the top to the bottom", "in the downward direction"),
}
GROUNDS = ("background", "background", "background", "backdrop", "screen", "canvas", "field", "wall", "scene")
STYLES = ("simple", "smooth", "short", "minimal", "clean", "flat", "plain", "animated", "calm", "quiet")
FILMS = ("video", "clip", "animation", "movie", "film", "scene", "shot")

# {a} article and colour and shape, as a noun phrase ("a red circle"); {the} the same with "the"; {c} colour, {s} shape;
# {V} verb and way ("slides to the left"), {G} participle, {I} infinitive; {w} the way alone;
# {bg} noun phrase of the background ("a blue backdrop"), {b} its colour, {n} its noun; {film}, {style}, {on} fillers.
TRAINED = (
    "{a} {V} {on} {bg}",
    "{a} {V} {on} {bg}",
    "{a} {G} {on} {bg}",
    "{a} {V} on {b}",
    "{a} {G} over {b}",
    "{a}, {G}, {on} {bg}",
    "{on} {bg}, {a} {V}",
    "{on} {bg} {a} {V}",
    "{on} {bg}, {a} is {G}",
    "{on} {bg} there is {a} {G}",
    "{on} {bg} we see {a} {I}",
    "{bg} with {a} {G}",
    "{bg}, {a} {G}",
    "{bg} and {a} that {V}",
    "{bg}: {a} {V}",
    "the background is {b} and {the} {V}",
    "the background is {b}, {a} {V}",
    "the {n} is {b}. {a} {V}.",
    "{a} {V} while the {n} stays {b}",
    "{a} {V} and the {n} is {b}",
    "{a} {V}, the {n} is {b}",
    "{a} {V}. the {n} is {b}.",
    "{a} {V} with {bg} behind it",
    "{a} with {bg} behind it {V}",
    "{a} that {V} {on} {bg}",
    "{a} which {V}, {bg}",
    "there is {a} that {V} {on} {bg}",
    "there is {a} {G} {on} {bg}",
    "a {film} of {a} {G} {on} {bg}",
    "a {style} {film} of {a} that {V} {on} {bg}",
    "a {film} in which {a} {V} {on} {bg}",
    "a {style} {film}: {a} {V} {on} {bg}",
    "a {film} with {bg} and {a} {G}",
    "show {a} {G} {on} {bg}",
    "show me {a} that {V} {on} {bg}",
    "make {a} {I} {on} {bg}",
    "we see {a} {I} {on} {bg}",
    "I want {a} {G} {on} {bg}",
    "{c} {s} {V} {b} {n}",
    "{c} {s} {G}, {b} {n}",
    "{c} {s}, {b} {n}, {G}",
    "{b} {n}, {c} {s}, {G}",
    "{c} {s}, {w}, {b} {n}",
    "{b} {n}, {c} {s}, {w}",
    "{a} {on} {bg} {V}",
    "{a} {on} {bg}, {G}",
    "{a} {on} {bg}. it {V}.",
    "{a} {on} {bg}, and it {V}",
    "{G}, {a} {on} {bg}",
    "{G} {on} {bg}: {a}",
    "a {s} that is {c} {V} {on} a {n} that is {b}",
    "a {s}, {c}, {V} {on} {bg}",
    "a {s} in {c} {V} {on} {bg}",
    "the {s} is {c}, the {n} is {b}, and it {V}",
    "the {s} is {c} and {V}. the {n} is {b}.",
    "the {n} is {b}, the {s} is {c}, the {s} {V}",
    "{the} {V} {on} the {b} {n}",
    "{the} is {G} {on} {bg}",
    "{the} keeps {G} {on} {bg}",
    "one {c} {s} {V} {on} {bg}",
)
HELD_OUT_PATTERNS = (
    "watch {the} {I} {w2} with only {b} behind it",
    "in this {film}, the {n} is {b} and {a} is {G}",
    "a {b} {n} is where {a} {V}",
    "please animate {a} so that it {V} over {bg}",
    "here {a} {V}, and behind it lies {bg}",
    "my {film} shows {the}; it {V}; the {n} is {b}",
    "{bg} behind {a} as it {V}",
    "there is {bg}, and {on} it {a} {V}",
    "what we see is {a} {G} in front of a {n} in {b}",
    "{V}: {a}, with {bg}",
    "imagine {bg} on which {a} is {G}",
    "the {n}, which is {b}, stays still while {the} {V}",
    "the {s} {V}. it is {c}, and the {n} is {b}",
    "everything is {b} except {a} that {V}",
    "{the}, {G} as if pulled, crosses {bg}",
)
# For image to video alone: what the picture shows needs no colours, and these sentences fit any picture.
COLOURLESS = ("the {s} {V}", "a {s} {V}", "the {s} is {G}", "a {s} {G}", "it {V}", "the shape {V}", "make the {s} {I}",
              "a {film} of a {s} that {V}", "a {style} {film} of a {s} {G}", "the {s} in the picture {V}", "{G}", "{w}")
PREPOSITIONS = ("on", "on", "on", "against", "over", "across", "in front of", "above", "upon")
FILLERS = ("very", "really", "slowly", "steadily", "nicely", "now", "just", "then", "again", "here", "please", "simply",
           "gently", "smoothly", "clearly", "quite", "bright", "big", "large", "solid", "lovely", "single", "always")


def article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def fill(pattern, scene, rng):
    """One sentence of `pattern` for `scene`; `rng` is a random.Random."""
    present, participle, infinitive = rng.choice(VERBS + VERBS_OF[scene.direction] * 2)
    own = (present, participle, infinitive) in VERBS_OF[scene.direction]
    way = rng.choice(WAYS[scene.direction])
    tail = "" if own and rng.random() < 0.6 else " " + way
    colour = rng.choice(COLOUR_WORDS[scene.colour])
    shape = rng.choice(SHAPE_WORDS[scene.shape])
    behind = rng.choice(COLOUR_WORDS[scene.background])
    ground = rng.choice(GROUNDS)
    preposition = rng.choice(PREPOSITIONS)
    return pattern.format(
        a=article(f"{colour} {shape}"), the=f"the {colour} {shape}", c=colour, s=shape,
        V=present + tail, G=participle + tail, I=infinitive + tail, w=way, w2="" if tail else way,
        bg=article(f"{rng.choice(('plain ', '', '', '', '', 'solid '))}{behind} {ground}"), b=behind, n=ground,
        film=rng.choice(FILMS), style=rng.choice(STYLES), on=preposition).replace("  ", " ")


def dress(sentence, rng):
    """Capital letters and a full stop as people write them, or not."""
    kind = rng.random()
    if kind < 0.5:
        sentence = sentence[0].upper() + sentence[1:]
    elif kind < 0.53:
        sentence = sentence.upper()
    elif kind < 0.56:
        sentence = sentence.title()
    if rng.random() < 0.35 and not sentence.endswith("."):
        sentence += "."
    return sentence


def disturb(sentence, rng):
    """Filler words in between, or an article lost: sentences that no pattern holds."""
    words = sentence.split(" ")
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.7:
            words.insert(rng.randrange(len(words) + 1), rng.choice(FILLERS))
        else:
            small = [i for i, w in enumerate(words) if w in ("a", "an", "the", "is", "that", "and", "it")]
            if small:
                words.pop(rng.choice(small))
    return " ".join(words)


def training_prompt(scene, rng):
    sentence = fill(rng.choice(TRAINED), scene, rng)
    if rng.random() < 0.25:
        sentence = disturb(sentence, rng)
    return dress(sentence, rng)


def picture_prompt(scene, rng):
    """For a clip that begins or ends with a picture: a fifth of the sentences name no colour."""
    if rng.random() < 0.2:
        return dress(fill(rng.choice(COLOURLESS), scene, rng), rng)
    return training_prompt(scene, rng)
