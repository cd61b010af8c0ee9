# shellcheck shell=bash
# The stages of `build.sh --test`: each checks one thing, all are run whatever the others said. Sourced by build.sh.
# Uses root, python, jobs, verbose, log_dir, environment, wheel, wheel_build, build_type. A stage's function prints what it likes and
# fails by its status.

# In the order in which they are run: what is quick comes first.
stages=(clang-format ruff mypy shellcheck clang clang-tidy cpp address thread fuzz stubtest python e2e)

declare -A description=(
  [clang-format]="clang-format"
  [ruff]="ruff"
  [mypy]="mypy"
  [shellcheck]="shellcheck"
  [clang]="clang's warnings"
  [clang-tidy]="clang-tidy on what changed"
  [cpp]="C++ tests"
  [address]="C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer"
  [thread]="concurrent C++ tests under ThreadSanitizer"
  [fuzz]="fuzzers"
  [stubtest]="_core.pyi against the extension"
  [python]="Python tests"
  [e2e]="end-to-end tests"
)

# What must be there first: "environment" is .venv, "wheel" the wheel installed in it, "build" what a C++ build needs; other words
# are packages of the system.
declare -A needs=(
  [clang-format]="environment"
  [ruff]="environment"
  [mypy]="environment"
  [shellcheck]="shellcheck"
  [clang]="environment build clang-16 libbenchmark-dev"
  [clang-tidy]="environment build clang-16 clang-tidy-16 libbenchmark-dev"
  [cpp]="wheel"
  [address]="build"
  [thread]="build"
  [fuzz]="build clang-16 libclang-rt-16-dev"
  [stubtest]="wheel"
  [python]="wheel"
  [e2e]="wheel curl nghttp2-client"
)

# is_stage NAME
is_stage() { [[ -n $1 && -n ${description[$1]-} ]]; }

# list_stages: for the help text, a line each.
list_stages() {
  local name
  for name in "${stages[@]}"; do
    printf '  %-14s%s\n' "$name" "${description[$name]}"
  done
}

# prepare_stages NAME…: installs and builds what these stages need, and nothing else.
prepare_stages() {
  local words packages=() word
  words=" $(for word in "$@"; do echo -n "${needs[$word]} "; done)"
  for word in $words; do
    case $word in
      environment) ;;
      wheel | build) packages+=("${build_packages[@]}") ;;
      *) packages+=("$word") ;;
    esac
  done
  require_packages "${packages[@]}"
  if [[ $words == *" environment "* || $words == *" wheel "* ]]; then
    require_python "$python"
    checkout_environment "$python" test
  fi
  if [[ $words == *" wheel "* ]]; then
    used_by=$environment/bin/python
    find_backends "$used_by"
    if [[ " $* " == *" cpp "* ]]; then
      build_wheel "$environment" on
    else
      build_wheel "$environment" off
    fi
    install_wheel
  fi
}

# run_stages NAME…: one line a stage; at the end what failed, and the tests of all stages added up. Exits with 1 if any failed.
run_stages() {
  local name passed=0 failed=0 failures=()
  for name in "$@"; do
    if step "test-$name" "${description[$name]}" "stage_${name//-/_}"; then
      if grep -q '^SKIPPED: ' "$log_dir/test-$name.log"; then
        say "skipped: ${description[$name]}: $(sed -n 's/^SKIPPED: //p' "$log_dir/test-$name.log")"
        continue
      fi
      count_tests "$log_dir/test-$name.log" 0
    else
      failures+=("${description[$name]} (build/log/test-$name.log)")
      count_tests "$log_dir/test-$name.log" 1
    fi
  done
  if ((${#failures[@]})); then
    say "failed:"
    printf '   %s\n' "${failures[@]}"
  fi
  echo "$passed passed, $failed failed"
  ((failed == 0))
}

# count_tests LOG FAILED: adds the tests that LOG's closing lines tell of to passed and failed; a stage that tells of none counts
# as one test, and a stage that failed counts at least one failure.
count_tests() {
  local good bad
  read -r good bad < <(awk '
    match($0, /^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+/) { split($0, word, " "); bad += word[4]; good += word[9] - word[4] }
    /^=+ .*in [0-9.]+s.* =+$/ || /^[0-9].* in [0-9.]+s( \(.*\))?$/ {
      for (i = 2; i <= NF; ++i) {
        if ($i ~ /^passed,?$/) good += $(i - 1)
        if ($i ~ /^(failed|errors?),?$/) bad += $(i - 1)
      }
    }
    END { print good + 0, bad + 0 }' "$1")
  if (($2 && bad == 0)); then
    bad=1
  elif ((good + bad == 0)); then
    good=1
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
}

stage_clang_format() {
  find cpp tests bench \( -name '*.h' -o -name '*.cc' -o -name '*.cpp' \) -print0 | xargs -0 .venv/bin/clang-format --dry-run -Werror
}

stage_ruff() {
  .venv/bin/ruff check . && .venv/bin/ruff format --check .
}

# The package strictly, everything else as pyproject.toml says.
stage_mypy() {
  .venv/bin/mypy
}

stage_stubtest() {
  .venv/bin/python -m mypy.stubtest servoir._core --allowlist scripts/stubtest_allowlist.txt
}

# With what they source: the variables that they share are looked for in all of them.
stage_shellcheck() {
  shellcheck -x -a build.sh third_party/opencv_dnn/build.sh
}

# Compiled together with the wheel, from the same objects.
stage_cpp() {
  ctest --test-dir "$wheel_build" --output-on-failure --no-tests=error -j "$jobs"
}

# Every file of the repository, the extension and the tests as well, for its warnings; no code is made.
stage_clang() {
  configure_clang && cmake --build --preset clang -j "$jobs" -- -k 0
}

configure_clang() {
  cmake --preset clang -DPython_EXECUTABLE="$root/.venv/bin/python" -Dpybind11_DIR="$(.venv/bin/python -m pybind11 --cmakedir)"
}

stage_clang_tidy() {
  configure_clang && .venv/bin/python scripts/clang_tidy.py --jobs "$jobs"
}

# build_preset PRESET [TARGET]: a build of the C++ parts in build/PRESET (CMakePresets.json).
build_preset() {
  step "build-$1" "building build/$1" compile_preset "$@" || exit 1
}

compile_preset() {
  cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs" ${2:+--target "$2"}
}

# The sanitizers map their shadow at fixed places, which a kernel with many random bits in its addresses may have taken.
without_address_randomisation() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then
    setarch "$(uname -m)" -R "$@"
  else
    "$@"
  fi
}

stage_address() {
  compile_preset address &&
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
      without_address_randomisation ctest --test-dir build/address --output-on-failure --no-tests=error -j "$jobs"
}

stage_thread() {
  compile_preset thread servoir_concurrent_tests &&
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
      without_address_randomisation ctest --test-dir build/thread -L concurrent --output-on-failure --no-tests=error -j "$jobs"
}

# Each fuzzer for the seconds that tests/fuzz/CMakeLists.txt gives it.
stage_fuzz() {
  if ! command -v clang++-16 >/dev/null; then
    echo "SKIPPED: there is no clang++-16"
    return
  fi
  compile_preset fuzz &&
    without_address_randomisation ctest --test-dir build/fuzz -L fuzz --output-on-failure --no-tests=error -j "$jobs"
}

# The tests use the installed wheel, not the sources of this checkout.
run_pytest() {
  env -u PYTHONPATH -u PYTHONHOME SERVOIR_WHEEL="$root/$wheel" SERVOIR_BUILD_TYPE="$build_type" .venv/bin/python -m pytest -q "$@"
}

stage_python() { run_pytest tests/python tests/build tests/docs; }

stage_e2e() { run_pytest tests/e2e; }
