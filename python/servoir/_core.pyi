"""The C++ part of Servoir. Private: the typed packages around it are the API.

What fails is a RuntimeError with the text of the Status, and the number of its code, which is gRPC's, as the attribute
`code`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy.typing as npt

from servoir.figures import Figures
from servoir.servable.spec import Port, ServableSpec

__version__: str
channel_version: int
dtypes: tuple[str, ...]  # the names of the element types, in the order of their numbers, which begin with 1

# ---- server process -------------------------------------------------------------------------------------------------

def check_address(address: str) -> Literal["tcp", "unix"]:
    """The kind of an address, "host:port" or "unix:path", that clients know beforehand. RuntimeError if its form is
    wrong, if its port is 0, or if the directory of the Unix socket does not exist."""

class Lane:
    """Shared memory and wake-up of one lane of a worker, made by Server.open_lane()."""

    @property
    def memory_fd(self) -> int: ...  # inherited by the worker
    @property
    def event_fd(self) -> int: ...  # inherited by the worker
    def close_memory_fd(self) -> None: ...  # after the worker was started

class Server:
    """Listeners, queues and arena of this process. All methods may be called from any Python thread and release the GIL
    while they wait."""

    def __init__(
        self, *, arena_limit: int, io_threads: int, max_connections: int = 65536, take_nonfinite: bool = False
    ) -> None: ...
    @property
    def arena_fd(self) -> int: ...
    def listen(
        self,
        address: str,
        protocol: str,
        max_message_bytes: int,
        tls: dict[str, tuple[str, bytes] | None] | None = None,
    ) -> int:
        """Opens a listener on "host:port" or "unix:path" for protocol "grpc" or "rest"; returns its number.
        `listener_address` gives the bound address (port 0 is allowed here and gives a free one). `tls`: "certificate",
        "private_key" and "custom_ca" (None: clients need no certificate), each the path, for messages, and the content
        of a PEM file; None: connections are in the clear."""
    def listener_address(self, listener: int) -> str: ...
    def close_listener(self, listener: int) -> None:
        """Closes the listening socket and its connections; the port is free when it returns."""
    def publish(self, spec: ServableSpec) -> int:
        """Makes a version known. RuntimeError names the field that is missing or wrong. Returns the servable's
        number."""
    def withdraw(self, servable: int, reason: str) -> None: ...
    def open_lane(self) -> Lane: ...
    def attach_lane(self, servable: int, lane: Lane, callees: Sequence[int], name: str) -> int:
        """The worker at the other end of `lane` is ready to run these callees. Returns the attachment's number."""
    def detach_lane(self, attachment: int, reason: str, by_itself: bool = False) -> bool:
        """The worker is dead (waited for). What it ran is run again in halves; an instance that ends workers also when
        it is run alone fails with `reason`. `by_itself`: nobody ended it from outside, so one death proves this.
        Returns whether the death's cause is known: such an instance, or a batch that had ended a worker before."""
    def drain_lane(self, attachment: int) -> bool:
        """No new batches for it; True when it holds none any more."""
    def on_lane_failure(self, callback: Callable[[int, str, bool], None]) -> None:
        """The callback gets (attachment, reason, overdue), on a thread of the server's own, when a worker takes longer
        for a batch than it may (then `overdue` is True), or breaks the channel's protocol. It is to end that worker."""
    def set_max_enqueued_requests(self, limit: int) -> None: ...
    def stats(self) -> Figures:
        """What the server counts and measures, now."""
    # The end, step by step. Each does nothing after stop().
    def announce_end(self) -> None:
        """Health says from now on that the server is not ready. It serves on."""
    def drain(self) -> None:
        """Clients are told to go elsewhere, and what they ask until they know is answered. Those that come now are
        refused."""
    def busy_connections(self) -> int:
        """How many of the connections that were there at drain() have promised an answer, or the rest of it."""
    def open_connections(self) -> int: ...
    def close_doors(self) -> None:
        """Nobody can connect any more. Who waits to be accepted is accepted."""
    def stop(self) -> None:
        """Refuses what is not answered, closes listeners and connections and ends the I/O threads. The object cannot be
        used afterwards."""

# ---- worker process -------------------------------------------------------------------------------------------------

class NativeModel:
    """A model opened by a native backend."""

    @property
    def inputs(self) -> list[Port]: ...
    @property
    def outputs(self) -> list[Port]: ...
    def execute(self, inputs: Sequence[Any]) -> list[npt.NDArray[Any]]:
        """One batch, outside of any lane, on copies: for trying a model out."""

def check_library(path: str) -> str:
    """Why the file is no shared object for this machine, to continue "PATH …"; "" if it is one."""

def run_trial(command: Sequence[str], seconds: float) -> tuple[list[tuple[str, str]], str]:
    """Runs a program that may crash or hang, and that reports on descriptor 3 as discovery/trial_report.h says: the
    records, and how it failed ("hangs when it is loaded …"), or "" if its report is whole."""

class NativeBackend:
    """A plug-in (backend.h), loaded and checked."""

    @staticmethod
    def load(
        plugin: str, libraries: Sequence[str | tuple[str, str]], *, trial_program: str, trial_seconds: float
    ) -> NativeBackend:
        """`libraries`: directories (or library files) to look for the backend's own libraries in, in this order, before
        the loader's own paths; each alone or with the reason why it is looked at. Plug-in and libraries are loaded by
        `trial_program` first, in a process of its own that may take `trial_seconds`; "" leaves that out. RuntimeError
        with every candidate tried and why it was refused."""
    @staticmethod
    def examine(
        plugin: str, libraries: Sequence[str | tuple[str, str]], *, trial_program: str, trial_seconds: float
    ) -> dict[str, Any]:
        """What load() would find, without loading anything into this process: {"version", "library", "devices": [str],
        "refused": [{"path", "place", "reason"}], "problem": why the backend cannot be used, or ""}."""
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def library(self) -> str: ...  # the file in use
    @property
    def refused(self) -> list[dict[str, str]]: ...  # what was looked at before, as in examine()
    @property
    def warning(self) -> str: ...  # not empty: nothing was tried in a process of its own, and why
    def open(self, path: str, options: dict[str, str], *, device: str, companions: Sequence[str] = ()) -> NativeModel:
        """`companions`: further files of the model, such as its weights."""
    def open_in_memory(
        self, files: Sequence[tuple[str, bytes]], options: dict[str, str], *, device: str
    ) -> NativeModel:
        """The same for files that are in memory, each with the name that messages give it; the model's comes first."""

def batch_size(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    *,
    with_batch_dim: bool,
    unbatched_inputs: Sequence[int],
    unbatched_outputs: Sequence[int],
) -> int | None:
    """The batch dimension's number; None where it is dynamic, 1 without one. RuntimeError names the inputs or outputs
    that contradict each other."""

class WorkerRuntime:
    """The worker's end of arena, lanes and models. One a process."""

    def __init__(self, arena_fd: int, control_fd: int, *, mark_rooms: bool = ...) -> None:
        """Maps the arena. A thread of its own watches `control_fd` and ends the process at once when the other end is
        closed, whatever the interpreter is doing. `mark_rooms`: see the setting SERVOIR_MARK_ROOMS."""
    def add_function(
        self,
        callee: int,
        function: Callable[..., Any],
        *,
        inputs: int,
        outputs: int,
        batched: bool,
        rerun: bool,
        name: str,
    ) -> None:
        """`batched`: called once with a tuple of instances, each a tuple of inputs; otherwise once an instance.
        `rerun`: a call of a batch that fails is made again for parts of it."""
    def add_native_model(
        self,
        callee: int,
        model: NativeModel,
        *,
        max_batch: int,
        with_batch_dim: bool,
        unbatched_inputs: Sequence[int],
        unbatched_outputs: Sequence[int] = ...,
    ) -> None: ...
    def add_python_model(
        self,
        callee: int,
        model: Any,
        *,
        max_batch: int,
        with_batch_dim: bool,
        unbatched_inputs: Sequence[int],
        unbatched_outputs: Sequence[int] = ...,
    ) -> None:
        """`model.execute(inputs: list[ndarray], outputs: list[ndarray | None]) -> list[ndarray | None]`: inputs are
        views on the arena with the batch dimension first; an output that is not None is the room to write it into
        (return None for it); where it is None, or does not fit, return the array."""
    def serve_models(self, memory_fd: int, event_fd: int) -> None:
        """Starts the model lane's thread. Takes both descriptors."""
    def serve_functions(self, memory_fd: int, event_fd: int) -> None:
        """Runs the function lane in the calling thread until stop(). Takes both descriptors."""
    def call_model(
        self, callee: int, instances: Sequence[Sequence[Any]]
    ) -> tuple[tuple[npt.NDArray[Any] | str, ...], ...]:
        """Model.call: only inside a function that serve_functions is running; RuntimeError otherwise, and for errors of
        the call."""
    def interrupt(self) -> None:
        """A signal has come: serve_functions() runs its Python handler, at once if it has nothing else to do."""
    def stop(self) -> None:
        """Any thread: ends the lanes after the batches they run."""
    def join(self) -> None:
        """After stop(): waits for the model lane's end."""

# ---- both -----------------------------------------------------------------------------------------------------------

def usable_cores() -> float:
    """Cores that this process may really use: sched_getaffinity cut by the cgroup v1/v2 CPU quota."""

def set_log_level(level: int) -> None: ...
def set_log_directory(directory: str, max_bytes: int, backups: int, on_stderr: int) -> None:
    """Records of the C++ parts go to DIRECTORY/servoir.PID.log from now on, and from a level on to stderr as well."""

def log_write_file(record: str) -> None:
    """Appends a record of the Python parts, without its line end, to that file."""

def log_write_stderr(record: str) -> None:
    """Writes a record of the Python parts to stderr, or drops and counts it where nobody reads that."""

def log(level: int, file: str, line: int, text: str) -> None: ...
