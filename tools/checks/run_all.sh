#!/bin/sh
# The checks beside the tests: formatting, include direction, calls of the file system, lint, sanitizers, fuzzing. Findings are errors.
# FUZZ_SECONDS (60) is each fuzzer's time.
set -eu
cd "$(dirname "$0")/../.."
jobs=$(nproc)

echo "== formatting"
git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format --dry-run -Werror

echo "== include direction"
tools/checks/include_direction.py

echo "== calls of the file system"
tools/checks/filesystem_calls.py

echo "== lint"
tools/checks/lint.sh

echo "== unit and format tests under AddressSanitizer and UndefinedBehaviorSanitizer"
cmake -S . -B build-asan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" \
  -DWAN_SANITIZE=ON >/dev/null
cmake --build build-asan -j "$jobs" --target sanitized_tests
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 \
  ctest --test-dir build-asan -L 'unit|format' --output-on-failure -j "$jobs"

# The GPU code of every architecture that is built by default. Nothing of it runs here.
if command -v nvcc >/dev/null 2>&1; then
  echo "== the CUDA backend compiles and links"
  cmake -S . -B build-cuda -G Ninja -DCMAKE_BUILD_TYPE=Release -DWAN_WITH_CUDA=ON >/dev/null
  cmake --build build-cuda -j "$jobs" --target gpu_tests wan
else
  echo "== no nvcc: the CUDA backend is not compiled"
fi

echo "== fuzzing"
tools/checks/fuzz.sh "${FUZZ_SECONDS:-60}"
