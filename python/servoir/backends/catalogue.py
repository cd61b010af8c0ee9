"""The catalogue of backends: one record for each, in catalogue.json, in order of precedence.

The file is read here, by CMake (cmake/record_directories.cmake and cpp/src/backends), and by scripts/backend_dirs.py,
which loads this module before anything is installed: it imports Python's own library only.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class BackendRecord:
    """What there is to know of a backend without loading it."""

    name: str
    title: str  # what people call it
    # "plugin": a native plug-in that opens the runtime's library; "embedded": a plug-in with the runtime inside;
    # "package": a Python package.
    kind: Literal["plugin", "embedded", "package"]
    class_path: str  # "servoir.backends.torch.backend.Torch", a class like interface.Backend; "class" in the file
    formats: tuple[str, ...]  # as file_format() names them
    tested: tuple[str, str]  # the oldest and newest version, with as many numbers as count
    libraries: tuple[str, ...]  # patterns: a directory with one of these is this backend's
    folder: str  # where the libraries are, in the package or in the installation
    extra: str = ""  # of pyproject.toml, which installs the runtime
    package: str = ""  # the Python package that brings the runtime
    lookalikes: tuple[str, ...] = ()  # patterns: libraries of this runtime that are of no use here
    extension: str = ""  # of a package: the file that Python loads of it, without its suffix
    version_file: str = ""  # of a package: "__version__ = '1.2.3'" is in it, where there is no other record of it
    header: str = ""  # what a plug-in is built from: its header, or the CMake package of an embedded runtime
    version_function: str = ""  # of a plug-in's library: fills a struct that begins with the version, a char*


@functools.cache
def records() -> dict[str, BackendRecord]:
    """By name, in order of precedence."""
    made = [_record(entry) for entry in _content()["backends"]]
    return {record.name: record for record in made}


def header_places() -> list[str]:
    """Where a runtime's headers are, seen from the directory of its libraries."""
    places: list[str] = _content()["header_places"]
    return places


def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8"))
    return content


def _record(entry: dict[str, str | list[str]]) -> BackendRecord:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return BackendRecord(class_path=fields.pop("class"), **fields)  # type: ignore[arg-type]
