"""A servable version that is served, its workers, and the call of start_servables that started it.

Belongs to the supervisor's thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from servoir.control import Message
from servoir.server import limits
from servoir.server.plan import ServablePlan
from servoir.server.worker_process import Worker, WorkerState


@dataclass(eq=False)
class Served:
    plan: ServablePlan
    sharing_workers: int  # workers with models on this machine, this servable's and others
    usable_cores: float
    launch: Launch | None  # until its start is done
    workers: list[Worker] = field(default_factory=list)
    spec: dict[str, Any] | None = None  # the graph that its first worker told
    number: int | None = None  # the scheduler's, while it is published
    extra_started: bool = False
    answered: int = 0  # instances answered at the last crash
    threads: int | None = None  # of each model
    backends: list[str] = field(default_factory=list)  # that run the models, each with its version

    def first_workers(self) -> list[Worker]:
        """One a device; without devices the extra workers, which load the models themselves."""
        if self.plan.device_ids:
            return [Worker(self.plan, device, 0, loads_models=True) for device in self.plan.device_ids]
        return [Worker(self.plan, None, index, loads_models=True) for index in range(self.plan.extra_workers)]

    def extra_workers(self) -> list[Worker]:
        """Beside those with devices."""
        return [Worker(self.plan, None, index, loads_models=False) for index in range(self.plan.extra_workers)]

    def accept(self, worker: Worker, ready: Message) -> None:
        """RuntimeError if the worker's graph is not that of the others."""
        if worker.loads_models:
            spec = ready["spec"]
            if self.spec is None:
                self.spec = spec
            elif self.spec != spec:
                raise RuntimeError(
                    "its servable_config.py or its models describe other methods than those of the workers before it;"
                    " they may not change while the servable is served"
                )
            self.threads = ready["threads"]
            self.backends = ready["backends"]

    def has_functions(self) -> bool:
        return self.spec is not None and any(callee["kind"] == "function" for callee in self.spec["callees"])

    def model_count(self) -> int:
        if self.spec is None:
            return 0
        return len({callee["name"] for callee in self.spec["callees"] if callee["kind"] == "model"})

    def threads_from_environment(self) -> int | None:
        return limits.environment_number("SERVOIR_BACKEND_THREADS")

    def any_alive(self) -> bool:
        return any(worker.state in (WorkerState.READY, WorkerState.LEAVING) for worker in self.workers)

    def gone(self) -> bool:
        """All workers with a device have gone for good; without devices, all workers."""
        return all(worker.state is WorkerState.GONE for worker in self.workers if worker.loads_models)

    def started(self) -> bool:
        if any(worker.state is not WorkerState.READY for worker in self.workers):
            return False
        return self.extra_started or not self.plan.device_ids


@dataclass(eq=False)
class Launch:
    """One call of start_servables, from another thread, which waits for its end."""

    plans: list[ServablePlan]
    served: list[Served] = field(default_factory=list)
    error: str | None = None
    _done: bool = False
    # Taken until the end. No Event: a signal handler may interrupt the thread that waits while it has the Event's lock,
    # and would then wait for the supervisor, which would wait for that lock.
    _end: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._end.acquire()

    def wait(self) -> None:
        """In the thread that made the call, once."""
        self._end.acquire()

    def complete(self) -> bool:
        return all(served.started() for served in self.served)

    def succeed(self) -> None:
        for served in self.served:
            served.launch = None
        self._finish()

    def fail(self, error: str) -> None:
        """The first error counts."""
        if not self._done:
            self.error = error
            self._finish()

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._end.release()

    def report(self) -> list[str]:
        """What the people at the terminal want to know: a line for each servable."""
        lines = []
        for served in self.served:
            plan, models = served.plan, served.model_count()
            count = len(served.workers)
            line = f"Servable '{plan.name}' version {plan.version}: {count} worker{'s' if count > 1 else ''}"
            if models and served.threads is not None:
                line += (
                    f", models run by {' and '.join(served.backends)}, threads per model: {served.threads}"
                    f" (usable cores {served.usable_cores:g} / {served.sharing_workers} workers with models /"
                    f" {models} models)"
                )
            lines.append(line)
        return lines
