#!/usr/bin/env bash
# Builds Servoir: the wheel, the demo, the tests. `bash build.sh -h` says how.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# shellcheck source=scripts/report.sh
source "$root/scripts/report.sh"
# shellcheck source=scripts/system_packages.sh
source "$root/scripts/system_packages.sh"
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"
# shellcheck source=scripts/wheel.sh
source "$root/scripts/wheel.sh"
# shellcheck source=scripts/stages.sh
source "$root/scripts/stages.sh"

usage() {
  cat <<'HELP'
bash build.sh [OPTIONS]

Without options: builds the wheel into dist/, for the active Python (python3, or what $PYTHON names) and with a plug-in for
every backend that it has installed.

  -p DIR                    a backend's library directory; may be repeated. SITE-PACKAGES/openvino/libs, or what
                            third_party/opencv_dnn/build.sh installed: its plug-in is built. SITE-PACKAGES/onnxruntime/capi,
                            .../mindspore/lib, .../torch/lib: is remembered as the first place to look for that package,
                            for this Python on this machine.
                            Without -p and -e native backends are looked up in the active Python
  -e cpu                    first build the embedded backend, OpenCV DNN, from source (third_party/opencv_dnn), and put it
                            into the wheel: it needs no other package. Takes some CPU minutes once, then comes from a cache.
                            --demo -e cpu without -p runs the demo in an environment that has no other backend
  -V VARIANT                with -e: the instructions it may use: generic (default), avx2, avx512, native
  -j N                      compile N files at a time (default: the cores this process may use)
  -d                        debug build
  -v                        show what the tools print
  -t on|off                 build the C++ tests as well (default: off)
  --demo                    set up .venv, build, run examples/demo.py
  --test [STAGE…]           set up .venv, build, run every check and test; or these stages of it, and only what they need
  --sanitize address|thread with --test: only the C++ tests under that sanitizer; alone: build them
  --clean                   remove build/, dist/ and .venv/ first; alone: nothing else
  -h                        this text

The stages of --test, in their order:
HELP
  list_stages
  cat <<'HELP'

Exit status: 0 done, 1 something failed, 2 the command line was wrong.
HELP
}

wrong_usage() {
  echo "build.sh: $1 (bash build.sh -h lists the options)" >&2
  exit 2
}

# argument_of OPTION COUNT [VALUE]: VALUE, if the option is not the last word.
argument_of() {
  if (($2 < 2)) || [[ $3 == -* && $3 != - ]]; then
    wrong_usage "option $1 requires $4"
  fi
}

action=wheel
given_dirs=()
backend_dirs=()
engine=
variant=
jobs=$(nproc)
build_type=Release
verbose=no
cpp_tests=
sanitizer=
clean=no
words=() # what is no option: stages of --test
option_count=$#

choose_action() {
  if [[ $action != wheel ]]; then
    wrong_usage "--$action and --$1 exclude each other"
  fi
  action=$1
}

while (($#)); do
  # -j8, -pDIR, -ton, -ecpu, -Vavx2 and --sanitize=address are read as -j 8, -p DIR, -t on and --sanitize address.
  case $1 in
    -[pjteV]?*) set -- "${1:0:2}" "${1:2}" "${@:2}" ;;
    --sanitize=*) set -- --sanitize "${1#*=}" "${@:2}" ;;
  esac
  case $1 in
    -p)
      argument_of -p $# "${2-}" "a directory"
      [[ -n $2 ]] || wrong_usage "-p takes a directory, not an empty text"
      given_dirs+=("$2")
      shift
      ;;
    -j)
      argument_of -j $# "${2-}" "a number"
      [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || wrong_usage "-j takes a number from 1 to 9999, not '$2'"
      jobs=$2
      shift
      ;;
    -d) build_type=Debug ;;
    -v) verbose=yes ;;
    -t)
      argument_of -t $# "${2-}" "on or off"
      [[ $2 == on || $2 == off ]] || wrong_usage "-t takes on or off, not '$2'"
      cpp_tests=$2
      shift
      ;;
    --demo) choose_action demo ;;
    --test) choose_action test ;;
    --sanitize)
      argument_of --sanitize $# "${2-}" "address or thread"
      [[ $2 == address || $2 == thread ]] || wrong_usage "--sanitize takes address or thread, not '$2'"
      sanitizer=$2
      shift
      ;;
    --clean) clean=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    -e)
      argument_of -e $# "${2-}" "an engine (cpu)"
      engine=$2
      shift
      ;;
    -V)
      argument_of -V $# "${2-}" "a variant (generic, avx2, avx512, native)"
      variant=$2
      shift
      ;;
    -*) wrong_usage "unknown option '$1'" ;;
    *) words+=("$1") ;;
  esac
  shift
done

if [[ $action != test ]] && ((${#words[@]})); then
  wrong_usage "unexpected argument '${words[0]}'"
fi
for word in ${words[@]+"${words[@]}"}; do
  is_stage "$word" || wrong_usage "--test has no stage '$word'; it has ${stages[*]}"
done
if [[ -n $sanitizer ]] && ((${#words[@]})); then
  wrong_usage "--sanitize chooses the stage; leave '${words[0]}' out, or --sanitize"
fi
if [[ $action == demo && -n $sanitizer ]]; then
  wrong_usage "--demo and --sanitize exclude each other"
fi
if [[ $action == test && $cpp_tests == off ]]; then
  wrong_usage "--test needs the C++ tests; leave -t off out"
fi

if [[ -n $variant && -z $engine ]]; then
  wrong_usage "-V says how the backend of -e is built; it needs -e"
fi
if [[ -n $engine ]]; then
  bash "$root/third_party/opencv_dnn/build.sh" --check -e "$engine" -V "${variant:-generic}" || exit 2
fi

# A user's wheel is not to fail because a newer compiler warns of more.
warnings_are_errors=OFF
if [[ $action == test || $cpp_tests == on ]]; then
  warnings_are_errors=ON
fi

log_dir=$root/build/log
environment=$root/.venv
python=$(find_python)
for directory in ${given_dirs[@]+"${given_dirs[@]}"}; do
  add_backend "$python" "$directory" || exit 2
done
named_dirs=(${backend_dirs[@]+"${backend_dirs[@]}"}) # by -p

cd "$root"
if [[ $clean == yes ]]; then
  if [[ $python == "$root/.venv/"* ]]; then
    python=$("$python" -c 'import sys; print(sys._base_executable)') # the active environment is about to be removed
  fi
  rm -rf build dist .venv
  if ((option_count == 1)); then
    exit 0
  fi
fi
mkdir -p "$log_dir"
used_by=$python # the interpreter that the wheel is installed for

case $action in
  wheel)
    if [[ -n $sanitizer ]]; then
      require_packages "${build_packages[@]}"
      build_preset "$sanitizer"
      say "built: ctest --test-dir build/$sanitizer runs the tests"
    else
      require_packages "${build_packages[@]}"
      require_python "$python"
      tools=$(tools_environment "$python")
      find_backends "$python"
      build_wheel "$tools" "${cpp_tests:-off}"
      say "built $wheel"
    fi
    ;;
  demo)
    require_packages "${build_packages[@]}" "${demo_packages[@]}"
    require_python "$python"
    if [[ -n $engine ]] && ((${#given_dirs[@]} == 0)); then
      environment=$root/build/embedded-environment # has no other backend, to show that none is needed
      fill_environment "$environment" "$python" build embedded-examples
    else
      checkout_environment "$python" examples
    fi
    used_by=$environment/bin/python
    find_backends "$used_by"
    build_wheel "$environment" off
    install_wheel
    say "running examples/demo.py"
    "$environment/bin/python" examples/demo.py
    ;;
  test)
    [[ -z $sanitizer ]] || words=("$sanitizer")
    chosen=()
    for stage in "${stages[@]}"; do # in their order, each once
      if ((${#words[@]} == 0)) || [[ " ${words[*]} " == *" $stage "* ]]; then
        chosen+=("$stage")
      fi
    done
    prepare_stages "${chosen[@]}"
    run_stages "${chosen[@]}"
    ;;
esac
