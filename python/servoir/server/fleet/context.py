"""What the parts of a fleet share: the core, the loop of the supervisor's thread, and how a process is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from servoir.server.fleet.loop import Loop
from servoir.server.fleet.worker_process import WorkerProcess
from servoir.server.fleet.worker_role import WorkerRole

if TYPE_CHECKING:
    from servoir._core import Server


class StartProcess(Protocol):
    def __call__(self, role: WorkerRole, server: Server, *, is_first: bool) -> WorkerProcess: ...


@dataclass
class ServerEnd:
    """Whether the server has begun to end. Any thread and any signal handler may say so."""

    has_begun: bool = False
    # A signal to the whole process group, as a terminal or a service manager sends it, may reach a worker before the
    # server, but not so many seconds before it.
    seen_within: float = 0.3


@dataclass(frozen=True)
class FleetContext:
    core: Server
    loop: Loop
    usable_cores: float
    start_process: StartProcess
    # Tells the supervisor that something has happened. It then looks, soon, whether there is something to do.
    changed: Callable[[], None]
    end: ServerEnd = field(default_factory=ServerEnd)
