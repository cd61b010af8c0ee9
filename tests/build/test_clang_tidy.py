"""Which files scripts/clang_tidy.py takes for changed, and through which source it reads a header."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
from support import ROOT
from support.modules import load_module

NOTHING_NAMED = Namespace(files=[], base=None)


@pytest.fixture
def script() -> ModuleType:
    return load_module(ROOT / "scripts" / "clang_tidy.py")


@pytest.fixture
def repository(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three commits on `main`, each with a file named for it."""
    monkeypatch.setattr(script, "ROOT", tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init", "-q", "-b", "main")
    for name in ("first", "second", "third"):
        commit(tmp_path, name)
    return tmp_path


def git(repository: Path, *arguments: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "e", "GIT_COMMITTER_NAME": "n", "GIT_COMMITTER_EMAIL": "e"}
    return subprocess.run(
        ["git", "-c", "commit.gpgsign=false", *arguments],
        cwd=repository,
        env={**os.environ, **identity},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.strip()


def commit(repository: Path, name: str) -> None:
    (repository / f"{name}.cc").write_text(name)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", name)


def test_on_a_branch_what_it_changed(script: ModuleType, repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "work")
    commit(repository, "mine")
    (repository / "second.cc").write_text("changed")
    (repository / "new.cc").touch()
    (repository / "first.cc").unlink()
    names, why = script.to_check(NOTHING_NAMED)
    assert sorted(names) == ["mine.cc", "new.cc", "second.cc"]
    assert why.endswith("where this branch left main")


def test_where_no_other_branch_is_known_the_last_commits(script: ModuleType, repository: Path) -> None:
    (repository / "second.cc").write_text("changed")
    names, why = script.to_check(NOTHING_NAMED)
    assert list(dict.fromkeys(names)) == ["second.cc", "third.cc", "first.cc"]
    assert why == f"the last {script.FRESH_COMMITS} commits"


def test_in_a_fresh_clone_the_last_commits(
    script: ModuleType, repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path_factory.mktemp("clone") / "checkout"
    git(repository, "clone", "-q", str(repository), str(clone))
    monkeypatch.setattr(script, "ROOT", clone)
    names, _ = script.to_check(NOTHING_NAMED)
    assert names == ["third.cc", "second.cc", "first.cc"]


def test_against_a_commit_that_is_named(script: ModuleType, repository: Path) -> None:
    names, why = script.to_check(Namespace(files=[], base="HEAD~1"))
    assert (names, why) == (["third.cc"], "the changes since HEAD~1")
    with pytest.raises(SystemExit, match="there is no commit 'nowhere'"):
        script.to_check(Namespace(files=[], base="nowhere"))


def test_a_header_is_read_through_the_source_of_its_name_or_one_that_includes_it(script: ModuleType) -> None:
    sources = {
        "cpp/src/base/log.cc": '#include "base/log.h"\n',
        "cpp/src/net/loop.cc": '#include "base/forever.h"\n#include "net/loop.h"\n',
    }
    assert script.source_with("cpp/src/base/log.h", sources) == "cpp/src/base/log.cc"
    assert script.source_with("cpp/src/base/forever.h", sources) == "cpp/src/net/loop.cc"
    assert script.source_with("cpp/src/base/other.h", sources) is None
    headers = {
        "cpp/src/base/forever.h": '#include "base/between.h"\n',
        "cpp/src/base/between.h": '#include "base/other.h"\n',
        "cpp/src/base/other.h": '#include "base/forever.h"\n',  # in a circle
    }
    assert script.source_with("cpp/src/base/other.h", sources, headers) == "cpp/src/net/loop.cc"
    assert script.source_with("cpp/src/base/nowhere.h", sources, headers) is None


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The script in a checkout of its own, and a clang-tidy that finds fault with bad.cc only."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "clang_tidy.py").write_text((ROOT / "scripts" / "clang_tidy.py").read_text())
    (tmp_path / "build" / "clang").mkdir(parents=True)
    entries = []
    for name in ("good.cc", "bad.cc"):
        (tmp_path / name).touch()
        entries.append(
            {"directory": str(tmp_path), "file": str(tmp_path / name), "command": f"clang {name} && touch x"}
        )
    (tmp_path / "build" / "clang" / "compile_commands.json").write_text(json.dumps(entries))
    fake = tmp_path / "bin" / "clang-tidy-16"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\ncase "$*" in *bad.cc) echo "bad.cc: a mistake"; exit 1;; esac\n')
    fake.chmod(0o755)
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(checkout / "scripts" / "clang_tidy.py"), *arguments],
        cwd=checkout,
        env={**os.environ, "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_found_fails_it(checkout: Path) -> None:
    assert run(checkout, "good.cc").returncode == 0
    done = run(checkout, "good.cc", "bad.cc")
    assert done.returncode == 1
    assert "bad.cc: a mistake" in done.stdout
    assert "2 translation units were read; errors in: bad.cc" in done.stdout
    commands = json.loads((checkout / "build" / "clang-tidy" / "compile_commands.json").read_text())
    assert [entry["command"] for entry in commands] == ["clang good.cc", "clang bad.cc"]


def test_it_says_what_it_has_not_come_to(checkout: Path) -> None:
    done = run(checkout, "--seconds", "0", "good.cc", "bad.cc")
    assert done.returncode == 0
    assert re.search("^not checked within 0 s, .*: good.cc, bad.cc$", done.stdout, re.MULTILINE)


def test_every_file(checkout: Path) -> None:
    git(checkout, "init", "-q")
    commit(checkout, "good")
    done = run(checkout, "--all")
    assert "checking 2 files: all of them" in done.stdout
    assert done.returncode == 1


def test_a_file_that_takes_too_long(checkout: Path) -> None:
    (checkout / "bin" / "clang-tidy-16").write_text("#!/bin/sh\nexec sleep 60\n")
    done = run(checkout, "--file-seconds", "0.1", "good.cc")
    assert re.search("^not checked within .* or 0.1 s for a file: good.cc$", done.stdout, re.MULTILINE)


def test_without_git_it_is_skipped(checkout: Path) -> None:
    assert run(checkout).stdout.startswith("SKIPPED: ")
