#!/bin/sh
# Packs the GPU tests and the benchmark of a build for a GPU machine that has CUDA's libraries and cuDNN, but neither the
# other libraries nor a compiler: programs without symbols, the shared libraries that are not CUDA's or the system's, and
# the golden files that the tests read.
#
# usage: gpu_bundle.sh BUILD_FOLDER OUT_FOLDER
# there: LD_LIBRARY_PATH=OUT_FOLDER/lib:$LD_LIBRARY_PATH OUT_FOLDER/run.sh
set -eu
build=$1
bundle=$2
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$bundle/bin" "$bundle/lib" "$bundle/tests"
for program in "$build"/tests/gpu/gpu_*test "$build"/bench/cuda_ops; do
  [ -x "$program" ] || continue
  strip -o "$bundle/bin/$(basename "$program")" "$program"
done
for program in "$bundle"/bin/*; do
  ldd "$program" | awk '$3 ~ /^\// {print $3}' | grep -Ev '/(libcu|libnv|libc\.so|libm\.so|libdl|libpthread|librt|ld-linux)' |
    while read -r library; do cp -Lu "$library" "$bundle/lib/"; done
done
cp -r "$source/tests/golden" "$bundle/tests/"
cat >"$bundle/run.sh" <<'RUN'
#!/bin/sh
# Every test, then the benchmark; the last lines say which failed.
here=$(cd "$(dirname "$0")" && pwd)
export WAN_SOURCE_DIR="$here" WAN_REQUIRE_GPU=1
failed=""
for test in "$here"/bin/gpu_*test; do
  echo "== $(basename "$test")"
  "$test" --gtest_brief=1 || failed="$failed $(basename "$test")"
done
echo "failed:${failed:- none}"
[ ! -x "$here/bin/cuda_ops" ] || "$here/bin/cuda_ops"
[ -z "$failed" ]
RUN
chmod +x "$bundle/run.sh"
du -sh "$bundle"
