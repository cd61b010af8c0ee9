"""The file that a worker's standard output and standard error go to."""

from __future__ import annotations

import fcntl
import os
from typing import IO

from servoir import log

TAIL_BYTES = 8192
_TAIL_LINES = 60  # the trace of a crash included


def open_log(path: str, *, empty: bool) -> IO[bytes]:
    """Opens the log for appending. `empty`: its content is dropped first, unless another server's worker writes to the
    same file, which its lock on the file shows. Every process holds such a lock on its log."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    output = open(path, "ab")  # noqa: SIM115
    try:
        if empty:
            try:
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
                output.truncate(0)
            except BlockingIOError:
                log.warning(
                    "another server writes to %s, too; a server in a directory of its own has its own logs", path
                )
        fcntl.flock(output, fcntl.LOCK_SH)
    except BaseException:
        output.close()
        raise
    return output


def log_tail(path: str, start: int) -> str:
    """Returns the last lines of a log, without those that it had when its size was `start`."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - TAIL_BYTES))
            return last_lines(file.read())
    except OSError:
        return ""


def last_lines(written: bytes) -> str:
    return "\n".join(written.decode(errors="replace").splitlines()[-_TAIL_LINES:])
