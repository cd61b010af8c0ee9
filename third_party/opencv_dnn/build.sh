#!/usr/bin/env bash
# Builds OpenCV's dnn module from source, for the plug-in that is Servoir's embedded backend. README.md says what and why.
#
#   bash build.sh [-e cpu] [-V generic|avx2|avx512|native] [-j N] [-v] [--check]
#
# --check only looks at the command line. Progress goes to stderr; the one line on stdout is the directory that has the
# result. Exit status: 0 done, 1 something failed, 2 the command line was wrong.
set -euo pipefail

version=5.0.0.93
archive=opencv_python_headless-$version.tar.gz
address=https://files.pythonhosted.org/packages/1d/99/76b7c80252aa83c1af16393454aafd125a0287101afe8deb0a6821af0e30/$archive
sha256=b82f9831daab90b725c7c1ee1b36cb5732c367096ac76d119e64e14eb70d5f3c
engines=(cpu)
variants=(generic avx2 avx512 native)

say() { printf '%s\n' "== OpenCV DNN: $*" >&2; }
fail() {
  printf '%s\n' "third_party/opencv_dnn/build.sh: $1" >&2
  exit "${2:-1}"
}

# choose WHAT VALUE KNOWN...: refuses what this recipe does not know.
choose() {
  local known
  for known in "${@:3}"; do
    [[ $2 == "$known" ]] && return
  done
  fail "$1 '$2' is unknown; this recipe knows ${*:3}" 2
}

engine=cpu
variant=generic
jobs=$(nproc)
verbose=no
check=no
while (($#)); do
  case $1 in
    -[eVj]?*) set -- "${1:0:2}" "${1:2}" "${@:2}" ;;
  esac
  case $1 in
    -e | -V | -j)
      (($# > 1)) || fail "option $1 requires a value" 2
      case $1 in
        -e) engine=$2 ;;
        -V) variant=$2 ;;
        -j) jobs=$2 ;;
      esac
      shift
      ;;
    -v) verbose=yes ;;
    --check) check=yes ;;
    *) fail "unknown option '$1'; there are -e, -V, -j, -v and --check" 2 ;;
  esac
  shift
done
choose "engine (-e)" "$engine" "${engines[@]}"
choose "variant (-V)" "$variant" "${variants[@]}"
[[ $jobs =~ ^[1-9][0-9]{0,3}$ ]] || fail "-j takes a number from 1 to 9999, not '$jobs'" 2

machine=$(uname -m)
if [[ $machine-$variant == x86_64-native ]]; then
  variant=generic
  flags=" $(grep -m1 '^flags' /proc/cpuinfo) "
  [[ $flags == *" avx2 "* && $flags == *" fma "* ]] && variant=avx2
  [[ $variant == avx2 && $flags == *" avx512f "* && $flags == *" avx512bw "* && $flags == *" avx512dq "* &&
    $flags == *" avx512cd "* && $flags == *" avx512vl "* ]] && variant=avx512
fi
case $machine-$variant in
  x86_64-generic) instructions=(-DCPU_BASELINE=SSE3 -DCPU_DISPATCH=AVX2) ;;
  x86_64-avx2) instructions=(-DCPU_BASELINE=AVX2 -DCPU_DISPATCH=) ;;
  # With AVX-512 as the baseline OpenCV 5.0.0 does not compile.
  x86_64-avx512) instructions=(-DCPU_BASELINE=AVX2 -DCPU_DISPATCH=AVX512_SKX) ;;
  *-native) instructions=(-DCPU_BASELINE=NATIVE -DCPU_DISPATCH=) ;;
  *-generic) instructions=() ;;
  *) fail "variant (-V) '$variant' is for x86-64; this machine is $machine, which has generic and native" 2 ;;
esac

[[ $check == no ]] || exit 0

# Only core, imgproc and dnn (and geometry and flann, which these need), nothing that reads images or video, no runtime
# that this machine may have and another has not, no downloads.
switches=(
  -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON '-DBUILD_LIST=core,imgproc,dnn'
  -DBUILD_TESTS=OFF -DBUILD_PERF_TESTS=OFF -DBUILD_EXAMPLES=OFF -DBUILD_DOCS=OFF -DBUILD_opencv_apps=OFF -DBUILD_JAVA=OFF
  -DBUILD_opencv_python3=OFF -DBUILD_opencv_js=OFF -DOPENCV_GENERATE_SETUPVARS=OFF -DOPENCV_DOWNLOAD_TRIES_LIST=
  -DENABLE_CCACHE=OFF -DENABLE_PRECOMPILED_HEADERS=ON -DBUILD_ZLIB=ON -DWITH_PROTOBUF=ON -DBUILD_PROTOBUF=ON -DPROTOBUF_UPDATE_FILES=OFF
)
for feature in 1394 ADE AVIF CANN CUDA EIGEN FFMPEG FLATBUFFERS GDAL GDCM GSTREAMER GTK IPP ITT JASPER JPEG LAPACK OBSENSOR \
  ONNXRUNTIME OPENCL OPENEXR OPENJPEG OPENMP OPENVINO PNG QUIRC TBB TIFF TIMVX UNIFONT V4L VA VA_INTEL VULKAN WEBNN WEBP; do
  switches+=("-DWITH_$feature=OFF")
done

# What a model's run does not go through is left out, or optimised less.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
reduced=$here/reduced.cmake
patches=("$here"/patches/*.patch)

# Everything that the result depends on. What is compiled for this machine's own processor fits no other one.
processor=
if [[ $variant == native ]]; then # not on x86-64
  processor=$(grep -m1 -E '^(flags|Features)' /proc/cpuinfo)
fi
compiler=$("${CXX:-c++}" -dumpfullversion -dumpversion)
# In place of OpenCV's report of its configuration, which names the builder's directories, machine and time.
report="OpenCV ${version%.*}, built by Servoir's third_party/opencv_dnn ($engine, $variant)"
hash=$(printf '%s\n' "$sha256" "$(cat "$reduced" "${patches[@]}")" "${switches[@]}" "${instructions[@]}" "$report" "$machine" "${CXX:-c++}" "$compiler" "$processor" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/servoir
prefix=$cache/opencv_dnn-$version-$engine-$variant-$hash
mkdir -p "$cache"

# One build at a time; whoever waited finds it done.
exec 9>"$cache/opencv_dnn.lock"
flock 9
if [[ -e $prefix/complete ]]; then
  say "$version ($variant) was built before: $prefix"
  printf '%s\n' "$prefix"
  exit 0
fi

matches() { [[ -f $1 ]] && printf '%s  %s\n' "$sha256" "$1" | sha256sum --check --status; }

source_archive=${SERVOIR_OPENCV_ARCHIVE:-$cache/$archive}
if ! matches "$source_archive"; then
  if [[ -n ${SERVOIR_OPENCV_ARCHIVE-} ]]; then
    fail "SERVOIR_OPENCV_ARCHIVE is '$source_archive', which is not $archive with SHA-256 $sha256"
  fi
  say "fetching $archive (82 MB) from PyPI"
  python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])' "$address" "$source_archive.part" \
    || fail "$address cannot be fetched; fetch it by hand and name the file in SERVOIR_OPENCV_ARCHIVE"
  matches "$source_archive.part" || fail "what came from $address has not the SHA-256 $sha256; nothing of it is used"
  mv "$source_archive.part" "$source_archive"
fi

work=$cache/work-$hash
rm -rf "$work" "$prefix"
mkdir -p "$work/source"
say "unpacking"
tar -xzf "$source_archive" -C "$work/source" --strip-components=2 "${archive%.tar.gz}/opencv"
rm -f "$work/source/.git" # names a repository that is not there
# The ceiling: git must not take the sources for a part of a repository that the cache may lie in.
(cd "$work/source" && GIT_CEILING_DIRECTORIES=$work git apply "${patches[@]}") || fail "the patches in $here/patches do not fit the sources"

# quietly LOG COMMAND...: its output is shown when it fails, or with -v.
quietly() {
  if [[ $verbose == yes ]]; then
    "${@:2}" >&2
  elif ! "${@:2}" > "$1" 2>&1; then
    tail -n 40 "$1" >&2
    return 1
  fi
}

# progress LOG: of ninja's "[7/530] Building …" a line for every tenth part.
progress() {
  local line told=0
  while IFS= read -r line; do
    printf '%s\n' "$line" >> "$1"
    if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] && ((10 * BASH_REMATCH[1] / BASH_REMATCH[2] > told)); then
      told=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      say "${told}0 % compiled (${BASH_REMATCH[1]} of ${BASH_REMATCH[2]} steps, $SECONDS s)"
    fi
  done
}

compile() {
  if [[ $verbose == yes ]]; then
    ninja -C "$work/build" -j "$jobs" install >&2
  elif ! ninja -C "$work/build" -j "$jobs" install 2>&1 | progress "$work/compile.log"; then
    tail -n 40 "$work/compile.log" >&2
    return 1
  fi
}

# Messages of OpenCV name its sources; not by where they were compiled. (Not in the hash: the place is named by that.)
map=-ffile-prefix-map=$work/source/=opencv/

say "configuring ($engine, $variant)"
quietly "$work/configure.log" cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_INSTALL_PREFIX="$work/installed" \
  "-DCMAKE_PROJECT_OpenCV_INCLUDE=$reduced" "-DCMAKE_C_FLAGS=$map" "-DCMAKE_CXX_FLAGS=$map" "${switches[@]}" "${instructions[@]}" || fail "configuring failed; all of it: $work/configure.log"
printf '"%s\\n"\n' "$report" > "$work/build/modules/core/version_string.inc"
say "compiling, $jobs at a time; this takes some CPU minutes, once"
SECONDS=0
compile || fail "compiling failed; all of it: $work/compile.log"
times > "$work/times"
read -r user system < <(tail -n 1 "$work/times")
say "compiled in $SECONDS s; processor time of it all: user $user, system $system"

mkdir -p "$work/installed/licences"
cp "$work/source/LICENSE" "$work/installed/licences/opencv.txt"
cp "$work/source/3rdparty/protobuf/LICENSE" "$work/installed/licences/protobuf.txt"
cp "$work/source/3rdparty/zlib/LICENSE" "$work/installed/licences/zlib.txt"
cp "$work/source/3rdparty/mlas/LICENSE" "$work/installed/licences/mlas.txt"
abi=$("${CXX:-c++}" -x c++ -dM -E -include string /dev/null | sed -n 's/^#define _GLIBCXX_USE_CXX11_ABI \([01]\)$/\1/p')
printf '{"name": "opencv_dnn", "version": "%s", "engine": "%s", "variant": "%s", "cxx11_abi": %s}\n' \
  "${version%.*}" "$engine" "$variant" "${abi:-null}" \
  > "$work/installed/servoir_backend.json"
touch "$work/installed/complete"
mv "$work/installed" "$prefix"
rm -rf "$work"
printf '%s\n' "$prefix"
