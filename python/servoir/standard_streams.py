"""The standard streams of a process. They may be closed, full, or read by nobody: none of that ends what is served."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any

_STDERR = 2
_PATIENCE_MS = 50  # a reader may be late for a moment


def take_descriptors() -> None:
    """Opens /dev/null as those of the descriptors 0 to 2 that are closed. The next file or socket would have their
    numbers: it would be sent what is written to standard error, and lost to a child that has a standard input."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)


def say(line: str) -> None:
    """Writes a line to standard output, unless that takes nothing."""
    stream = sys.stdout
    fd = _descriptor(stream)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the last two: it is closed, or None
        if fd is None:
            print(line, flush=True)
        elif _takes_text(fd):
            stream.flush()
            # Not through the stream, which would keep what cannot be written, and fail again at the script's end.
            os.write(fd, f"{line}\n".encode(stream.encoding, "backslashreplace"))


def is_standard_error(stream: Any) -> bool:
    """Whether the stream writes to the process's standard error, and not to what a notebook or a test has put there."""
    return _descriptor(stream) == _STDERR


def never_fail() -> None:
    """From now on what this process prints never raises an exception: what cannot be written is dropped, and characters
    that the encoding does not have are written as escapes."""
    sys.stdout = _forgiving(sys.stdout, 1)
    sys.stderr = _forgiving(sys.stderr, _STDERR)


def _descriptor(stream: Any) -> int | None:
    try:
        number: int = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
    return number


def _takes_text(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(_PATIENCE_MS))


def _forgiving(stream: Any, fd: int) -> io.TextIOWrapper:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    buffered = io.BufferedWriter(_Forgiving(fd, "w", closefd=False))
    return io.TextIOWrapper(buffered, encoding=encoding, errors="backslashreplace", line_buffering=True)


class _Forgiving(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
