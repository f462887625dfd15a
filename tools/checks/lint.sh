#!/bin/sh
# clang-tidy over our own sources, with the checks of .clang-tidy, warnings as errors. Needs a configured build folder.
set -eu
cd "$(dirname "$0")/../.."
[ -f build/compile_commands.json ] || cmake -S . -B build -G Ninja >/dev/null
git ls-files 'src/*.cpp' 'apps/*.cpp' | xargs -P "$(nproc)" -n 4 clang-tidy -p build --quiet 2>/dev/null
