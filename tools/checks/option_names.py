#!/usr/bin/env python3
"""Finds options of the program that the library speaks of: a server's users and a library's know none of them.

    tools/checks/option_names.py [ROOT]

Messages name members of the public structs in backquotes, "`size`", and the program spells them as options. Prints every
--option in the texts and comments of src/ and include/, every name in backquotes in a text that is no member of
include/wan/, and every message that is put together by fmt::format(), in which a file's name may pass for a member; exits
with 1 if there is one.
"""

import re
import sys
from pathlib import Path

# Comments, texts and characters; of a number with separators, such as 8'192, the digits before one.
TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|R\"(\w*)\(.*?\)\1\"|\"(?:\\.|[^\"\\\n])*\"|(?<!\d)'(?:\\.|[^'\\\n])+'", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[A-Za-z{][\w-]*")
NAME = re.compile(r"(?<!\\)`([^`\n]*)`")
FORMATTED = re.compile(r"\b(?:Notice\s*\{|notices\.push_back\(|Error\s*\([^;{}]*?)\s*fmt::format\(")
MEMBER = re.compile(r"\b(\w+)(?: = [^;]*|\{[^;]*\})?;")


def files(root, *folders):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".h", ".cpp", ".cu", ".cuh"}:
                yield path, path.read_text(encoding="utf-8")


def violations(root):
    members = {name for _, text in files(root, "include") for name in MEMBER.findall(text)}
    for path, text in files(root, "src", "include"):
        for token in TOKEN.finditer(text):
            found = [f"{option}: name the member, as `size`" for option in OPTION.findall(token[0])]
            if not token[0].startswith("/"):
                found += [f"`{name}` is no member of include/wan" for name in NAME.findall(token[0]) if name not in members]
            line = text.count("\n", 0, token.start()) + 1
            for fault in found:
                yield f"{path.relative_to(root)}:{line}: {fault}"
        for message in FORMATTED.finditer(text):
            line = text.count("\n", 0, message.end()) + 1
            yield f"{path.relative_to(root)}:{line}: a message by fmt::format(); use format_message() or fail()"


def main():
    found = list(violations(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]))
    print("\n".join(found) if found else "option names: clean")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
