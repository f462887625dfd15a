#!/bin/sh
# clang-tidy over our own sources, warnings as errors. With the checks of .clang-tidy it reads the sources of a folder together, as a
# build does: in a tenth of the time of each alone, nearly all of which goes to headers. Then it reads files alone, for what the
# compiler says: what a file does not include itself is found there. build-lint and build-lint-alone are configured and never built.
# usage: lint.sh [all|changed]
# changed: the folders that the newest four commits touched, and an eighth of the rest, another one with every commit; alone the files
# that the newest commit touched, and an eighth of all: the whole tree in eight.
set -eu
cd "$(dirname "$0")/../.."
what=${1:-all}
slice=$(($(git rev-list --count HEAD) % 8))

configure() {
  cmake -S . -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWAN_UNITY_BUILD="$2" -DWAN_BUILD_TESTS=OFF >/dev/null
}
# What a build folder compiles of ours, without $PWD. Not the files that call CUDA's libraries, which it has without a GPU's compiler
# only emulated.
compiled() {
  sed -n "s|.*\"file\": \"$PWD/\(.*\)\".*|\1|p" "$1/compile_commands.json" | grep -E "^($1/)?(src|apps)/" | grep -v "/wan_headers.dir/"
}
# Our files that these commits touched.
touched() {
  git log "$@" --first-parent -m --name-only --format= -- src apps | sort -u
}

configure build-lint ON
changed=$(touched -4)
number=0
compiled build-lint | while read -r unit; do
  number=$((number + 1))
  folder=$(dirname "$unit")
  case "$unit" in
    build-lint/*)
      sed -i 's|^#include ".*\.cpp"$|& // NOLINT|' "$unit"  # that a .cpp is included
      folder=$(sed -n "s|^#include \"$PWD/\(.*\)/[^/]*\".*|\1|p" "$unit" | head -n 1) ;;
  esac
  if [ "$what" = all ] || [ $((number % 8)) = "$slice" ] || echo "$changed" | grep -q "^$folder/"; then echo "$PWD/$unit"; fi
done | xargs -r -P "$(nproc)" -n 1 clang-tidy -p build-lint --quiet 2>/dev/null

configure build-lint-alone OFF
changed=$(touched -1)
number=0
compiled build-lint-alone | while read -r file; do
  number=$((number + 1))
  if [ "$what" = all ] || [ $((number % 8)) = "$slice" ] || echo "$changed" | grep -qx "$file"; then echo "$file"; fi
done | xargs -r -P "$(nproc)" -n 4 clang-tidy -p build-lint-alone --quiet --checks=-*,misc-unused-using-decls 2>/dev/null
