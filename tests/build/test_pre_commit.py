"""What `git commit` checks: the hooks are stages of build.sh, so that neither says anything that the other does not."""

from __future__ import annotations

import subprocess
import sys

import yaml
from support import ROOT


def test_pre_commit_takes_the_configuration() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_hook_is_a_stage() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    help_text = subprocess.run(
        ["bash", str(ROOT / "build.sh"), "-h"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    stages = {line.split()[0] for line in help_text.partition("The stages of --test")[2].splitlines()[1:] if line}
    for hook in repository["hooks"]:
        assert hook["id"] in stages
        assert hook["entry"] == f"bash build.sh --test {hook['id']}"
        assert hook["language"] == "system"


def test_ruff_checks_every_python_file() -> None:
    """By itself it passes over every folder that is named build, and with it over this one."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--show-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {str(path) for path in (ROOT / "tests").rglob("*.py")} <= set(done.stdout.splitlines())
