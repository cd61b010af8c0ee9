"""build.sh's command line: what is wrong is refused with status 2 and one line, before anything is built or removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT


def build(*options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "build.sh"), *options], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-x"], "unknown option '-x'"),
        (["--fast"], "unknown option '--fast'"),
        (["now"], "unexpected argument 'now'"),
        (["-j"], "option -j requires a number"),
        (["-j", "-d"], "option -j requires a number"),
        (["-j", "0"], "-j takes a number from 1 to 9999, not '0'"),
        (["-jmany"], "-j takes a number from 1 to 9999, not 'many'"),
        (["-t"], "option -t requires on or off"),
        (["-t", "yes"], "-t takes on or off, not 'yes'"),
        (["-p"], "option -p requires a directory"),
        (["-p", ""], "-p takes a directory, not an empty text"),
        (["--sanitize"], "option --sanitize requires address or thread"),
        (["--sanitize=memory"], "--sanitize takes address or thread, not 'memory'"),
        (["--demo", "--test"], "--demo and --test exclude each other"),
        (["--test", "lint"], "--test has no stage 'lint'; it has clang-format ruff mypy "),
        (["--test", "ruff", "-d", "everything"], "--test has no stage 'everything'"),
        (["--test", "ruff", "--sanitize", "thread"], "--sanitize chooses the stage; leave 'ruff' out"),
        (["ruff", "--demo"], "unexpected argument 'ruff'"),
        (["--demo", "--sanitize", "thread"], "--demo and --sanitize exclude each other"),
        (["--test", "-t", "off"], "--test needs the C++ tests"),
        (["-V", "avx2"], "-V says how the backend of -e is built; it needs -e"),
        (["-e"], "option -e requires an engine (cpu)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_refused_with_one_line(options: list[str], text: str) -> None:
    done = build(*options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("build.sh: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-e", "gpu"], "engine (-e) 'gpu' is unknown; this recipe knows cpu"),
        (["-ecpu", "-Vsse9"], "variant (-V) 'sse9' is unknown; this recipe knows generic avx2 avx512 native"),
    ],
    ids=["engine", "variant"],
)
def test_the_recipe_refuses_what_it_does_not_know(options: list[str], text: str) -> None:
    """Before anything is installed or built."""
    done = build(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"third_party/opencv_dnn/build.sh: {text}\n"


def test_help_names_every_option() -> None:
    done = build("-h")
    assert done.returncode == 0
    assert done.stderr == ""
    for option in ["-p", "-j", "-d", "-v", "-t", "--demo", "--test", "--sanitize", "--clean", "-h"]:
        assert f"\n  {option}" in done.stdout


def test_help_lists_the_stages() -> None:
    text = build("-h").stdout
    _, _, listed = text.partition("\nThe stages of --test, in their order:\n")
    names = [line.split()[0] for line in listed.partition("\n\n")[0].splitlines()]
    assert names[:3] == ["clang-format", "ruff", "mypy"]
    assert names[-2:] == ["python", "e2e"]
    assert build("--test", "nothing").stderr.count(" ".join(names)) == 1


def test_a_directory_without_a_backend_is_refused_and_described(tmp_path: Path) -> None:
    (tmp_path / "libother.so").touch()
    (tmp_path / "notes").mkdir()
    done = build("-p", str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path} has the libraries of no known backend" in done.stderr
    assert "looked for libopenvino_c.so* (OpenVINO)" in done.stderr
    assert "there is libother.so, notes/" in done.stderr


def test_a_directory_above_the_libraries_is_refused_with_the_right_one(tmp_path: Path) -> None:
    libraries = tmp_path / "openvino" / "libs"
    libraries.mkdir(parents=True)
    (libraries / "libopenvino_c.so.2460").touch()
    for directory in [tmp_path, tmp_path / "openvino"]:
        done = build("-p", str(directory))
        assert done.returncode == 2
        assert f"did you mean {libraries}?" in done.stderr


def test_a_missing_directory_is_refused_as_seen_from_the_callers_directory(tmp_path: Path) -> None:
    done = build("-p", "libs", cwd=tmp_path)
    assert done.returncode == 2
    assert f"there is no directory {tmp_path}/libs" in done.stderr


def test_a_refused_command_line_removes_nothing(tmp_path: Path) -> None:
    wheels = sorted((ROOT / "dist").glob("*"))
    assert build("--clean", "-p", str(tmp_path)).returncode == 2
    assert build("--clean", "--demo", "--test").returncode == 2
    assert sorted((ROOT / "dist").glob("*")) == wheels


# ---- packages of the system ------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A directory of commands that come before the real ones: a system on which no package is installed."""
    commands = tmp_path / "bin"
    commands.mkdir()
    put(commands, "dpkg-query", "echo not-installed")
    put(commands, "id", "echo 0")
    return commands


def put(commands: Path, name: str, script: str) -> None:
    (commands / name).write_text(f"#!/bin/sh\n{script}\n")
    (commands / name).chmod(0o755)


def clean_checkout(machine: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """build.sh --clean with these options and the checkout's .venv active, by a user without rights on a system without
    packages and without network.
    """
    put(machine, "id", "echo 1000")
    put(machine, "sudo", "exit 1")
    checkout = machine.parent / "checkout"
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    for file in ["build.sh", "pyproject.toml"]:
        shutil.copy(ROOT / file, checkout)
    (checkout / "dist").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], timeout=60, check=True)
    done = subprocess.run(
        ["bash", str(checkout / "build.sh"), "--clean", *options],
        env={
            **os.environ,
            "PATH": f"{machine}:{checkout / '.venv' / 'bin'}:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not (checkout / "dist").exists()
    assert not (checkout / ".venv").exists()
    return done


def test_clean_alone_does_nothing_else(machine: Path) -> None:
    done = clean_checkout(machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("option", ["-d", "-v", "-j2"])
def test_clean_with_any_option_goes_on_to_build(machine: Path, option: str) -> None:
    assert clean_checkout(machine, option).returncode == 1, "the build stops at the packages that are missing"


def test_clean_outlives_the_active_environment_that_it_removes(machine: Path) -> None:
    put(machine, "dpkg-query", "echo installed")
    done = clean_checkout(machine, "-d")
    assert "== making the virtual environment build/tools-" in done.stderr
    assert "build.sh: failed: installing Python packages into build/tools-" in done.stderr


def require_packages(machine: Path, *packages: str) -> subprocess.CompletedProcess[str]:
    script = """
    set -euo pipefail
    verbose=no log_dir=$1
    shift
    source scripts/report.sh
    source scripts/system_packages.sh
    require_packages "$@"
    """
    return subprocess.run(
        ["bash", "-c", script, "bash", str(machine.parent), *packages],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{machine}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_packages_are_installed_by_root(machine: Path) -> None:
    put(machine, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {machine}/calls')
    done = require_packages(machine, "libfirst-dev", "libsecond-dev")
    assert done.returncode == 0, done.stderr
    [call] = (machine / "calls").read_text().splitlines()
    assert call.startswith("noninteractive ")
    assert call.endswith(" install -y --no-install-recommends libfirst-dev libsecond-dev")


def test_a_package_that_several_stages_want_is_named_once(machine: Path) -> None:
    put(machine, "apt-get", f'echo "$*" >> {machine}/calls')
    done = require_packages(machine, "libfirst-dev", "libsecond-dev", "libfirst-dev")
    assert done.returncode == 0, done.stderr
    [call] = (machine / "calls").read_text().splitlines()
    assert call.endswith(" libfirst-dev libsecond-dev")
    assert call.count("libfirst-dev") == 1
    assert (done.stdout + done.stderr).count("libfirst-dev") == 1


def test_package_lists_are_fetched_only_when_needed(machine: Path) -> None:
    put(machine, "apt-get", f'echo "$*" >> {machine}/calls; case "$*" in *update*) touch {machine}/lists;; esac\n'
        f"test -e {machine}/lists")  # fmt: skip
    assert require_packages(machine, "libfirst-dev").returncode == 0
    verbs = [word for call in (machine / "calls").read_text().splitlines() for word in call.split() if word.isalpha()]
    assert verbs == ["install", "update", "install"]


def test_a_failing_apt_get_is_told_plainly(machine: Path) -> None:
    put(machine, "apt-get", 'echo "E: Unable to locate package libfirst-dev" >&2; exit 100')
    done = require_packages(machine, "libfirst-dev")
    assert done.returncode == 1
    assert "E: Unable to locate package libfirst-dev" in done.stderr
    assert "apt-get could not install libfirst-dev" in done.stderr


def test_without_root_the_line_to_type_is_printed(machine: Path) -> None:
    put(machine, "id", "echo 1000")
    put(machine, "sudo", "exit 1")
    put(machine, "apt-get", f"touch {machine}/called")
    done = require_packages(machine, "libfirst-dev", "libsecond-dev")
    assert done.returncode == 1
    assert "Type: sudo apt-get install -y libfirst-dev libsecond-dev" in done.stderr
    assert not (machine / "called").exists()


def test_sudo_is_used_when_it_asks_for_no_password(machine: Path) -> None:
    put(machine, "id", "echo 1000")
    put(machine, "sudo", f'echo "$*" >> {machine}/calls')
    assert require_packages(machine, "libfirst-dev").returncode == 0
    calls = (machine / "calls").read_text().splitlines()
    assert calls[0] == "-n true"
    assert calls[1].startswith("-n env DEBIAN_FRONTEND=noninteractive apt-get ")


def test_a_command_that_is_there_counts_as_its_package(machine: Path) -> None:
    put(machine, "clang++-16", "exit 0")
    put(machine, "apt-get", "exit 100")
    assert require_packages(machine, "clang-16").returncode == 0


# ---- stages ----------------------------------------------------------------------------------------------------------


def run_stages(directory: Path, *names: str, failing: str = "") -> subprocess.CompletedProcess[str]:
    """build.sh --test NAMES in a copy of its files, where preparing something only says what, and a stage is done by
    saying its name.
    """
    shutil.copytree(ROOT / "scripts", directory / "scripts")
    shutil.copy(ROOT / "build.sh", directory)
    with (directory / "scripts" / "stages.sh").open("a") as file:
        file.write(f"""
        require_packages() {{ echo "packages:" "$@"; }}
        require_python() {{ :; }}
        checkout_environment() {{ echo "environment: $2"; }}
        find_backends() {{ :; }}
        build_wheel() {{ echo "wheel: tests $2, errors $warnings_are_errors"; }}
        install_wheel() {{ :; }}
        for name in "${{stages[@]}}"; do
          eval "stage_${{name//-/_}}() {{ echo ran; [[ $name != '{failing}' ]]; }}"
        done
        """)
    return subprocess.run(
        ["bash", str(directory / "build.sh"), "-v", "--test", *names],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str], start: str) -> list[str]:
    return [line.removeprefix(start).strip() for line in done.stdout.splitlines() if line.startswith(start)]


def test_a_stage_alone_gets_what_it_needs_and_no_more(tmp_path: Path) -> None:
    done = run_stages(tmp_path, "ruff")
    assert done.returncode == 0, done.stderr
    assert said(done, "==") == ["ruff"]
    assert said(done, "environment:") == ["test"]
    assert said(done, "packages:") == [""]
    assert said(done, "wheel:") == []
    assert done.stdout.endswith("\n1 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("name", "wheel"),
    [("cpp", ["tests on, errors ON"]), ("python", ["tests off, errors ON"]), ("address", []), ("shellcheck", [])],
)
def test_the_wheel_is_built_only_for_what_tests_it(tmp_path: Path, name: str, wheel: list[str]) -> None:
    done = run_stages(tmp_path, name)
    assert done.returncode == 0, done.stderr
    assert said(done, "wheel:") == wheel
    assert ("g++" in done.stdout) == (name != "shellcheck")


def test_stages_run_in_their_order_whatever_the_others_said(tmp_path: Path) -> None:
    done = run_stages(tmp_path, "mypy", "clang-format", "ruff", "mypy", failing="ruff")
    assert done.returncode == 1
    assert said(done, "==") == ["clang-format", "ruff", "mypy", "failed:"]
    assert done.stdout.endswith("\n   ruff (build/log/test-ruff.log)\n2 passed, 1 failed\n")


def test_without_names_every_stage_runs(tmp_path: Path) -> None:
    done = run_stages(tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(said(done, "==")) == done.stdout.count("\nran\n")
    assert "== end-to-end tests\n" in done.stdout


def test_the_sanitizers_are_stages_too(tmp_path: Path) -> None:
    done = run_stages(tmp_path, "--sanitize", "thread")
    assert done.returncode == 0, done.stderr
    assert said(done, "==") == ["concurrent C++ tests under ThreadSanitizer"]


# ---- virtual environments --------------------------------------------------------------------------------------------


def fill_environment(directory: Path, python: str) -> str:
    """What is said; the packages are not really installed."""
    script = """
    set -euo pipefail
    verbose=no root=$1 log_dir=$1
    source scripts/report.sh
    source scripts/environment.sh
    install_groups() { echo "$@"; }
    fill_environment "$1/venv" "$2" build
    """
    return subprocess.run(
        ["bash", "-c", script, "bash", str(directory), python],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def test_an_environment_is_made_once_and_filled_again_when_the_requirements_change(tmp_path: Path) -> None:
    said = fill_environment(tmp_path, sys.executable)
    assert "making the virtual environment venv" in said
    assert "installing Python packages" in said
    assert fill_environment(tmp_path, sys.executable) == ""
    (tmp_path / "venv" / "servoir-requirements").write_text("others")
    said = fill_environment(tmp_path, sys.executable)
    assert "making" not in said
    assert "installing Python packages" in said


def test_an_environment_of_another_python_is_made_anew(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    put(python.parent, "python", "echo another")
    assert "making the virtual environment venv" in fill_environment(tmp_path, sys.executable)


# ---- adding up the tests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "failed", "counts"),
    [
        ("100% tests passed, 0 tests failed out of 12\n", 0, "12 0"),
        ("83% tests passed, 2 tests failed out of 12\n", 1, "10 2"),
        ("10 passed in 0.50s\n", 0, "10 0"),
        ("3 failed, 10 passed, 1 skipped in 61.20s (0:01:01)\n", 1, "10 3"),
        ("==== 1 failed, 2 errors in 1.00s ====\n", 1, "0 3"),
        ("All checks passed!\n", 0, "1 0"),
        ("something broke\n", 1, "0 1"),
    ],
)
def test_the_closing_lines_of_the_runners_are_added_up(tmp_path: Path, log: str, failed: int, counts: str) -> None:
    (tmp_path / "log").write_text(log)
    script = 'passed=0 failed=0; source scripts/stages.sh; count_tests "$1" "$2"; echo "$passed $failed"'
    done = subprocess.run(
        ["bash", "-euc", script, "bash", str(tmp_path / "log"), str(failed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == counts
