#!/bin/sh
# clang-tidy over our own sources, with the checks of .clang-tidy, warnings as errors. Each file is read alone, not together with its
# neighbours as a build does: what it does not include itself is found here. build-lint is configured for it and never built.
# usage: lint.sh [all|changed]
# changed: what the commits of the last day before HEAD touched, and an eighth of the rest, another one with every commit: the whole tree in
# eight.
set -eu
cd "$(dirname "$0")/../.."
what=${1:-all}
cmake -S . -B build-lint -G Ninja -DCMAKE_BUILD_TYPE=Release -DWAN_UNITY_BUILD=OFF -DWAN_BUILD_TESTS=OFF >/dev/null
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
  grep -q "/$file\"" build-lint/compile_commands.json || continue
  if [ "$what" = all ] || [ $((number % 8)) = "$slice" ] || echo "$changed" | grep -qx "$file"; then echo "$file"; fi
done | xargs -r -P "$(nproc)" -n 4 clang-tidy -p build-lint --quiet 2>/dev/null
