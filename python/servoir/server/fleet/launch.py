"""A call of start_servables, made by another thread, which waits until its versions have started.

Belongs to the supervisor's thread, except for wait().
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from servoir.server.fleet.served_version import ServedVersion
from servoir.server.fleet.states import VersionState
from servoir.server.plan import ServablePlan


@dataclass(eq=False)
class LaunchCall:
    plans: list[ServablePlan]
    versions: list[ServedVersion] = field(default_factory=list)
    error: str | None = None
    report: list[str] = field(default_factory=list)  # for the user's terminal: a line for each version
    is_over: bool = False
    # Taken until the call is over. An Event would not do: a signal handler may interrupt the waiting thread while it
    # holds the Event's lock, and would then wait for the supervisor, which would wait for that lock.
    _end: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._end.acquire()

    def wait(self) -> None:
        """Returns when the call is over. For the thread that made the call, once."""
        self._end.acquire()

    def settle(self) -> None:
        """Ends the call if all its versions have started, or if any has failed."""
        failed = next((version for version in self.versions if version.state is VersionState.FAILED), None)
        if failed is not None:
            self.fail(failed.reason)
        elif all(version.has_started() for version in self.versions):
            for version in self.versions:
                version.launching = False
            self.report = [_report(version) for version in self.versions]
            self._finish()

    def fail(self, error: str) -> None:
        """Ends the call with an error, unless it is over."""
        if not self.is_over:
            self.error = error
            self._finish()

    def _finish(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._end.release()


def _report(version: ServedVersion) -> str:
    plan, models, count = version.plan, version.model_count(), len(version.slots)
    line = f"Servable '{plan.name}' version {plan.version}: {count} worker{'s' if count > 1 else ''}"
    if models and version.threads is not None:
        line += (
            f", models run by {' and '.join(version.backends)}, threads per model: {version.threads}"
            f" (usable cores {version.usable_cores:g} / {version.sharing_workers} workers with models /"
            f" {models} models)"
        )
    return line
