#!/bin/sh
# Installs the Debian packages that a build (and, with "test" or "ci", the tests and checks) needs, and nothing else.
# usage: install_dependencies.sh [build|test|ci]
# Does nothing where all of them are there. Without root it uses sudo, or prints the one line to run.
set -eu

packages="cmake ninja-build g++ pkg-config libfmt-dev libspdlog-dev nlohmann-json3-dev libcli11-dev libdnnl-dev
  libicu-dev libpng-dev libjpeg62-turbo-dev libwebp-dev libavcodec-dev libavformat-dev libavutil-dev
  libswscale-dev libswresample-dev libsoxr-dev libcurl4-openssl-dev"
# Processes on two machines, in network namespaces: MPI and ip. A program that speaks. A build on one machine needs no MPI.
tested="libgtest-dev libgmock-dev zlib1g-dev python3 libopenmpi-dev openmpi-bin iproute2 espeak-ng libonnx-testdata"
case "${1:-build}" in
  build) ;;
  test) packages="$packages $tested" ;;
  ci) packages="$packages $tested clang clang-format clang-tidy libclang-rt-dev libomp-dev libbenchmark-dev git" ;;
  *) echo "usage: $0 [build|test|ci]" >&2; exit 2 ;;
esac

missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=""
elif command -v sudo >/dev/null 2>&1; then
  as_root="sudo"
else
  echo "packages are missing; as root, run:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
  exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
