# shellcheck shell=bash
# What the build needs from the system, and getting it on Debian and its relatives. Sourced by build.sh.

build_packages=(g++ cmake ninja-build pkg-config git ccache
  libboost-dev libnghttp2-dev libssl-dev libsimdjson-dev libprotozero-dev libspdlog-dev libgtest-dev)
demo_packages=(curl)

# Commands that stand for a package, however they came to be installed. Libraries count only as packages, since a header
# that happens to lie somewhere says nothing about what it was built for.
declare -A command_of=([g++]=g++ [cmake]=cmake [ninja-build]=ninja [pkg-config]=pkg-config [git]=git [ccache]=ccache [curl]=curl
  [nghttp2-client]=h2load [clang-16]=clang++-16 [clang-tidy-16]=clang-tidy-16 [shellcheck]=shellcheck)

is_installed() {
  local command=${command_of[$1]-}
  if [[ -n $command ]] && command -v "$command" >/dev/null; then
    return 0
  fi
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# require_packages PACKAGE…: installs those that are missing, or says what to type.
require_packages() {
  local package wanted=() missing=()
  for package in "$@"; do # each once, although several stages may want it
    [[ " ${wanted[*]-} " == *" $package "* ]] || wanted+=("$package")
  done
  if ! command -v dpkg-query >/dev/null; then
    say "this system has no dpkg: make sure that it has the equivalents of Debian's ${wanted[*]-}"
    return
  fi
  for package in ${wanted[@]+"${wanted[@]}"}; do
    is_installed "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    return
  fi
  local as_root=()
  if [[ $(id -u) != 0 ]]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      fail "packages of the system are missing, and only root can install them. Type: sudo apt-get install -y ${missing[*]}"
    fi
    as_root=(sudo -n)
  fi
  step apt "installing ${missing[*]}" apt_install "${missing[@]}" ||
    fail "apt-get could not install ${missing[*]} (see its output above). When it says that there is no such package: this" \
      "needs Debian 12 or a relative as new"
}

apt_install() {
  local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q)
  # Package lists that were never fetched, or name versions that are gone, are the common reason for a first failure.
  "${install[@]}" install -y --no-install-recommends "$@" ||
    { "${install[@]}" update && "${install[@]}" install -y --no-install-recommends "$@"; }
}

# require_python PYTHON: what compiling an extension for it and making a virtual environment with it needs.
require_python() {
  local packages=() version
  if "$1" -c 'import sys; sys.exit(sys.version_info >= (3, 10))'; then
    fail "$1 is $("$1" -V), and Servoir needs 3.10 or later"
  fi
  version=$("$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  "$1" -c 'import os, sysconfig as s; open(os.path.join(s.get_path("include"), "Python.h"))' 2>/dev/null ||
    packages+=("$version-dev")
  "$1" -c 'import ensurepip, venv' 2>/dev/null || packages+=("$version-venv")
  if ((${#packages[@]} == 0)); then
    return
  fi
  if [[ $("$1" -c 'import sys; print(sys.base_prefix)') != /usr ]]; then
    fail "$1 lacks what ${packages[*]} have in Debian (Python.h, or the module ensurepip), and it is not the system's Python:" \
      "install a complete Python, or choose another: PYTHON=/usr/bin/python3 bash build.sh"
  fi
  require_packages "${packages[@]}"
}
