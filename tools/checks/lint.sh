#!/bin/sh
# clang-tidy over our own sources, with the checks of .clang-tidy, warnings as errors. Needs a configured build folder.
set -eu
cd "$(dirname "$0")/../.."
[ -f build/compile_commands.json ] || cmake -S . -B build -G Ninja >/dev/null
# What the build compiles: not the files that call CUDA's libraries, which it has without a GPU's compiler only emulated.
git ls-files 'src/*.cpp' 'apps/*.cpp' | while read -r file; do
  if grep -q "/$file\"" build/compile_commands.json; then echo "$file"; fi
done | xargs -P "$(nproc)" -n 4 clang-tidy -p build --quiet 2>/dev/null
