#!/bin/sh
# The checks beside the tests: formatting, include direction, calls of the file system, names of options, lint, sanitizers, fuzzing. Findings
# are errors. FUZZ_SECONDS (60) is the fuzzers' time together; LINT ("changed", or "all") is what is linted: see lint.sh; GPUS ("some", or
# "all") the architectures that the CUDA backend is compiled for.
set -eu
cd "$(dirname "$0")/../.."
jobs=$(nproc)
begun=$(date +%s)

# The stage that begins, and the seconds until then.
stage() {
  echo "== $1 ($(($(date +%s) - begun)) s)"
}

stage "formatting"
git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format --dry-run -Werror

stage "include direction"
tools/checks/include_direction.py

stage "calls of the file system"
tools/checks/filesystem_calls.py

stage "names of options"
tools/checks/option_names.py

stage "size of the tracked files"
tools/checks/tree_size.sh

stage "lint"
tools/checks/lint.sh "${LINT:-changed}"

stage "unit and format tests under AddressSanitizer and UndefinedBehaviorSanitizer"
cmake -S . -B build-asan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" \
  -DWAN_SANITIZE=ON >/dev/null
cmake --build build-asan -j "$jobs" --target sanitized_tests
# Not with oneDNN held to lesser processors: code that it makes itself, which no sanitizer sees.
ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS="suppressions=$PWD/tools/checks/lsan.supp:print_suppressions=0" \
  UBSAN_OPTIONS=print_stacktrace=1 \
  ctest --test-dir build-asan -L 'unit|format' -E '_(AVX2|AVX512_CORE)$' --output-on-failure -j "$jobs"

# The GPU code, none of which runs here, so the host's part of kernels is not made fast. All but the backend and the GPU's tests is the same
# without CUDA: it is taken from the folder of `make test`, whose settings come back afterwards. "some": Hopper's architecture, which has
# kernels of its own, and one more of those that are built by default, another one with every commit.
compile_cuda() {
  cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DWAN_BUILD_TESTS=ON -DWAN_WITH_CUDA=ON -DWAN_BUILD_BENCHMARKS=ON \
    -DCMAKE_CUDA_FLAGS_RELEASE=-O0 -DWAN_CUDA_TOGETHER=ON "-DWAN_CUDA_ARCHITECTURES=$1" >/dev/null &&
    cmake --build build -j "$jobs" --target gpu_tests benchmarks script_tools wan
}

architectures=$(sed -n 's/^set(WAN_CUDA_ARCHITECTURES "\(.*\)"$/\1/p' CMakeLists.txt)
if [ "${GPUS:-some}" = some ]; then
  others=$(echo "$architectures" | tr ';' '\n' | grep -v '^90a')
  turn=$(($(git rev-list --count HEAD) % $(echo "$others" | wc -l) + 1))
  architectures="90a-real;$(echo "$others" | sed -n "${turn}p")"
fi
[ -f build/CMakeCache.txt ] || cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DWAN_BUILD_TESTS=ON >/dev/null
if command -v nvcc >/dev/null 2>&1; then
  stage "the CUDA backend and the benchmarks compile and link for $architectures"
  cp build/CMakeCache.txt build/CMakeCache.before
  status=0
  compile_cuda "$architectures" || status=$?
  mv build/CMakeCache.before build/CMakeCache.txt
  cmake build >/dev/null
  [ "$status" = 0 ] || exit "$status"
else
  stage "no nvcc: the CUDA backend is not compiled"
  cmake --build build -j "$jobs" --target script_tools
fi

stage "fuzzing"
tools/checks/fuzz.sh "${FUZZ_SECONDS:-60}"
stage "done"
