#!/bin/sh
# Packs the GPU tests, the wan program and the benchmark of a build for a GPU machine that has CUDA's libraries and cuDNN, but
# neither the other libraries nor a compiler: programs without symbols, the shared libraries that are not CUDA's or the
# system's, and what the tests read: golden files, the demos, the scripts of the demos' test (Python's standard library).
#
# usage: gpu_bundle.sh BUILD_FOLDER OUT_FOLDER [--without-sources]
# there: LD_LIBRARY_PATH=OUT_FOLDER/lib:$LD_LIBRARY_PATH OUT_FOLDER/run.sh
# --without-sources leaves out demos and scripts, for a machine with a source tree: WAN_SOURCE_DIR then names it.
set -eu
build=$1
bundle=$2
sources=${3:-}
case $sources in
  "" | --without-sources) ;;
  *) echo "gpu_bundle.sh: unknown option $sources" >&2; exit 2 ;;
esac
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$bundle/bin" "$bundle/lib"
for program in "$build"/tests/gpu/gpu_*test "$build"/apps/cli/wan "$build"/bench/cuda_ops; do
  [ -x "$program" ] || continue
  strip -o "$bundle/bin/$(basename "$program")" "$program"
done
for program in "$bundle"/bin/*; do
  ldd "$program" | awk '$3 ~ /^\// {print $3}' | grep -Ev '/(libcu|libnv|libc\.so|libm\.so|libdl|libpthread|librt|ld-linux)' |
    while read -r library; do cp -Lu "$library" "$bundle/lib/"; done
done
cp -r "$build/golden" "$bundle/"
if [ -z "$sources" ]; then
  mkdir -p "$bundle/tests/e2e" "$bundle/tests/gpu"
  cp -r "$source/models" "$bundle/"
  cp "$source/tests/e2e/support.py" "$bundle/tests/e2e/"
  cp "$source/tests/gpu/test_demo.py" "$bundle/tests/gpu/"
fi
cat >"$bundle/run.sh" <<'RUN'
#!/bin/sh
# Every test, then the benchmark; the last lines say which failed. WAN_SOURCE_DIR: a source tree in place of what is packed.
here=$(cd "$(dirname "$0")" && pwd)
export WAN_SOURCE_DIR="${WAN_SOURCE_DIR:-$here}" WAN_GOLDEN_DIR="$here/golden" WAN_REQUIRE_GPU=1 WAN_BINARY="$here/bin/wan"
failed=""
for test in "$here"/bin/gpu_*test; do
  echo "== $(basename "$test")"
  "$test" --gtest_brief=1 || failed="$failed $(basename "$test")"
done
echo "== test_demo.py"
python3 -B "$WAN_SOURCE_DIR/tests/gpu/test_demo.py" || failed="$failed test_demo.py"
echo "failed:${failed:- none}"
[ ! -x "$here/bin/cuda_ops" ] || "$here/bin/cuda_ops"
[ -z "$failed" ]
RUN
chmod +x "$bundle/run.sh"
du -sh "$bundle"
