#!/bin/sh
# clang-tidy over our own sources, with the checks of .clang-tidy, warnings as errors. Needs a configured build folder.
# usage: lint.sh [all|changed]
# changed: what the commits of the last day before HEAD touched, and an eighth of the rest, another one with every commit: the whole tree in
# eight.
set -eu
cd "$(dirname "$0")/../.."
what=${1:-all}
[ -f build/compile_commands.json ] || cmake -S . -B build -G Ninja >/dev/null
if [ "$what" = changed ]; then
  slice=$(($(git rev-list --count HEAD) % 8))
  newest=$(git log -1 --format=%ct)
  changed=$(git log --since="$((newest - 24 * 3600))" --name-only --format= -- src apps | sort -u)
else
  slice=""
  changed=""
fi
number=0
# What the build compiles: not the files that call CUDA's libraries, which it has without a GPU's compiler only emulated.
git ls-files 'src/*.cpp' 'apps/*.cpp' | while read -r file; do
  number=$((number + 1))
  grep -q "/$file\"" build/compile_commands.json || continue
  if [ "$what" = all ] || [ $((number % 8)) = "$slice" ] || echo "$changed" | grep -qx "$file"; then echo "$file"; fi
done | xargs -r -P "$(nproc)" -n 4 clang-tidy -p build --quiet 2>/dev/null
