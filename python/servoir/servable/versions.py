"""The versions of a servable on disk: directories whose names are positive numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

LARGEST_VERSION = 2**64 - 1  # that a request can ask for
_VERSION = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)


def version_names(names: Iterable[str]) -> tuple[list[int], list[str]]:
    """The versions among the names of directories, and the names that look like one but have leading zeros."""
    versions: list[int] = []
    odd: list[str] = []
    for name in names:
        if _VERSION.match(name):
            versions.append(int(name))
        elif _VERSION.match(name.lstrip("0")):
            odd.append(name)
    return sorted(versions), sorted(odd)


def versions_on_disk(servable: str) -> tuple[list[int], list[str]]:
    with os.scandir(servable) as entries:
        return version_names(entry.name for entry in entries if entry.is_dir())


def version_directory(servable: str, version: int) -> str:
    """The directory with the model files of this version. RuntimeError, saying what there is, if it is missing."""
    versions, _ = versions_on_disk(servable)
    if not versions:
        raise RuntimeError(
            f"there is no valid version directory in '{servable}'; the model files belong in a directory such as"
            f" '{os.path.join(servable, '1')}'"
        )
    if version not in versions:
        there = ", ".join(map(str, versions))
        raise RuntimeError(f"there is no version directory {version} in '{servable}'; there are {there}")
    return os.path.join(servable, str(version))
