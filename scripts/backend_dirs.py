"""The library directories of native backends, for build.sh.

backend_dirs.py find           prints those that the running interpreter has installed, one a line
backend_dirs.py check DIR      ends with 2 and says why when DIR is not one
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# The backend's name, a pattern for the library its plug-in loads, and where its PyPI package keeps that.
BACKENDS = {"OpenVINO": ("libopenvino_c.so*", "openvino", "libs")}


def find() -> list[Path]:
    """Those of the packages installed for this interpreter. Imports none of them."""
    found = []
    for pattern, package, folder in BACKENDS.values():
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            directory = Path(place) / folder
            if any(directory.glob(pattern)):
                found.append(directory)
    return found


def objection(directory: Path) -> str:
    """Why `directory` is not a backend's; empty if it is one."""
    if not directory.is_dir():
        return f"{directory} is not a directory" if directory.exists() else f"there is no directory {directory}"
    if any(any(directory.glob(pattern)) for pattern, _, _ in BACKENDS.values()):
        return ""
    sought = ", ".join(f"{pattern} ({name})" for name, (pattern, _, _) in BACKENDS.items())
    names = sorted(entry.name + "/" * entry.is_dir() for entry in directory.iterdir())
    there = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "nothing"
    hint = "".join(
        f"; did you mean {directory / folder}?"
        for pattern, package, libs in BACKENDS.values()
        for folder in (libs, f"{package}/{libs}")
        if any((directory / folder).glob(pattern))
    )
    return f"{directory} has the libraries of no known backend: looked for {sought}, there is {there}{hint}"


def main(arguments: list[str]) -> int:
    if arguments == ["find"]:
        for directory in find():
            print(directory)
        return 0
    if len(arguments) == 2 and arguments[0] == "check":
        text = objection(Path(arguments[1]).absolute())
        if text:
            print(f"build.sh: -p: {text}", file=sys.stderr)
        return 2 if text else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
