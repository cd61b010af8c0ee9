"""clang-tidy on the C++ files that changed, by the rules in .clang-tidy; status 1 for what is an error there.

python scripts/clang_tidy.py [--base COMMIT | --all] [--seconds N] [--file-seconds N] [--jobs N] [FILE…]

What counts as changed, in this order: what is named, or with --all every file; what differs from --base; what differs
from the place where this branch left its upstream or main; else, as in a fresh clone, what the last commits changed,
the latest first. No file is begun after the time is up; their names are printed. Needs build/clang (`bash build.sh
--test clang-tidy` makes it first).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ROOT / "build" / "clang" / "compile_commands.json"
# The same commands without what cmake/syntax_only.cmake puts after them.
TIDY_COMMANDS = ROOT / "build" / "clang-tidy" / "compile_commands.json"
SOURCES = (".cc", ".cpp")
HEADERS = (".h",)
FRESH_COMMITS = 40
FILE_SECONDS = 120


def git(*arguments: str) -> str | None:
    """What git prints, or None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def changed_since(commit: str) -> list[str]:
    """Files that differ between the commit and the working tree, with those that git does not know yet."""
    names = (git("diff", "--name-only", "--diff-filter=d", commit) or "").splitlines()
    return names + (git("ls-files", "--others", "--exclude-standard") or "").splitlines()


def base_commit() -> tuple[str, str] | None:
    """The commit that this work began at, and its name in words; None where nothing but this branch is known."""
    for branch in ("@{upstream}", "main@{upstream}", "main"):
        base = git("merge-base", "HEAD", branch)
        if base and base != git("rev-parse", "HEAD"):
            return base, f"where this branch left {git('rev-parse', '--abbrev-ref', branch)}"
    return None


def changed_lately() -> tuple[list[str], str]:
    """Files that the last commits changed, the latest first, after those that no commit has yet."""
    names = changed_since("HEAD")
    log = git("log", f"-{FRESH_COMMITS}", "--first-parent", "-m", "--name-only", "--format=") or ""
    names += [name for name in log.splitlines() if (ROOT / name).is_file()]
    return names, f"the last {FRESH_COMMITS} commits"


def to_check(arguments: argparse.Namespace) -> tuple[list[str], str]:
    """The files to check, and in words why these."""
    if arguments.files:
        return [os.path.relpath(os.path.abspath(name), ROOT) for name in arguments.files], "the command line"
    if arguments.base:
        if git("rev-parse", "--verify", f"{arguments.base}^{{commit}}") is None:
            sys.exit(f"scripts/clang_tidy.py: there is no commit {arguments.base!r}")
        return changed_since(arguments.base), f"the changes since {arguments.base}"
    base = base_commit()
    if base:
        return changed_since(base[0]), f"the changes since {base[0][:9]}, {base[1]}"
    return changed_lately()


def write_commands() -> dict[str, str]:
    """Writes build/clang-tidy/compile_commands.json. The text of each source in it, by its path from the root."""
    if not COMMANDS.is_file():
        sys.exit("scripts/clang_tidy.py: there is no build/clang; `bash build.sh --test clang-tidy` makes it first")
    entries = json.loads(COMMANDS.read_text())
    for entry in entries:
        entry["command"] = entry["command"].split(" && ")[0]
    TIDY_COMMANDS.parent.mkdir(exist_ok=True)
    TIDY_COMMANDS.write_text(json.dumps(entries))
    names = {os.path.relpath(entry["file"], ROOT) for entry in entries}
    return {name: (ROOT / name).read_text() for name in sorted(names) if not name.startswith("build/")}


def headers() -> dict[str, str]:
    """The text of each header that git knows, by its path from the root."""
    names = (git("ls-files", *(f"*{suffix}" for suffix in HEADERS)) or "").splitlines()
    return {name: (ROOT / name).read_text() for name in names if (ROOT / name).is_file()}


def source_with(header: str, sources: dict[str, str], between: dict[str, str] | None = None) -> str | None:
    """A source through which the header can be read: the source of its name, or else any that includes it, itself or
    by another header, which is among `between`."""
    stem = header.rsplit(".", 1)[0]
    for suffix in SOURCES:
        if stem + suffix in sources:
            return stem + suffix
    path = Path(header)
    written = re.compile(rf'#include "(?:{re.escape(path.parent.name)}/)?{re.escape(path.name)}"')
    for name, text in sources.items():
        if written.search(text):
            return name
    left = {name: text for name, text in (between or {}).items() if name != header}
    through = (source_with(name, sources, left) for name, text in left.items() if written.search(text))
    return next(filter(None, through), None)


class Finding(NamedTuple):
    source: str
    text: str  # what clang-tidy printed
    wrong: bool  # by a rule that .clang-tidy holds to be an error


def tidy(source: str, names: list[str], deadline: float, most: float = FILE_SECONDS) -> Finding | None:
    """What clang-tidy says of these files when it reads the source; None where the time was too short."""
    left = deadline - time.monotonic()
    if left <= 0:
        return None
    # A header is found through a link (cpp/CMakeLists.txt), so only the end of its path is known.
    lines = json.dumps([{"name": "/".join(Path(name).parts[-2:])} for name in names])
    command = ["clang-tidy-16", "--quiet", "-p", str(TIDY_COMMANDS.parent)]
    try:
        done = subprocess.run(
            [*command, f"--line-filter={lines}", source],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=most,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return Finding(source, done.stdout + (done.stderr if done.returncode else ""), done.returncode != 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--base", help="check what differs from this commit")
    parser.add_argument("--all", action="store_true", help="check every file")
    parser.add_argument("--file-seconds", type=float, default=FILE_SECONDS, help="the time that one file may take")
    parser.add_argument("--seconds", type=float, default=240, help="begin no further file after this time")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()

    if not arguments.files and git("rev-parse", "HEAD") is None:
        print("SKIPPED: what has changed is not known, since this is no git repository")
        return 0
    sources, between = write_commands(), headers()
    names, why = ([*sources, *between], "all of them") if arguments.all else to_check(arguments)
    checked_by: dict[str, list[str]] = {}  # a source and what is looked at when it is read
    for name in dict.fromkeys(names):
        source = name if name in sources else source_with(name, sources, between) if name.endswith(HEADERS) else None
        if source:
            checked_by.setdefault(source, []).append(name)
        elif name.endswith((*SOURCES, *HEADERS)):
            print(f"not checked, since nothing of build/clang compiles it: {name}")
    print(f"checking {sum(map(len, checked_by.values()))} files: {why}", flush=True)

    deadline = time.monotonic() + arguments.seconds
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(
            pool.map(lambda source: tidy(source, checked_by[source], deadline, arguments.file_seconds), checked_by)
        )
    found = [result for result in results if result is not None]
    wrong = [result.source for result in found if result.wrong]
    late = [source for source, result in zip(checked_by, results, strict=True) if result is None]
    print("".join(result.text for result in found), end="")
    if late:
        limits = f"{arguments.seconds:g} s, or {arguments.file_seconds:g} s for a file"
        print(f"not checked within {limits}: {', '.join(late)}")
    print(f"{len(found)} translation units were read; errors in: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
