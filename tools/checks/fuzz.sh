#!/bin/sh
# Builds every tests/fuzz/NAME_fuzz.cpp with libFuzzer and runs it on its seed corpus.
# usage: fuzz.sh [SECONDS of all fuzzers together, two at a time]
set -eu
cd "$(dirname "$0")/../.."
total=${1:-60}
cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" -DWAN_BUILD_FUZZERS=ON -DWAN_BUILD_TESTS=OFF >/dev/null
cmake --build build-fuzz -j "$(nproc)" --target fuzzers

run_one() {
  name=$1
  mkdir -p "build-fuzz/corpus/$name"
  # A finding is written beside the corpus and fails the run.
  if ! "build-fuzz/tests/fuzz/${name}_fuzz" -max_total_time="$2" -rss_limit_mb=2048 -timeout=60 -verbosity=0 \
      -print_final_stats=1 -artifact_prefix="build-fuzz/$name-" "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" \
      >"build-fuzz/$name.log" 2>&1; then
    cat "build-fuzz/$name.log"
    echo "fuzzer $name found something"
    return 1
  fi
  echo "fuzzer $name: $(grep -o 'number_of_executed_units: [0-9]*' "build-fuzz/$name.log")"
}

status=0
set --
for file in tests/fuzz/*_fuzz.cpp; do set -- "$@" "$(basename "$file" _fuzz.cpp)"; done
seconds=$((total * 2 / $#))
[ "$seconds" -ge 5 ] || seconds=5
# Two at a time: as many as the smallest machine has processors.
while [ $# -gt 0 ]; do
  run_one "$1" "$seconds" & first=$!
  second=""
  if [ $# -gt 1 ]; then run_one "$2" "$seconds" & second=$!; shift; fi
  shift
  wait "$first" || status=1
  [ -z "$second" ] || wait "$second" || status=1
done
exit $status
