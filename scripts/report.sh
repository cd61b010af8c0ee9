# shellcheck shell=bash
# Telling what happens: one line a step, the tools' own output only when asked for or when they fail. Sourced by build.sh.
# Uses verbose and log_dir.

say() { echo "== $*"; }

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

# step NAME WHAT COMMAND…: says WHAT and the seconds it took. The command's output goes to build/log/NAME.log, and when it fails
# the end of that is shown; the step's status is the command's.
step() {
  local name=$1 what=$2 start=$SECONDS status=0
  shift 2
  if [[ $verbose == yes ]]; then
    say "$what"
    "$@" 2>&1 | tee "$log_dir/$name.log"
    status=${PIPESTATUS[0]}
  else
    printf '== %s … ' "$what"
    "$@" >"$log_dir/$name.log" 2>&1 || status=$?
  fi
  if ((status == 0)); then
    [[ $verbose == yes ]] || echo "$((SECONDS - start)) s"
  else
    [[ $verbose == yes ]] || {
      echo "failed after $((SECONDS - start)) s"
      tail -n 60 "$log_dir/$name.log" | sed 's/^/   /'
    } >&2
    echo "build.sh: failed: $what (all of the output: build/log/$name.log)" >&2
  fi
  return "$status"
}
