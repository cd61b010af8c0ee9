# shellcheck shell=bash
# The wheel: compiled in a directory that later builds go on with, its libraries grafted, installed. Sourced by build.sh.
# Uses root, jobs, verbose, build_type, warnings_are_errors, engine, variant, environment, backend_dirs, named_dirs, used_by; sets wheel.

# find_backends PYTHON: without -p, the native backends that PYTHON has installed, without those that cannot be used. With -e
# the embedded backend as well.
find_backends() {
  local directory
  if ((${#backend_dirs[@]} == 0)); then
    while IFS= read -r directory; do
      add_backend "$1" "$directory" || say "the wheel will have no plug-in for it"
    done < <("$1" scripts/backend_dirs.py find)
  fi
  [[ -z $engine ]] || build_embedded_backend "$1"
  if ((${#backend_dirs[@]} == 0)); then
    say "no native backend is installed in $1: the wheel will have no plug-in (Python backends need none)"
  fi
}

# add_backend PYTHON DIRECTORY: recognises the backend there, says so, and adds its libraries' directory to backend_dirs.
add_backend() {
  local recognised line lines
  recognised=$("$1" "$root/scripts/backend_dirs.py" check "$2") || return
  mapfile -t lines <<< "$recognised"
  backend_dirs+=("${lines[0]}")
  for line in "${lines[@]:1}"; do
    say "$line"
  done
}

# build_embedded_backend PYTHON: OpenCV DNN from source, whose directory then is like those of -p.
build_embedded_backend() {
  local options=(-e "$engine" -V "${variant:-generic}" -j "$jobs") directory
  [[ $verbose == no ]] || options+=(-v)
  directory=$(bash "$root/third_party/opencv_dnn/build.sh" "${options[@]}") || exit
  add_backend "$1" "$directory" || exit
}

# build_wheel ENVIRONMENT on|off: builds with the tools of ENVIRONMENT, C++ tests or not, and sets wheel to the file in dist/.
build_wheel() {
  local tag raw
  tag=$("$1/bin/python" -c 'import sys; print(sys.implementation.cache_tag)')
  wheel_build=$root/build/wheel-$tag-${build_type,,}
  raw=$wheel_build-raw
  rm -rf "$raw"
  step wheel "building the wheel ($build_type, $jobs at a time)" compile_wheel "$1" "$2" "$raw" || exit 1
  mkdir -p dist
  PATH=$1/bin:$PATH step audit "grafting its libraries" graft_wheel "$1/bin/python" "$raw" || exit 1
  wheel=$(ls "$raw"/grafted/*.whl)
  wheel=dist/${wheel##*/}
  # Only one wheel for a Python is kept: the wheel of an older version next to it would be a trap for `pip install dist/*`.
  rm -f dist/servoir-*-"$("$1/bin/python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')"-*.whl
  mv "$raw"/grafted/*.whl "$wheel"
}

compile_wheel() {
  local directories given place
  directories=$(IFS=';' && echo "${backend_dirs[*]}")
  # What was found in an environment is found there again; only what the user has named is remembered.
  given=$(IFS=';' && echo "${named_dirs[*]}")
  place=$("$used_by" "$root/python/servoir/backends/recorded.py")
  CMAKE_GENERATOR=Ninja CMAKE_BUILD_PARALLEL_LEVEL=$jobs "$1/bin/python" -m pip wheel . -v --no-deps --no-build-isolation \
    --wheel-dir "$3" -C build-dir="$wheel_build" -C cmake.build-type="$build_type" \
    -C cmake.define.SERVOIR_BACKEND_DIRS="$directories" \
    -C cmake.define.SERVOIR_RECORDED_DIRS="$given" -C cmake.define.SERVOIR_RECORDED_FOR="$place" \
    -C cmake.define.SERVOIR_BUILD_TESTS="${2^^}" \
    -C cmake.define.SERVOIR_WARNINGS_ARE_ERRORS="$warnings_are_errors"
}

graft_wheel() {
  "$1" -m auditwheel repair --wheel-dir "$2/grafted" "$2"/*.whl && "$1" -m auditwheel show "$2"/grafted/*.whl
}

# The dependencies are there, and pip would ask the network about them.
install_wheel() {
  step install "installing $wheel into ${environment#"$root"/}" "$environment/bin/python" -m pip install -q --no-deps --force-reinstall "$wheel" || exit 1
}
