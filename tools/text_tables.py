#!/usr/bin/env python3
"""Writes the character tables of src/cleaning/tables/ from the libraries whose behaviour they state.

  html_entities.inc        HTML5's named character references (Python's html.entities) and the upper-case forms that
                           ftfy accepts besides
  single_byte_codecs.inc   what the bytes 0x80 to 0xFF decode to in the ten encodings that ftfy tries
  mojibake_classes.inc     ftfy's character categories, as ranges of code points

Needs ftfy as pinned in tools/golden/requirements.txt. Run from anywhere:  python tools/text_tables.py
"""
import argparse
import html
import html.entities
import pathlib

import ftfy
import ftfy.bad_codecs  # noqa: F401  registers the sloppy codecs
from ftfy.badness import MOJIBAKE_CATEGORIES
from ftfy.chardata import CHARMAP_ENCODINGS, UTF8_CLUES

HEADER = "// Written by tools/text_tables.py; do not edit. Source: {}\n"


def literal(text: str) -> str:
  """A C string literal of the UTF-8 bytes of `text`; octal escapes, as they never swallow what follows."""
  return '"' + "".join(chr(b) if 0x20 <= b < 0x7F and chr(b) not in '"\\?' else f"\\{b:03o}"
                       for b in text.encode()) + '"'


def packed(items: list[str], width: int = 118) -> str:
  lines, line = [], ""
  for item in items:
    if line and len(line) + len(item) + 2 > width:
      lines.append(line)
      line = ""
    line += (" " if line else "") + item + ","
  return "\n".join(lines + [line]) + "\n"


def html_entities() -> str:
  names = html.entities.html5
  upper = {}
  for name, char in names.items():
    if name.endswith(";") and name == name.lower():
      candidate = "&" + name.upper()
      if html.unescape(candidate) == candidate:
        upper[name.upper()] = char.upper()
  out = HEADER.format("html.entities.html5 of CPython, the WHATWG list of named character references")
  out += "// Sorted by name; a name keeps its semicolon where it has one.\n"
  out += f"inline constexpr HtmlEntity kHtmlEntities[{len(names)}] = {{\n"
  out += packed([f"{{{literal(n)}, {literal(names[n])}}}" for n in sorted(names)])
  out += "};\n// Names that only ftfy knows: lower-case names written in capitals, standing for the capital letter.\n"
  out += f"inline constexpr HtmlEntity kUpperCaseEntities[{len(upper)}] = {{\n"
  out += packed([f"{{{literal(n)}, {literal(upper[n])}}}" for n in sorted(upper)])
  return out + "};\n"


def single_byte_codecs() -> str:
  out = HEADER.format(f"CPython's codecs, made sloppy as in ftfy {ftfy.__version__}")
  out += "// In the order in which they are tried; high[i] is what byte 0x80 + i decodes to.\n"
  out += f"inline constexpr SingleByteCodec kSingleByteCodecs[{len(CHARMAP_ENCODINGS)}] = {{\n"
  for name in CHARMAP_ENCODINGS:
    kind = "kSloppy" if name.startswith("sloppy") else "kStrict"
    chars = bytes(range(0x80, 0x100)).decode(name)
    out += f'{{"{name}", CodecKind::{kind}, {{\n' + packed([f"0x{ord(c):04X}" for c in chars]) + "}},\n"
  return out + "};\n"


def expand(pattern: str) -> list[int]:
  """Code points of the inside of a regular expression's character class."""
  points, i = set(), 0
  while i < len(pattern):
    if i + 2 < len(pattern) and pattern[i + 1] == "-":
      points.update(range(ord(pattern[i]), ord(pattern[i + 2]) + 1))
      i += 3
    else:
      points.add(ord(pattern[i]))
      i += 1
  return sorted(points)


def mojibake_classes() -> str:
  classes = {**MOJIBAKE_CATEGORIES, **UTF8_CLUES}
  ranges = []
  for name, pattern in classes.items():
    bit = "CharClass::k" + "".join(part.capitalize() for part in name.split("_"))
    points = expand(pattern.replace("\\x80", "\x80").replace("\\x9f", "\x9f"))
    start = previous = points[0]
    for point in points[1:] + [None]:
      if point is not None and point == previous + 1:
        previous = point
        continue
      ranges.append((start, previous, bit))
      start = previous = point
  out = HEADER.format(f"character categories of ftfy {ftfy.__version__} (Robyn Speer, Apache License 2.0)")
  out += f"inline constexpr ClassRange kMojibakeClasses[{len(ranges)}] = {{\n"
  out += packed([f"{{0x{a:04X}, 0x{b:04X}, {bit}}}" for a, b, bit in ranges])
  return out + "};\n"


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", type=pathlib.Path,
                      default=pathlib.Path(__file__).resolve().parent.parent / "src/cleaning/tables")
  out = parser.parse_args().out
  out.mkdir(parents=True, exist_ok=True)
  for make in (html_entities, single_byte_codecs, mojibake_classes):
    (out / f"{make.__name__}.inc").write_text(make())


if __name__ == "__main__":
  main()
