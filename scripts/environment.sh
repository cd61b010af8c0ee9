# shellcheck shell=bash
# Python environments: which Python is meant, the tools to build with, the checkout's .venv. Sourced by build.sh.
# Uses root, python and log_dir.

pip_version=26.3

find_python() {
  local found
  if [[ -z ${PYTHON-} ]] && ! command -v python3 >/dev/null; then
    require_packages python3 >&2
  fi
  found=$(command -v "${PYTHON:-python3}") ||
    fail "there is no '${PYTHON:-python3}' to be found: install Python 3.10 or later, or name the interpreter: PYTHON=… bash build.sh"
  # A shim that chooses a Python by the current directory is replaced by what it chose.
  "$found" -c 'import sys; print(sys.executable)'
}

# fill_environment DIRECTORY PYTHON GROUP…: makes DIRECTORY a virtual environment of PYTHON with these dependency groups of
# pyproject.toml. What is there already and was made from the same is left as it is.
fill_environment() {
  local directory=$1 python=$2 name=${1##*/} wanted
  shift 2
  wanted=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)'; echo "$@"; cat pyproject.toml scripts/constraints.txt)
  wanted=$(sha256sum <<<"$wanted")
  if [[ -x $directory/bin/python && $(cat "$directory/servoir-requirements" 2>/dev/null) == "$wanted" ]]; then
    return
  fi
  # Packages that are not needed do no harm, and downloading the others again takes long; another Python does harm.
  if ! [[ -x $directory/bin/python ]] ||
    [[ $("$directory/bin/python" -c "$same_python") != "$("$python" -c "$same_python")" ]]; then
    rm -rf "$directory"
    step "$name-make" "making the virtual environment ${directory#"$root"/}" "$python" -m venv "$directory" || exit 1
  fi
  step "$name-fill" "installing Python packages into ${directory#"$root"/}" install_groups "$directory/bin/python" "$@" || exit 1
  echo "$wanted" >"$directory/servoir-requirements"
}

# What makes two Pythons interchangeable for a virtual environment.
same_python='import sys; print(sys.version, sys.base_prefix)'

install_groups() {
  local python=$1 group groups=()
  shift
  for group in "$@"; do
    groups+=(--group "$group")
  done
  "$python" -m pip install -q "pip==$pip_version" &&
    "$python" -m pip install -q -c scripts/constraints.txt "${groups[@]}" || return
  if [[ " $* " == *"examples "* || " $* " == *" test "* ]]; then
    "$python" -m pip install -q -c scripts/constraints.txt --no-deps --group models || return
  fi
  if [[ " $* " == *" test "* ]]; then
    "$python" -m pip install -q -c scripts/constraints.txt --no-deps --group test-models
  fi
}

# tools_environment PYTHON: prints the virtual environment, made from PYTHON, that has what a wheel is built with.
tools_environment() {
  local directory
  directory=$root/build/tools-$("$1" -c 'import sys; print(sys.implementation.cache_tag)')
  fill_environment "$directory" "$1" build >&2
  echo "$directory"
}

# checkout_environment PYTHON GROUP: the checkout's own .venv, for the demo and the tests.
checkout_environment() {
  fill_environment "$root/.venv" "$1" build "$2"
}
