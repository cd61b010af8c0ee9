"""Which worker of which version a process is, and what follows from that: its names, its log, and its environment.

Roles are values, which any thread may use.
"""

from __future__ import annotations

import os
import site
from dataclasses import dataclass, field

import servoir
from servoir import settings
from servoir.server.plan import ServablePlan
from servoir.settings import STANDARD_ERROR

LOG_DIRECTORY = "serving_logs"


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"  # it was removed


def _wanted_output() -> str:
    return settings.WORKER_OUTPUT.read() or LOG_DIRECTORY


@dataclass(frozen=True)
class WorkerRole:
    plan: ServablePlan
    device_id: int | None  # None: an extra worker
    index: int  # among the extra workers
    loads_models: bool
    # Where the server was started. A script may change its directory; a process that is started again does not follow.
    work_directory: str = field(default_factory=_current_directory)
    output: str = field(default_factory=_wanted_output)  # a directory, or STANDARD_ERROR

    @property
    def place(self) -> str:
        """The worker's name among those of its version: "device0", "extra1"."""
        return "".join(self._place())

    def _place(self) -> tuple[str, str]:
        return ("extra", str(self.index)) if self.device_id is None else ("device", str(self.device_id))

    def label(self, pid: int | None) -> str:
        """The worker's name in messages. `pid`: of its process, or of its last; None if it never had any."""
        process = "" if pid is None else f" {pid}"
        return f"worker{process} of '{self.plan.name}' version {self.plan.version} ({' '.join(self._place())})"

    @property
    def name(self) -> str:
        """For logs."""
        return f"{self.plan.name}_{self.place}_version{self.plan.version}"

    @property
    def log_path(self) -> str | None:
        """None: what it prints goes to standard error."""
        if self.output == STANDARD_ERROR:
            return None
        return os.path.join(self.work_directory, self.output, f"log_{self.name}.log")

    def shown_arguments(self) -> list[str]:
        """Arguments that only serve people who read the list of processes."""
        return [self.plan.name, f"version{self.plan.version}", self.place]

    def environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment.pop("SERVING_DEVICE_ID", None)
        if self.device_id is not None:
            environment["SERVING_DEVICE_ID"] = str(self.device_id)
        root = os.path.dirname(os.path.dirname(os.path.abspath(servoir.__file__)))
        installed = [*site.getsitepackages(), site.getusersitepackages()]
        # If the package is not on the default path, the worker is told where it is.
        if root not in (os.path.abspath(path) for path in installed):
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), root]))
        return environment
