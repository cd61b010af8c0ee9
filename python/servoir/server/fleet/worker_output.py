"""Where a worker's standard output and standard error go: a file, or the server's own standard error.

The second is what the user has asked for, or what remains where no file can be written. Then a thread of the server
passes each line on with the worker's name before it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING, Protocol

from servoir import log, settings
from servoir.server.fleet.worker_log import TAIL_BYTES, last_lines, log_tail, open_log

if TYPE_CHECKING:
    from servoir.server.fleet.worker_role import WorkerRole

_LONGEST_LINE = 64 << 10  # bytes; a longer one is passed on in parts
_LAST_WORDS = 1.0  # seconds within which what a process has written before its end is passed on


class WorkerOutput(Protocol):
    """Lives as long as the process that writes to it."""

    path: str  # of the file; empty: standard error

    def fileno(self) -> int:
        """For the process to write to. The server's copy is closed by started()."""

    def started(self) -> None:
        """The process has its own copy of the descriptor, or was not started."""

    def tail(self) -> str:
        """The last lines that the process has written. After its end."""


class FileOutput:
    def __init__(self, path: str, *, is_first: bool) -> None:
        self.path = path
        self._file = open_log(path, empty=is_first)
        self._start = os.fstat(self._file.fileno()).st_size

    def fileno(self) -> int:
        return self._file.fileno()

    def started(self) -> None:
        self._file.close()

    def tail(self) -> str:
        return log_tail(self.path, self._start)


class PassedOnOutput:
    path = ""

    def __init__(self, name: str) -> None:
        """`name` is put before each line."""
        self._name = name
        self._reading, self._writing = os.pipe()
        self._tail = b""
        self._over = threading.Event()  # nobody can write to it any more
        threading.Thread(target=self._pass_on, name="servoir-output", daemon=True).start()

    def fileno(self) -> int:
        return self._writing

    def started(self) -> None:
        os.close(self._writing)

    def tail(self) -> str:
        deadline = time.monotonic() + _LAST_WORDS
        # A process that the worker has started may have it open for long.
        while not self._over.wait(0.002) and self._holds_something() and time.monotonic() < deadline:
            pass
        return last_lines(self._tail)

    def _holds_something(self) -> bool:
        try:
            return bool(select.select([self._reading], [], [], 0)[0])
        except (OSError, ValueError):  # it was closed meanwhile
            return False

    def _pass_on(self) -> None:
        rest = b""
        while data := os.read(self._reading, _LONGEST_LINE):
            self._tail = (self._tail + data)[-TAIL_BYTES:]
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if len(rest) >= _LONGEST_LINE:
                lines.append(rest)
                rest = b""
            self._say(lines)
        self._say([rest] if rest else [])
        self._over.set()
        os.close(self._reading)

    def _say(self, lines: list[bytes]) -> None:
        if lines:
            log.pass_on("\n".join(f"{self._name}: {line.decode(errors='replace')}" for line in lines))


_warned = False


def open_output(role: WorkerRole, *, is_first: bool) -> WorkerOutput:
    """`is_first`: a file that is there already is emptied. OSError if the directory that the user has named cannot be
    used; where nothing was said, standard error takes the place of a file that cannot be written."""
    global _warned
    if role.log_path is None:
        return PassedOnOutput(role.name)
    try:
        return FileOutput(role.log_path, is_first=is_first)
    except OSError as error:
        if settings.WORKER_OUTPUT.read() is not None:
            raise
        if not _warned:
            _warned = True
            log.warning(
                "what workers print goes to standard error, because it cannot be written to %s: %s; %s names another"
                " directory, or stderr",
                role.log_path,
                error.strerror,
                settings.WORKER_OUTPUT.variable,
            )
        return PassedOnOutput(role.name)
