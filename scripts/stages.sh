# shellcheck shell=bash disable=SC2034,SC2154  # variables are shared with build.sh
# The stages of `build.sh --test`: each checks one thing, all are run whatever the others said. Sourced by build.sh.
# Uses root, jobs, verbose, log_dir, wheel_build. A stage's function prints what it likes and fails by its status.

# run_stages FUNCTION…: one line a stage; at the end what failed, and the tests of all stages added up. Exits with 1 if any failed.
run_stages() {
  local stage name passed=0 failed=0 failures=() skipped=()
  for stage in "$@"; do
    name=${stage#stage_}
    if step "test-$name" "${description[$name]}" "$stage"; then
      if grep -q '^SKIPPED: ' "$log_dir/test-$name.log"; then
        say "skipped: ${description[$name]}: $(sed -n 's/^SKIPPED: //p' "$log_dir/test-$name.log")"
        skipped+=("$name")
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

declare -A description=(
  [clang_format]="clang-format"
  [ruff]="ruff"
  [mypy]="mypy"
  [cpp]="C++ tests"
  [address]="C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer"
  [thread]="concurrent C++ tests under ThreadSanitizer"
  [fuzz]="fuzzers"
  [python]="Python tests"
  [e2e]="end-to-end tests"
)

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

stage_mypy() {
  .venv/bin/mypy --strict python/servoir
}

# Compiled together with the wheel, from the same objects.
stage_cpp() {
  ctest --test-dir "$wheel_build" --output-on-failure --no-tests=error -j "$jobs"
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

# The installed wheel is tested, not the sources beside it.
run_pytest() {
  env -u PYTHONPATH -u PYTHONHOME SERVOIR_WHEEL="$root/$wheel" SERVOIR_BUILD_TYPE="$build_type" .venv/bin/python -m pytest -q "$@"
}

stage_python() { run_pytest tests/python; }

stage_e2e() { run_pytest tests/e2e; }
