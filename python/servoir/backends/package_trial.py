"""Trying out a backend's Python package in a process of its own, because importing one that is broken may end, crash or
hang the process.

What is tried is the extension that the package is made of, with all the libraries that it needs. What a trial found is
remembered as long as the file is the same, except for what the loader refuses: that may be another file's fault.
"""

from __future__ import annotations

import os
import sys

from servoir import _core
from servoir.backends.native import trial_seconds

# Without site-packages, which takes longer than most trials. It reports as discovery/trial.h says, and goes when its
# parent goes.
_PROGRAM = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
try:
    ctypes.PyDLL(sys.argv[1], mode=os.RTLD_NOW | os.RTLD_LOCAL)
except OSError as error:
    os.write(3, b"refused %s\\0" % str(error).encode(errors="backslashreplace"))
os.write(3, b"end\\0")
os._exit(0)
"""

_Identity = tuple[str, int, int, int, int]
_known: dict[_Identity, str] = {}


def refusal(extension: str) -> str:
    """Why it cannot be loaded, to continue "PATH …"; "" if it can."""
    if problem := _core.check_library(extension):
        return problem
    identity = _identity(extension)
    if identity in _known:
        return _known[identity]
    records, failure = _core.run_trial([sys.executable, "-I", "-S", "-c", _PROGRAM, extension], trial_seconds())
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
