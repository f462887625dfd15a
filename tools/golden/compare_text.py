#!/usr/bin/env python3
"""Compares the engine's prompt cleaning and tokenizers with Python's on random, nasty strings.

Strings are put together from words of many scripts, mojibake of many kinds (also damaged and doubled), HTML
references, controls, terminal escapes, special tokens and single characters, then cleaned and tokenized by both
sides. Any difference is printed and makes the exit status 1.

  ninja -C build script_tools
  python tools/golden/compare_text.py --tool build/tests/tools/text_tool --count 20000
  python tools/golden/compare_text.py --tool build/tests/tools/text_tool --tokenizer DIR --count 20000
"""
import argparse
import html.entities
import json
import os
import random
import subprocess
import sys

from text_prompts import LITERALS as TOKENS
from text_reference import clean, load_tokenizer, tokenize

WORDS = ("hello world The quick brown fox naïve café über señor Ångström Œuvre straße ﬁne ﬂow ĳs "
         "一个红色的圆 蓝色背景 画面,静态、最差质量。 ＨＥＬＬＯ　ｗｏｒｌｄ １２３ ﾀｰﾝ 赤い円が右に動く カタカナ 빨간 원이 오른쪽으로 "
         "ﾻﾡ 한글 قطة حمراء تتحرك لَا إِلَٰهَ हिन्दी में लाल क्षेत्र कार्य ภาษาไทย Привет мир Ёлка Ελλάδα ΐ "
         "👨‍👩‍👧‍👦 🏳️‍🌈 🇯🇵 👍🏽 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 “quoted” ‘it’s’ — … • ™ € £ ± ½ ° µ ß × Â Ã â€ Ã© œ ’tis "
         "(╯°□°)╯︵ ┻━┻ ¯\\_(ツ)_/¯ 2×3 à la voilà Ü Ö x² e\u0301 a\u0308\u0323 क\u093c ｶﾞ ﾊﾟ").split()
LITERALS = ["</s>", "<pad>", "<unk>", "<extra_id_7>", "<extra_id_0>", " </s> ", "<s>", "<0x41>", "▁", "▁▁a", "<br>", "&", ";", "#",
            "&#", "&amp", "&ampamp;", "&notit;", "&lt;b&gt;", "&amp;lt;", "&amp;amp;quot;", "&#x27;", "&#39", "&#150;", "&#xD800;",
            "&#0;", "&#13;", "&#x110000;", "&#99999999999;", "&#12ab;", "&#59;", "&NTILDE;", "&nTILDE;", "&SZLIG;", "&hearts;", "&NotEqualTilde;",
            "&CounterClockwiseContourIntegral;", "&acE;", "&abcdefghijklmnopqrstuvwxyzabcdefghijk;", "&é;", "&copy2024", "&#xfffe;", "&#1;",
            "\x1b[31m", "\x1b[0;1;4m", "\x1b[", "\x1b[3١m", "\r\n", "\r", "\n", "\n\n", "\t", "\f", "\v", "\x1c", "\x1f", "\x85", "\u2028",
            "\u2029", "\u200b", "\u200c", "\u200d", "\u200e", "\ufeff", "\u2060", "\u00ad", "\ufffc", "\ufff9", "\u206a", "\x00", "\x07",
            "\x7f", "\x1a", "\ufffd", "\xa0", "\u3000", "\u2003", "\u202f", "\u1680", "\u180e", " ", "  ", "   ", "?", "\U000e0041",
            "\U0001f1e6", "\u0301", "\u0327", "\u3099", "\u11a8", "\u1100\u1161", "\uac00\u11a8", "\u212b", "\u2126", "\u1e9b\u0323",
            "ù", "Ã ", "Â ", " Ã ", "Ã quele", "Ã s ", "âœ” ", "â€œ", "â€�", "ï¿½", "í\xa0\xbdí\xb8\x80", "À\x80", "\xed\xa0\x80", "í\xa0\x80í\xb0\n", "À\n"]
CODECS = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253", "sloppy-windows-1254",
          "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437", "sloppy-windows-1256", "sloppy-windows-1258"]
RANGES = [(0x20, 0x7E), (0x80, 0xFF), (0x80, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x900, 0x97F), (0x2000, 0x206F), (0x2200, 0x22FF),
          (0x2500, 0x25FF), (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00), (0xFB00, 0xFDFF), (0xFE00, 0xFFFD), (0x1F300, 0x1F6FF),
          (0x300, 0x36F), (0x590, 0x6FF), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1D400, 0x1D7FF), (0x20000, 0x20100), (0xE0000, 0xE007F)]


def encode_or_none(text: str, decode: str) -> str | None:
  try:
    return text.encode("utf-8", "surrogatepass").decode(decode)
  except UnicodeDecodeError:
    return None


def cesu8(text: str) -> bytes:
  return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be").encode() if all(ord(c) < 0x10000 for c in text) else b"".join(
      chr(unit).encode("utf-8", "surrogatepass")
      for i, unit in enumerate(memoryview(text.encode("utf-16-le")).cast("H")))


class Maker:
  def __init__(self, seed: int):
    import ftfy.bad_codecs  # noqa: F401  registers the sloppy codecs
    from ftfy.badness import MOJIBAKE_CATEGORIES
    from ftfy.chardata import UTF8_CLUES
    self.rng = random.Random(seed)
    self.suspicious = sorted(set("".join(MOJIBAKE_CATEGORIES.values()) + "".join(UTF8_CLUES.values())) - {"-"})
    self.entities = sorted(html.entities.html5)

  def word(self) -> str:
    return self.rng.choice(WORDS)

  def phrase(self) -> str:
    return " ".join(self.word() for _ in range(self.rng.randint(1, 4)))

  def mojibake(self) -> str:
    text = self.phrase()
    for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
      codec = self.rng.choice(CODECS)
      if self.rng.random() < 0.1:
        try:
          text = cesu8(text).decode(codec)
          continue
        except (UnicodeDecodeError, UnicodeEncodeError):
          pass
      text = encode_or_none(text, codec) or text
    return self.damage(text)

  def damage(self, text: str) -> str:
    kind = self.rng.randint(0, 8)
    chars = list(text)
    if kind == 0 and chars:
      chars[self.rng.randrange(len(chars))] = self.rng.choice(["\ufffd", "?", " ", "\x1a", ""])
    elif kind == 1:
      chars = [" " if c == "\xa0" else c for c in chars]
    elif kind == 2:
      chars = ["\ufffd" if "\x80" <= c <= "\x9f" else c for c in chars]
    elif kind == 3 and chars:
      del chars[self.rng.randrange(len(chars))]
    return "".join(chars)

  def entity(self) -> str:
    name = self.rng.choice(self.entities)
    name = self.rng.choice([name, name, name.rstrip(";"), name.upper(), name.lower(), name.rstrip(";") + "x;"])
    text = "&" + name
    for _ in range(self.rng.choice([0, 0, 0, 1, 2])):
      text = text.replace("&", "&amp;")
    if self.rng.random() < 0.2:
      value = self.rng.choice([self.rng.randrange(0x180), self.rng.randrange(0x10FFFF), 0x80 + self.rng.randrange(32)])
      text = self.rng.choice([f"&#{value};", f"&#x{value:x};", f"&#X{value:X}", f"&#{value}"])
    return text

  def character(self) -> str:
    first, last = self.rng.choice(RANGES)
    return chr(self.rng.randint(first, last))

  def split_token(self) -> str:
    """A special token, or a part of one."""
    token = self.rng.choice([t for t in TOKENS if t])
    first = self.rng.randrange(len(token))
    return token[first:first + self.rng.randint(1, 12)]

  def string(self) -> str:
    makers = [self.word, self.phrase, self.mojibake, self.mojibake, self.entity, self.character, self.character,
              lambda: "".join(self.rng.choice(self.suspicious) for _ in range(self.rng.randint(1, 5))),
              lambda: self.rng.choice(LITERALS), lambda: self.rng.choice(LITERALS), lambda: self.rng.choice(TOKENS), self.split_token]
    count = self.rng.choice([1, 1, 2, 3, 4, 6, 10])
    glue = self.rng.choice(["", " ", "", "\n"])
    text = glue.join(self.rng.choice(makers)() for _ in range(count))
    if self.rng.random() < 0.002:
      text *= 200
    return "".join(c for c in text if not 0xD800 <= ord(c) <= 0xDFFF)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--tool", required=True, help="the built text_tool")
  parser.add_argument("--tokenizer", help="a tokenizer folder; without it only the cleaning is compared")
  parser.add_argument("--count", type=int, default=10000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--raw", action="store_true", help="tokenize the strings as they are, not cleaned")
  parser.add_argument("--show", type=int, default=20, help="differences to print")
  args = parser.parse_args()

  maker = Maker(args.seed)
  prompts = [maker.string() for _ in range(args.count)]
  command = [args.tool] + ([args.tokenizer] if args.tokenizer else []) + (["--raw"] if args.raw else [])
  result = subprocess.run(command, input="".join(json.dumps(p) + "\n" for p in prompts).encode(), stdout=subprocess.PIPE, check=True)
  answers = [json.loads(line) for line in result.stdout.splitlines()]
  assert len(answers) == len(prompts), f"{len(answers)} answers to {len(prompts)} prompts"
  tokenizer = load_tokenizer(args.tokenizer) if args.tokenizer else None

  different = 0
  for prompt, answer in zip(prompts, answers):
    expected = {"cleaned": prompt if args.raw else clean(prompt)}
    if tokenizer and args.raw:
      expected["encoded"] = tokenizer(prompt).input_ids
    elif tokenizer:
      expected["ids"], expected["mask"] = tokenize(tokenizer, expected["cleaned"])
    got = {key: answer.get(key) for key in expected}
    if got == expected:
      continue
    different += 1
    if different <= args.show:
      print("prompt  ", ascii(prompt), file=sys.stderr)
      for key in expected:
        if got[key] != expected[key]:
          trim = (lambda v: [i for i in v or [] if i][:60]) if key in ("ids", "mask", "encoded") else ascii
          print(f"  {key}: expected {trim(expected[key])}\n  {key}: got      {trim(got[key])} {answer.get('error', '')}", file=sys.stderr)
  print(f"{len(prompts)} prompts, {different} different")
  return 1 if different else 0


if __name__ == "__main__":
  os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
  sys.exit(main())
