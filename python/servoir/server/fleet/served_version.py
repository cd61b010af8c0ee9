"""A version of a servable that is served: its workers, its graph, its number in the core, and its state.

It carries out what the policy decides, and decides what the events of its workers mean. It belongs to the supervisor's
thread.
"""

from __future__ import annotations

import contextlib
import time

from servoir import log, settings
from servoir.control.messages import Load, Ready
from servoir.figures import total
from servoir.servable.spec import ServableSpec
from servoir.server.fleet.context import FleetContext
from servoir.server.fleet.restart import WITHOUT_DESCRIPTORS, restart_delay
from servoir.server.fleet.states import VersionState, WorkerState, may_follow
from servoir.server.fleet.version_policy import VersionSnapshot
from servoir.server.fleet.worker_process import ProcessExit
from servoir.server.fleet.worker_role import WorkerRole
from servoir.server.fleet.worker_slot import WorkerSlot
from servoir.server.plan import ServablePlan


class ServedVersion:
    def __init__(self, plan: ServablePlan, sharing_workers: int, context: FleetContext) -> None:
        """Starts nothing. `sharing_workers`: all workers with models on this machine, which share its cores."""
        self.plan = plan
        self.sharing_workers = sharing_workers
        self.state = VersionState.STARTING
        self.reason = ""  # why it failed
        self.wanted = True
        self.launching = True  # until the call that starts it succeeds
        self.slots: list[WorkerSlot] = []
        self.threads: int | None = None  # of each model
        self.backends: tuple[str, ...] = ()  # that run the models, each with its version
        self._context = context
        self._spec: ServableSpec | None = None  # the graph that its first worker told
        self._number: int | None = None  # the core's, while it is published
        self._answered = 0  # instances answered at the last crash
        self._last_end = ""  # why the last worker ended

    def snapshot(self) -> VersionSnapshot:
        return VersionSnapshot(
            state=self.state,
            wanted=self.wanted,
            launching=self.launching,
            published=self._number is not None,
            workers=tuple(slot.snapshot() for slot in self.slots),
            lacks_function_workers=self._lacks_function_workers(),
        )

    def has_started(self) -> bool:
        """Whether all its workers are ready."""
        if self._lacks_function_workers() or not self.slots:
            return False
        return all(slot.state is WorkerState.READY for slot in self.slots)

    @property
    def usable_cores(self) -> float:
        return self._context.usable_cores

    def model_count(self) -> int:
        if self._spec is None:
            return 0
        return len({callee["name"] for callee in self._spec["callees"] if callee["kind"] == "model"})

    def _lacks_function_workers(self) -> bool:
        """Whether its workers for Python stages are missing. Those with the models start first: they tell the graph."""
        if not self.plan.device_ids or not self.plan.extra_workers or self._spec is None:
            return False
        there = any(not slot.role.loads_models for slot in self.slots)
        return not there and any(callee["kind"] == "function" for callee in self._spec["callees"])

    # ---- what the policy decides

    def start(self) -> None:
        """Starts a worker for each device; without devices, the extra workers, which then load the models."""
        if self.plan.device_ids:
            roles = [WorkerRole(self.plan, device, 0, loads_models=True) for device in self.plan.device_ids]
        else:
            roles = [WorkerRole(self.plan, None, index, loads_models=True) for index in range(self.plan.extra_workers)]
        self._start(roles)

    def add_function_workers(self) -> None:
        self._start(
            [WorkerRole(self.plan, None, index, loads_models=False) for index in range(self.plan.extra_workers)]
        )

    def _start(self, roles: list[WorkerRole]) -> None:
        slots = [WorkerSlot(role, self._context, self) for role in roles]
        self.slots += slots
        for slot in slots:
            slot.start()

    def suspend(self) -> None:
        """Requests are refused, with the reason of the last crash, until a worker is ready again."""
        self.fail(f"its workers keep crashing; the last one: {self._last_end}")
        self._withdraw(self.reason)

    def give_up(self) -> None:
        """The version is taken for unwanted from now on, because its workers were ended from outside."""
        self.wanted = False
        self._withdraw(f"its workers were ended ({self._last_end})")

    def end(self) -> None:
        """Tells its workers to finish what they run and to exit."""
        self._enter(VersionState.DRAINING)
        for slot in self.slots:
            slot.exit()
        self._see_whether_ended()

    def fail(self, reason: str) -> None:
        """Keeps the first reason."""
        if self.state is not VersionState.FAILED:
            self._enter(VersionState.FAILED)
            self.reason = reason

    def _enter(self, state: VersionState) -> None:
        if state is self.state:
            return
        if not may_follow(self.state, state):
            raise RuntimeError(f"a version that is {self.state.value} cannot be {state.value} next")
        self.state = state
        self.reason = ""

    def _see_whether_ended(self) -> None:
        if self.state is VersionState.DRAINING and all(slot.state is WorkerState.GONE for slot in self.slots):
            self._enter(VersionState.ENDED)

    def _withdraw(self, reason: str) -> None:
        if self._number is not None:
            number, self._number = self._number, None
            self._answered = 0
            with contextlib.suppress(RuntimeError):  # the core is stopped before the workers
                self._context.core.withdraw(number, reason)

    # ---- what its workers' events mean

    def on_hello(self, slot: WorkerSlot) -> Load:
        if self.state is VersionState.STARTING:
            self._enter(VersionState.LOADING)
        return load_message(
            slot.role,
            usable_cores=self._context.usable_cores,
            sharing_workers=self.sharing_workers,
            threads=settings.BACKEND_THREADS.read(),
            spec=None if slot.role.loads_models else self._spec,
        )

    def on_trying(self, slot: WorkerSlot) -> None:
        if self.state is VersionState.LOADING:
            self._enter(VersionState.WARMING)

    def on_ready(self, slot: WorkerSlot, ready: Ready) -> None:
        if slot.role.loads_models:
            self._take_spec(ready)
        assert self._spec is not None
        if self._number is None:
            self._number = self._context.core.publish(self._spec)
        slot.attach(self._number, ready)
        if not (self.launching and self.state is VersionState.FAILED):
            self._enter(VersionState.AVAILABLE)

    def _take_spec(self, ready: Ready) -> None:
        """Raises RuntimeError if the worker's graph is not that of the workers before it."""
        if self._spec is None:
            self._spec = ready.spec
        elif self._spec != ready.spec:
            raise RuntimeError(
                "its servable_config.py or its models describe other methods than those of the workers before it;"
                " they may not change while the servable is served"
            )
        self.threads = ready.threads
        self.backends = ready.backends

    def on_end(self, slot: WorkerSlot, end: ProcessExit, *, had_served: bool) -> None:
        is_news, self._last_end = end.text() != self._last_end, end.text()
        if not self.wanted:
            slot.give_up()
            self._see_whether_ended()
        elif self.launching:
            slot.give_up()
            traceback = f"\n{end.traceback}" if end.traceback else ""
            self.fail(f"Servable '{self.plan.name}' cannot be started: {slot.label}: {self._last_end}{traceback}")
        elif end.by_others:
            slot.give_up()
            log.warning("%s was ended from outside and is not started again", slot.label)
        elif end.lacked_descriptors:
            if is_news:
                log.error("%s waits for descriptors: %s", slot.label, self._last_end)
            slot.wait(WITHOUT_DESCRIPTORS)
        else:
            self._start_again(slot, had_served=had_served, by_request=end.by_request)

    def _start_again(self, slot: WorkerSlot, *, had_served: bool, by_request: bool) -> None:
        answered = self._count_answered()
        slot.history.add(time.monotonic(), had_served and answered > self._answered, by_request)
        self._answered = answered
        delay = restart_delay(slot.history)
        log.error("%s has crashed: %s\nIt is started again in %.1f s", slot.label, self._last_end, delay)
        slot.wait(delay)

    def _count_answered(self) -> int:
        """How many instances the stages of this version have run without an error."""
        figures = self._context.core.stats()
        version = {"servable": self.plan.name, "version": str(self.plan.version)}
        run = total(figures, "servoir_callee_instances", **version)
        return int(run - total(figures, "servoir_callee_failed_instances", **version))


def load_message(
    role: WorkerRole, *, usable_cores: float, sharing_workers: int, threads: int | None, spec: ServableSpec | None
) -> Load:
    """Tells a worker what to load. `spec`: the servable's graph, for workers that do not load the models themselves.

    The key of encrypted models travels in this message only, because other processes can read the command line and the
    environment of a process."""
    plan = role.plan
    return Load(
        servable_directory=plan.directory,
        name=plan.name,
        version=plan.version,
        device_id=role.device_id,
        device_type=plan.device_type,
        loads_models=role.loads_models,
        usable_cores=usable_cores,
        sharing_workers=sharing_workers,
        threads=threads,
        spec=spec,
        dec_key=plan.dec_key if role.loads_models else None,
        dec_mode=plan.dec_mode,
    )
