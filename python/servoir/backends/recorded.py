"""The directories that `bash build.sh -p` was given, as the wheel remembers them.

    backend_dirs.json := {"directories": {backend: [path]}, "place": text}

They come first for the interpreter, on the machine, that they were given for ("place"). For any other they are a
stranger's directories: they come last, after what the interpreter has itself.

The build runs this module before the package is installed: `recorded.py` prints the place of the running interpreter.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from dataclasses import dataclass

FILE = "backend_dirs.json"
PLACE = "given to build.sh -p"  # why the directories are looked at


@dataclass(frozen=True)
class RecordedDirectories:
    first: tuple[str, ...] = ()  # before the interpreter's own packages
    last: tuple[str, ...] = ()  # after them


def place() -> str:
    """A text that is this interpreter's, on this machine, alone."""
    return hashlib.sha256("\0".join([_machine(), os.path.realpath(sys.prefix)]).encode()).hexdigest()


def _machine() -> str:
    try:
        with open("/etc/machine-id", encoding="ascii", errors="replace") as file:
            identity = file.read().strip()
    except OSError:
        identity = ""
    return identity or socket.gethostname()


def recorded_directories(plugins: str, backend: str) -> RecordedDirectories:
    """`plugins`: the directory with the file. Without a file nothing is recorded."""
    try:
        with open(os.path.join(plugins, FILE), encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        return RecordedDirectories()
    directories = tuple(str(directory) for directory in content["directories"].get(backend, []))
    if content.get("place") == place():
        return RecordedDirectories(first=directories)
    return RecordedDirectories(last=directories)


if __name__ == "__main__":
    print(place())
