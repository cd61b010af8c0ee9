"""One worker process as the server sees it: how it is started, what it holds, how it ends.

Belongs to the supervisor's thread.
"""

from __future__ import annotations

import enum
import fcntl
import os
import site
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from servoir import log
from servoir.control import ControlError, ControlSocket, Message
from servoir.server.plan import ServablePlan
from servoir.server.restart import CrashHistory

if TYPE_CHECKING:
    from servoir._core import Lane, Server

LOG_DIRECTORY = "serving_logs"
_TAIL_BYTES = 8192
_TAIL_LINES = 60  # the trace of a crash included


class WorkerState(enum.Enum):
    STARTING = "starting"  # its process runs and has not said that it is ready
    READY = "ready"
    LEAVING = "leaving"  # it is finishing what it holds and then ends
    CRASHED = "crashed"  # its process is gone and will be started again
    GONE = "gone"  # its process is gone for good


@dataclass
class Offer:
    """A lane of the worker and the callees that it runs."""

    lane: Lane
    callees: list[int]


@dataclass(eq=False)
class Worker:
    """A place for a worker process; the process may be replaced by another."""

    plan: ServablePlan
    device_id: int | None  # None: an extra worker
    index: int  # among the extra workers
    loads_models: bool
    # Where the server was started: a script may go elsewhere, a process that is started again is where the first was.
    work_directory: str = field(default_factory=os.getcwd)
    state: WorkerState = WorkerState.CRASHED
    process: subprocess.Popen[bytes] | None = None
    control: ControlSocket | None = None
    pidfd: int | None = None
    lanes: list[Lane] = field(default_factory=list)
    attachments: list[int] = field(default_factory=list)
    history: CrashHistory = field(default_factory=CrashHistory)
    starts: int = 0
    log_start: int = 0  # size of the log when this process was started
    failure: str | None = None  # what the process itself said
    traceback: str = ""
    end_reason: str | None = None  # why the server ended the process
    signalled: int | None = None  # the signal that the process said it was sent

    @property
    def label(self) -> str:
        where = f"device {self.device_id}" if self.device_id is not None else f"extra {self.index}"
        pid = f" {self.process.pid}" if self.process is not None else ""
        return f"worker{pid} of '{self.plan.name}' version {self.plan.version} ({where})"

    @property
    def log_path(self) -> str:
        place = f"device{self.device_id}" if self.device_id is not None else f"extra{self.index}"
        name = f"log_{self.plan.name}_{place}_version{self.plan.version}.log"
        return os.path.join(self.work_directory, LOG_DIRECTORY, name)

    def start(self, server: Server) -> None:
        """Starts the process. RuntimeError if that is not possible."""
        self.failure = self.end_reason = self.signalled = None
        self.traceback = ""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # A lane for functions, and one for models where the worker has them.
            self.lanes = [server.open_lane() for _ in range(2 if self.loads_models else 1)]
            lane_fds = [fd for lane in self.lanes for fd in (lane.memory_fd, lane.event_fd)]
            fds = [server.arena_fd, theirs.fileno(), *lane_fds]
            with self._open_log() as output:
                self.log_start = os.fstat(output.fileno()).st_size
                self.process = subprocess.Popen(
                    [*_COMMAND, ",".join(map(str, fds)), *self._shown_arguments()],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.work_directory,
                    env=self._environment(),
                    pass_fds=fds,
                )
        except (OSError, RuntimeError) as error:
            ours.close()
            raise RuntimeError(f"its process cannot be started: {error}") from error
        finally:
            theirs.close()
        self.starts += 1
        self.control = ControlSocket(ours)
        self.control.set_timeout(5.0)  # a worker that reads nothing for so long is out of order
        self.pidfd = _open_pidfd(self.process.pid)
        self.state = WorkerState.STARTING

    def _open_log(self) -> IO[bytes]:
        """Empty at the first start, then appended to. Whoever writes a log holds a lock on it, the process with its
        output: the log of another server's worker, in the same directory, is not emptied but shared."""
        os.makedirs(os.path.dirname(self.log_path), exist_ok=True)
        output = open(self.log_path, "ab")  # noqa: SIM115
        try:
            if not self.starts:
                try:
                    fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    output.truncate(0)
                except BlockingIOError:
                    log.warning(
                        "another server writes to %s, too; a server in a directory of its own has its own logs",
                        self.log_path,
                    )
            fcntl.flock(output, fcntl.LOCK_SH)
        except BaseException:
            output.close()
            raise
        return output

    def _shown_arguments(self) -> list[str]:
        """For the people who read the list of processes."""
        place = f"device{self.device_id}" if self.device_id is not None else f"extra{self.index}"
        return [self.plan.name, f"version{self.plan.version}", place]

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment.pop("SERVING_DEVICE_ID", None)
        if self.device_id is not None:
            environment["SERVING_DEVICE_ID"] = str(self.device_id)
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        installed = [*site.getsitepackages(), site.getusersitepackages()]
        # Where this package was not found in a place that every interpreter looks at, the worker is told.
        if root not in (os.path.abspath(path) for path in installed):
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), root]))
        return environment

    def send(self, message: Message) -> None:
        """ControlError if the worker cannot be reached."""
        if self.control is None:
            raise ControlError(f"{self.label} has no process")
        self.control.send(message)

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)  # does nothing when it has been waited for

    def offers(self, ready: Message) -> list[Offer]:
        """The lanes with what they run, of the worker's ready message; that of the functions first."""
        function_lane, *model_lane = self.lanes
        offers = []
        if ready["functions"] or not ready["models"]:
            # A servable whose methods have no stages has a lane all the same: it says that the version is running.
            offers.append(Offer(function_lane, list(ready["functions"])))
        if ready["models"]:
            offers.append(Offer(model_lane[0], list(ready["models"])))
        return offers

    def close(self) -> None:
        """After the process has been waited for."""
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        self.lanes = []

    def end_text(self) -> str:
        """Why the process ended: what it said, else its signal or exit code and the last lines of its log."""
        if self.end_reason is not None:
            return self.end_reason
        if self.failure is not None:
            return self.failure
        code = self.process.returncode if self.process is not None else None
        how = describe_exit(code)
        tail = log_tail(self.log_path, self.log_start)
        if not tail:
            return f"{how}; it wrote nothing to {self.log_path}"
        return f"{how}; the last lines of {self.log_path}:\n{tail}"

    def child_fds(self) -> list[int]:
        """Descriptors that a forked child must not keep open."""
        return [self.control.fileno()] if self.control is not None else []


# -P (from 3.11): a module in the current directory must not stand in for one of the standard library.
_SAFE_PATH = ["-P"] if sys.version_info >= (3, 11) else []
_COMMAND = [sys.executable, *_SAFE_PATH, "-m", "servoir.worker"]


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # an old kernel: the end is noticed by the control socket


def describe_exit(code: int | None) -> str:
    if code is None:
        return "it is still running"
    if code >= 0:
        return f"it exited with code {code}"
    import signal

    try:
        return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"it was ended by signal {-code}"


def log_tail(path: str, start: int) -> str:
    """The last lines of a log, of what was written since `start`."""
    try:
        with open(path, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


def load_message(
    worker: Worker, *, usable_cores: float, sharing_workers: int, threads: int | None, spec: dict[str, Any] | None
) -> Message:
    """What a worker is to do. `spec`: the servable's graph, for workers that do not load the models themselves.

    The key of encrypted models travels in this message only: the command line and the environment of a process can be
    read by others."""
    dec_key = worker.plan.dec_key if worker.loads_models else None
    return {
        "type": "load",
        "servable_directory": worker.plan.directory,
        "name": worker.plan.name,
        "version": worker.plan.version,
        "device_id": worker.device_id,
        "device_type": worker.plan.device_type,
        "loads_models": worker.loads_models,
        "usable_cores": usable_cores,
        "sharing_workers": sharing_workers,
        "threads": threads,
        "spec": spec,
        "dec_mode": worker.plan.dec_mode,
        "dec_key": dec_key.hex() if dec_key is not None else None,
    }
