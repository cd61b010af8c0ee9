"""Trying out a backend's Python package in a process of its own, because importing a broken package may end, crash or
hang the process.

What is tried is the extension that the package is made of, with all the libraries that it needs. What a trial found is
remembered as long as the file is the same, except for what the loader refuses: that may be another file's fault.
"""

from __future__ import annotations

import os
import sys

from servoir import _core
from servoir.backends.native import trial_seconds

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trial_program.py")
_REPORT = "3"  # the descriptor that run_trial() reads

_Identity = tuple[str, int, int, int, int]
_known: dict[_Identity, str] = {}


def refusal(extension: str) -> str:
    """Why it cannot be loaded, to continue "PATH …"; "" if it can."""
    if problem := _core.check_library(extension):
        return problem
    identity = _identity(extension)
    if identity in _known:
        return _known[identity]
    records, failure = _core.run_trial([sys.executable, "-I", "-S", _PROGRAM, _REPORT, extension], trial_seconds())
    said = dict(records).get("refused")
    if said is not None:
        at_fault = (
            "cannot be loaded" if said.startswith(extension) else "cannot be loaded because of a library it needs"
        )
        return f"{at_fault}: {said}"
    _known[identity] = failure
    return failure


def _identity(path: str) -> _Identity:
    status = os.stat(path)
    return (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
