#!/usr/bin/env python3
"""Makes tests/golden/text/: small tokenizers of several kinds, and what the official cleaning and transformers'
AutoTokenizer make of several hundred prompts.

  python tools/golden/make_text.py [--out DIR]

Each folder DIR/<name>/ is a tokenizer as a checkpoint holds it; DIR/prompts.json holds, one prompt a line,
[prompt, cleaned text (null where it is the prompt), [ids by tokenizer, padding left out]]. Needs the versions of
tools/golden/requirements.txt.
"""
import argparse
import importlib.metadata
import io
import json
import pathlib
import shutil

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from text_prompts import CORPUS, prompts
from text_reference import clean, load_tokenizer, tokenize

SPECIAL = dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>")
# A few NFKC-like rules, marks among them: a small character map with every shape of entry.
CHARACTER_RULES = {"ﬁ": "fi", "½": "1⁄2", "①": "1", "ｱ": "ア", "\u0301": "", "e\u0301": "\u00e9", "か\u3099": "\u304c", "x\u0302": "y", "\u2026": "...", "™": "TM",
                   "\u3000": " ", "\t": " ", "\r\n": " ", "\u200b": " ", "\u00ad": "", "À": "a", "ﷺ": "صلى الله عليه وسلم", "𝟙": "1", "।": ".", "\u0958": "\u0915\u093c"}


def train(directory: pathlib.Path, pieces: int, **options) -> bytes:
  """A unigram SentencePiece model of the corpus."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS * 3), model_writer=model, model_type="unigram", vocab_size=pieces,
                                           hard_vocab_limit=False, character_coverage=0.98, num_threads=1, minloglevel=2, **SPECIAL, **options)
  return model.getvalue()


def train_with_rules(directory: pathlib.Path, pieces: int) -> bytes:
  rules = directory / "rules.tsv"
  rules.write_text("".join(" ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) + "\n"
                           for old, new in sorted(CHARACTER_RULES.items())))
  try:
    return train(directory, pieces, normalization_rule_tsv=str(rules))
  finally:
    rules.unlink()


def proto(model: bytes):
  from transformers.convert_slow_tokenizer import import_protobuf
  message = import_protobuf().ModelProto()
  message.ParseFromString(model)
  return message


def flags(**given) -> dict:
  return {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True, **given}


def write_config(directory: pathlib.Path, **config) -> None:
  base = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "legacy": True,
          "clean_up_tokenization_spaces": False, "model_max_length": 1000000000000000019884624838656}
  (directory / "tokenizer_config.json").write_text(json.dumps({**base, **config}, ensure_ascii=False))


def save(tokenizer: Tokenizer, directory: pathlib.Path) -> None:
  (directory / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")))


def end_with_eos(tokenizer: Tokenizer) -> None:
  tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                           special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])


def vocabulary(model: bytes) -> list[tuple[str, float]]:
  return [(p.piece, round(p.score, 4)) for p in proto(model).pieces]


def make_umt5_like(directory: pathlib.Path) -> None:
  """As published umT5 checkpoints: character map, right strip, space runs; 300 extra ids among the pieces."""
  model = train_with_rules(directory, 700)
  pieces = vocabulary(model)
  first_extra = len(pieces)
  pieces += [(f"<extra_id_{i}>", 0.0) for i in range(299, -1, -1)]
  tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
  tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(proto(model).normalizer_spec.precompiled_charsmap),
                                               normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
  tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
  end_with_eos(tokenizer)
  tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"] + [f"<extra_id_{i}>" for i in range(299, -1, -1)])
  save(tokenizer, directory)
  decoder = {i: {"content": name, **flags()} for i, name in enumerate(["<pad>", "</s>", "<unk>"])}
  decoder |= {first_extra + i: {"content": f"<extra_id_{299 - i}>", **flags()} for i in range(300)}
  write_config(directory, extra_ids=300, additional_special_tokens=[f"<extra_id_{i}>" for i in range(300)], added_tokens_decoder=decoder)


def make_bytes(directory: pathlib.Path) -> None:
  """Byte fallback, rules in place of a map, words cut at white space, added tokens with every flag."""
  pieces = vocabulary(train(directory, 800, byte_fallback=True, normalization_rule_name="identity"))
  tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
  tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace("``", '"'), normalizers.Replace(Regex("\\d{4,}"), "0"),
                                               normalizers.Strip(left=True, right=True), normalizers.Replace(Regex(" {2,}"), " ")])
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
  end_with_eos(tokenizer)
  tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True), AddedToken("<lr>", lstrip=True, rstrip=True), AddedToken("<r>", rstrip=True), AddedToken("<l>", lstrip=True)])
  tokenizer.add_tokens([AddedToken("Word", single_word=True), AddedToken("<NORM>", normalized=True), AddedToken("blue background", normalized=True)])
  save(tokenizer, directory)
  write_config(directory, extra_ids=0, additional_special_tokens=["<sep>"])


def make_first(directory: pathlib.Path) -> None:
  """No normaliser; a space in front of the first word only; flags changed by special_tokens_map.json."""
  pieces = vocabulary(train(directory, 500, normalization_rule_name="identity"))
  tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
  tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
  end_with_eos(tokenizer)
  tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
  save(tokenizer, directory)
  write_config(directory, extra_ids=10)
  (directory / "special_tokens_map.json").write_text(json.dumps({"sep_token": {"content": "<sep>", **flags(lstrip=True)}, "mask_token": {"content": "<mask>", **flags(rstrip=True)}}))


def make_first_words(directory: pathlib.Path) -> None:
  """The space of the first word where words are cut at white space first, and after normalised added tokens."""
  pieces = vocabulary(train(directory, 500, normalization_rule_name="identity"))
  tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
  tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Prepend("▁")])
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")])
  end_with_eos(tokenizer)
  tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
  tokenizer.add_tokens([AddedToken("red", normalized=True), AddedToken("blue", normalized=False)])
  save(tokenizer, directory)
  write_config(directory, extra_ids=0)


def make_spiece(directory: pathlib.Path) -> None:
  """spiece.model alone, with the full nmt_nfkc map, byte pieces that go unused, user-defined and control pieces."""
  model = train(directory, 800, byte_fallback=True, normalization_rule_name="nmt_nfkc", user_defined_symbols=["<user>", "Word"], control_symbols=["<ctrl>"])
  (directory / "spiece.model").write_bytes(model)
  write_config(directory, extra_ids=300)


def make_spiece_identity(directory: pathlib.Path) -> None:
  """spiece.model alone, no map, transformers' newer rule for the first space."""
  (directory / "spiece.model").write_bytes(train(directory, 500, normalization_rule_name="identity"))
  write_config(directory, extra_ids=8, legacy=False)


MAKERS = {"umt5_like": make_umt5_like, "bytes": make_bytes, "first": make_first, "first_words": make_first_words, "spiece": make_spiece,
          "spiece_identity": make_spiece_identity}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "tests/golden/text")
  out = parser.parse_args().out
  tokenizers = {}
  for name, make in MAKERS.items():
    directory = out / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    make(directory)
    tokenizers[name] = load_tokenizer(str(directory))

  lines = []
  for prompt in prompts():
    cleaned = clean(prompt)
    ids = []
    for tokenizer in tokenizers.values():
      padded, mask = tokenize(tokenizer, cleaned)
      assert padded[sum(mask):] == [tokenizer.pad_token_id] * (len(mask) - sum(mask))
      ids.append(padded[:sum(mask)])
    lines.append(json.dumps([prompt, None if cleaned == prompt else cleaned, ids], separators=(",", ":")))
  versions = {name: importlib.metadata.version(name) for name in ("ftfy", "regex", "sentencepiece", "tokenizers", "transformers")}
  (out / "prompts.json").write_text(
      '{"versions":' + json.dumps(versions) + ',\n"tokenizers":' + json.dumps(list(tokenizers)) + ',\n"prompts":[\n' + ",\n".join(lines) + "\n]}\n")
  print(f"{len(lines)} prompts")


if __name__ == "__main__":
  main()
