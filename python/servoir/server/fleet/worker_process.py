"""A worker's process: how it is started, what it inherits, and how it ended.

Belongs to the supervisor's thread.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servoir import machine
from servoir.control.messages import Message
from servoir.control.socket import LOST_SERVER, ControlSocket
from servoir.server.fleet.worker_output import WorkerOutput, open_output
from servoir.server.fleet.worker_role import WorkerRole

if TYPE_CHECKING:
    from servoir._core import Lane, Server

# -P (since Python 3.11): a module in the current directory must not take the place of one in the standard library.
_SAFE_PATH = ["-P"] if sys.version_info >= (3, 11) else []
_INTERPRETER_ANSWERS_WITHIN = 10.0  # seconds
_DESCRIPTORS = 16  # that a start needs; most of them are closed again at its end
_SEND_TIMEOUT = 5.0  # in seconds; a worker that reads nothing for longer is out of order


@dataclass(frozen=True)
class ProcessExit:
    """How a process ended, or why it was not started."""

    code: int | None  # None: it was not started
    ended_for: str | None = None  # why the server ended it
    failure: str | None = None  # what the process itself said
    traceback: str = ""
    signalled: int | None = None  # the signal that the process said it was sent
    log_path: str = ""  # of the file that it wrote to; empty: it wrote to standard error
    tail: str = ""  # the last lines that it wrote
    by_request: bool = False  # an instance that ends workers, or may do so, has caused the death
    lacked_descriptors: bool = False  # it was not started because the server had no descriptors left
    opening: str | None = None  # the model whose files it was opening
    overdue: bool = False  # the server ended it because a batch took longer than it may

    @property
    def by_others(self) -> bool:
        """Whether SIGINT or SIGTERM ended it. The server does not send them; it tells its workers to exit."""
        by_signal = self.code in (-signal.SIGINT, -signal.SIGTERM)
        return self.signalled is not None or (by_signal and self.ended_for is None)

    @property
    def by_itself(self) -> bool:
        """Whether the process crashed, exited with an error, or went on for ever: as far as is known, what it ran is
        the cause, and it was not ended from outside."""
        if self.overdue:
            return True
        by_signals = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT}
        from_outside = by_signals | {LOST_SERVER}
        ended_by_itself = self.code is not None and self.code != 0 and self.code not in from_outside
        return ended_by_itself and self.ended_for is None and self.signalled is None

    def brief(self) -> str:
        """Says why the server ended the process, or else its signal or exit code."""
        return self._code_text() if self.ended_for is None else self.ended_for

    def text(self) -> str:
        """Says why the process ended: the known reason, or else its exit code and the last lines of its log."""
        if self.ended_for is not None:
            return self.ended_for
        if self.failure is not None:
            return self.failure
        if not self.tail:
            return f"{self._code_text()}; it wrote nothing" + (f" to {self.log_path}" if self.log_path else "")
        return f"{self._code_text()}; the last lines of {self.log_path or 'what it wrote'}:\n{self.tail}"

    def _code_text(self) -> str:
        opening = "" if self.opening is None else f" while it opened the files of model '{self.opening}'"
        return _describe(self.code) + opening


def _describe(code: int | None) -> str:
    if code is None:
        return "it was not started"
    if code == LOST_SERVER:
        return "it had lost its connection to the server"
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"it was ended by signal {-code}"


class NoDescriptorsError(RuntimeError):
    """The server has too few descriptors left to start a process, which is no fault of the worker's."""


class WorkerProcess:
    """Lives from the start of the process until it has been waited for and closed."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: ControlSocket,
        lanes: list[Lane],
        output: WorkerOutput | None = None,
    ) -> None:
        self.control = control
        self.lanes = lanes
        self.pidfd = _open_pidfd(process.pid)
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_stopped(self) -> bool:
        """Whether somebody has stopped it, by SIGSTOP or a debugger, so that it cannot run."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False
        return state in ("T", "t")

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def send(self, message: Message) -> None:
        """ControlError if the worker cannot be reached."""
        self.control.send(message)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)  # does nothing after it has been waited for

    def exit(
        self,
        *,
        ended_for: str | None,
        overdue: bool,
        failure: str | None,
        traceback: str,
        signalled: int | None,
        opening: str | None,
    ) -> ProcessExit:
        """How it ended, together with what else is known of that. Only after has_ended()."""
        written = ("", "") if self._output is None else (self._output.path, self._output.tail())
        code = self._process.returncode
        return ProcessExit(code, ended_for, failure, traceback, signalled, *written, opening=opening, overdue=overdue)

    def close(self) -> None:
        """Closes everything, the lanes as well. Only after has_ended()."""
        self.control.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        self.lanes = []


def start_process(role: WorkerRole, server: Server, *, is_first: bool) -> WorkerProcess:
    """Starts a process for the role. Raises RuntimeError if that fails. `is_first`: the role had no process before."""
    _check_descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The first lane is for functions; the second, for models, is for workers that load them.
        lanes = [server.open_lane() for _ in range(2 if role.loads_models else 1)]
        lane_fds = [fd for lane in lanes for fd in (lane.memory_fd, lane.event_fd)]
        fds = [server.arena_fd, theirs.fileno(), *lane_fds]
        output = open_output(role, is_first=is_first)
        try:
            process = subprocess.Popen(
                [interpreter(), *_SAFE_PATH, "-m", "servoir.worker", ",".join(map(str, fds)), *role.shown_arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output.fileno(),
                stderr=output.fileno(),
                cwd=role.work_directory,
                env=role.environment(),
                pass_fds=fds,
            )
        finally:
            output.started()
    except (OSError, RuntimeError) as error:
        ours.close()
        raise RuntimeError(f"its process cannot be started: {error}") from error
    finally:
        theirs.close()
    for lane in lanes:
        lane.close_memory_fd()
    machine.restore_descriptor_limit(process.pid)
    control = ControlSocket(ours)
    control.set_timeout(_SEND_TIMEOUT)
    return WorkerProcess(process, control, lanes, output)


def interpreter() -> str:
    """The Python that workers are run by. RuntimeError where sys.executable is none, as in a program that has Python
    inside."""
    path = sys.executable
    remedy = "before start_servables, set sys.executable to the path of a Python that has this package"
    if not path:
        raise RuntimeError(f"sys.executable, by which workers are run, is empty; {remedy}")
    if not re.match(r"(python|pypy)", os.path.basename(path)):
        _check_that_it_is_python(path, remedy)
    return path


@functools.cache
def _check_that_it_is_python(path: str, remedy: str) -> None:
    try:
        done = subprocess.run(
            [path, "-c", "print(6 * 7)"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_INTERPRETER_ANSWERS_WITHIN,
            check=False,
        )
        is_python = done.stdout.strip() == b"42"
    except (OSError, subprocess.TimeoutExpired):
        is_python = False
    if not is_python:
        raise RuntimeError(f"sys.executable, by which workers are run, is '{path}', which is no Python; {remedy}")


def _check_descriptors() -> None:
    taken: list[int] = []
    try:
        while len(taken) < _DESCRIPTORS:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise NoDescriptorsError(
                f"its process cannot be started: the server has no descriptors left ({error})"
            ) from error
        raise RuntimeError(f"its process cannot be started: {error}") from error
    finally:
        for fd in taken:
            os.close(fd)


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # on an old kernel the end is noticed by the control socket
