#!/usr/bin/env python3
"""Finds calls of std::filesystem that throw: their exceptions have neither an error code of ours nor a remedy.

    tools/checks/filesystem_calls.py [ROOT]

A call takes a std::error_code as its last argument, or is replaced by what base/files.h has. Prints every other call in src/
and apps/ and exits with 1 if there is one. Only calls that name the namespace, fs:: or std::filesystem::, are seen.
"""

import re
import sys
from pathlib import Path

THROWING = ("absolute canonical copy copy_file copy_symlink create_directories create_directory create_directory_symlink "
            "create_hard_link create_symlink current_path directory_iterator equivalent exists file_size hard_link_count "
            "is_block_file is_character_file is_directory is_empty is_fifo is_other is_regular_file is_socket is_symlink "
            "last_write_time permissions proximate read_symlink recursive_directory_iterator relative remove remove_all "
            "rename resize_file space status symlink_status temp_directory_path weakly_canonical").split()
CALL = re.compile(r"\b(?:fs|filesystem)::(" + "|".join(THROWING) + r")(?:\s+\w+)?\(")
ERROR_CODE = re.compile(r"(?:^|,)\s*(?:error|none|ignored|unknown|unreadable)\s*$")


def arguments(text, begin):
    """What stands between the parenthesis before `begin` and the one that closes it."""
    depth = 1
    for end in range(begin, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[begin:end]
    return text[begin:]


def violations(root):
    for path in sorted([*(root / "src").rglob("*"), *(root / "apps").rglob("*")]):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        text = path.read_text(encoding="utf-8")
        for call in CALL.finditer(text):
            given = arguments(text, call.end())
            # A loop over an iterator throws all the same: base/files.cpp has the one that does not.
            listed = call.group(1).endswith("iterator")
            if listed and path.name == "files.cpp":
                continue
            if listed or not ERROR_CODE.search(given):
                line = text.count("\n", 0, call.start()) + 1
                yield f"{path.relative_to(root)}:{line}: {call.group(1)} throws; use base/files.h or pass an error_code"


def main():
    found = list(violations(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]))
    print("\n".join(found) if found else "filesystem calls: clean")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
