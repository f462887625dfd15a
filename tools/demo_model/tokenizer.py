"""The demo's SentencePiece tokenizer, saved the way transformers' AutoTokenizer reads umT5's."""

import json
import random
import shutil
import string
from pathlib import Path

import sentencepiece

from . import prompts, world

VOCAB = 512


def corpus(count=40_000, seed=11):
    """Training sentences. Scenes held out are in it: it teaches spelling, not what a scene looks like."""
    rng = random.Random(seed)
    scenes = world.all_scenes()
    for _ in range(count):
        yield prompts.training_prompt(rng.choice(scenes), rng)
    for _ in range(count // 8):  # letters in any order, so that unknown words have pieces
        yield "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(2, 7)))


def train(path):
    """Writes spiece.model: pad 0, end of text 1, unknown 2, as umT5; unknown characters stay unknown."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_prefix=str(path.with_suffix("")), vocab_size=VOCAB, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=1.0, num_threads=1, minloglevel=2,
        required_chars=string.ascii_letters + string.digits + string.punctuation,
        normalization_rule_name="nmt_nfkc", max_sentence_length=512)
    path.with_suffix(".vocab").unlink()


def export(model, folder):
    """spiece.model, tokenizer.json, tokenizer_config.json, special_tokens_map.json into `folder`."""
    from transformers import T5TokenizerFast
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    T5TokenizerFast(vocab_file=str(model), extra_ids=0, add_prefix_space=True).save_pretrained(folder)
    # tokenizer.json holds the leading space by now; named here, it would ask for a conversion at every load.
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    del settings["add_prefix_space"]
    config.write_text(json.dumps(settings, indent=2) + "\n")
    if Path(model).resolve() != (folder / "spiece.model").resolve():
        shutil.copyfile(model, folder / "spiece.model")


class Tokenizer:
    def __init__(self, model):
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def __call__(self, texts, length):
        """ids and mask, lists [n][length] of int; the end-of-text id closes every prompt, which must fit."""
        ids, mask = [], []
        for encoded in self.pieces.encode(list(texts)):
            encoded = encoded + [1]
            if len(encoded) > length:
                raise ValueError(f"a prompt needs {len(encoded)} tokens, more than {length}")
            ids.append(encoded + [0] * (length - len(encoded)))
            mask.append([1] * len(encoded) + [0] * (length - len(encoded)))
        return ids, mask
