"""Supervisor: starts the workers, watches them, starts those again that crash, and ends them all.

One thread, not a daemon, so that a script that has come to its end goes on serving; it ends when it was told to stop,
or when no worker is left for good. Everything about workers is done by this thread; other threads post to it and wait.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from servoir import log
from servoir.control import ControlError, Message
from servoir.server.loop import Loop
from servoir.server.plan import ServablePlan
from servoir.server.restart import keeps_crashing, restart_delay
from servoir.server.served import Launch, Served
from servoir.server.worker_process import Worker, WorkerState, describe_exit, load_message

if TYPE_CHECKING:
    from servoir._core import Server

KILL_AFTER = 10.0  # seconds that a worker has to finish what it runs
_DRAIN_POLL = 0.005
_END_POLL = 0.002


class Supervisor:
    def __init__(self, server: Server, usable_cores: float, nobody_left: Callable[[], None]) -> None:
        """`nobody_left` is called in the supervisor's thread when all workers have gone for good, before it ends."""
        self._server = server
        self._usable_cores = usable_cores
        self._nobody_left = nobody_left
        self._loop = Loop()
        self._served: list[Served] = []
        self._launches: list[Launch] = []
        self._stopping = False
        self._finished = False
        self._over = False  # the thread has done all that it does
        self._thread = threading.Thread(target=self._run, name="servoir-workers", daemon=False)
        server.on_lane_failure(_weakly(self))

    # ---- any thread

    def start(self, plans: Sequence[ServablePlan]) -> None:
        """Starts the workers of the plans and waits until all are ready. RuntimeError with the reason of the first that
        fails; the others are running then and are ended by stop()."""
        launch = Launch(list(plans))
        self._loop.post(lambda: self._begin(launch))
        if not self._thread.is_alive():
            self._thread.start()
        launch.wait()
        if launch.error is not None:
            raise RuntimeError(launch.error)
        for line in launch.report():
            print(line, flush=True)

    def stop(self) -> None:
        """Ends all workers and waits for their end, and for that of the thread's work."""
        self._loop.post(self._begin_stop)
        if self._thread.ident is None or self._thread is threading.current_thread():
            return
        # Not join(): this may be in a signal handler that has interrupted the main thread in the threading module, with
        # the locks that join() needs.
        while not self._over:
            time.sleep(_END_POLL)

    def kill(self) -> None:
        """Ends all workers at once."""
        self._loop.post(self._kill_all)

    def child_fds(self) -> list[int]:
        """In a forked child: the descriptors that would keep workers alive after the server's end."""
        return [fd for served in self._served for worker in served.workers for fd in worker.child_fds()]

    # ---- the supervisor's thread

    def _run(self) -> None:
        try:
            self._loop.run(lambda: self._finished)
        finally:
            self._over = True

    def _workers(self) -> list[Worker]:
        return [worker for served in self._served for worker in served.workers]

    def lane_failed(self, attachment: int, text: str) -> None:
        """In a thread of the core: the worker behind the lane has broken the channel's protocol."""
        self._loop.post(lambda: self._end_offender(attachment, text))

    def _begin(self, launch: Launch) -> None:
        try:
            self._launch(launch)
        except Exception as error:  # somebody waits for the launch
            self._fail_launch(launch, f"{type(error).__name__}: {error}")
            raise

    def _launch(self, launch: Launch) -> None:
        if self._stopping:
            launch.fail("the server is being stopped")
            return
        self._launches.append(launch)
        for plan in launch.plans:
            if any(served.plan.name == plan.name and served.plan.version == plan.version for served in self._served):
                self._fail_launch(launch, f"Servable '{plan.name}' version {plan.version} is already running")
                return
        sharing = sum(served.plan.model_workers for served in self._served)
        sharing += sum(plan.model_workers for plan in launch.plans)
        for plan in launch.plans:
            served = Served(plan, sharing, self._usable_cores, launch)
            self._served.append(served)
            launch.served.append(served)
            served.workers = served.first_workers()
        for served in launch.served:
            for worker in served.workers:
                self._start_worker(served, worker)

    def _start_worker(self, served: Served, worker: Worker) -> None:
        if self._stopping or worker.state is not WorkerState.CRASHED:
            return
        try:
            worker.start(self._server)
        except Exception as error:
            worker.failure = str(error)
            self._after_end(served, worker)
            return
        assert worker.control is not None
        self._loop.watch(worker.control.fileno(), lambda: self._receive(served, worker))
        if worker.pidfd is not None:
            self._loop.watch(worker.pidfd, lambda: self._ended(served, worker))
        log.info("started %s", worker.label)

    def _receive(self, served: Served, worker: Worker) -> None:
        if worker.control is None:
            return
        try:
            messages, is_open = worker.control.receive_ready()
            for message in messages:
                self._on_message(served, worker, message)
        except Exception as error:
            self._end_process(worker, f"it broke the control protocol: {type(error).__name__}: {error}")
            is_open = False
        if not is_open and worker.control is not None:
            self._loop.unwatch(worker.control.fileno())
            self._await_end(served, worker, time.monotonic() + 1.0)

    def _on_message(self, served: Served, worker: Worker, message: Message) -> None:
        kind = message["type"]
        if kind == "hello":
            self._on_hello(served, worker, message)
        elif kind == "ready":
            self._on_ready(served, worker, message)
        elif kind == "failed":
            worker.failure = str(message["text"])
            worker.traceback = str(message["traceback"])
        elif kind == "leaving":
            worker.signalled = int(message["signal"])
            self._begin_leave(worker)
        else:
            raise ControlError(f"it sent a message of the unknown type {kind!r}")

    def _on_hello(self, served: Served, worker: Worker, message: Message) -> None:
        from servoir import _core

        for what, ours in (("version", _core.__version__), ("channel_version", _core.channel_version)):
            if message[what] != ours:
                self._end_process(
                    worker,
                    f"its servoir has {what} {message[what]}, the server's has {ours}; both should be one installation",
                )
                return
        worker.send(
            load_message(
                worker,
                usable_cores=self._usable_cores,
                sharing_workers=served.sharing_workers,
                threads=served.threads_from_environment(),
                spec=None if worker.loads_models else served.spec,
            )
        )

    def _on_ready(self, served: Served, worker: Worker, message: Message) -> None:
        try:
            self._attach(served, worker, message)
        except RuntimeError as error:
            self._end_process(worker, str(error))
            return
        worker.state = WorkerState.READY
        log.info("%s is ready", worker.label)
        if worker.plan.device_ids and worker.device_id is not None:
            self._start_extra_workers(served)
        self._finish_launches()

    def _attach(self, served: Served, worker: Worker, message: Message) -> None:
        served.accept(worker, message)
        if served.number is None:
            assert served.spec is not None
            served.number = self._server.publish(served.spec)
        for offer in worker.offers(message):
            worker.attachments.append(self._server.attach_lane(served.number, offer.lane, offer.callees, worker.label))

    def _start_extra_workers(self, served: Served) -> None:
        """Workers for Python stages only start when those with the models are ready, which know the models' ports."""
        if served.extra_started or any(worker.state is not WorkerState.READY for worker in served.workers):
            return
        served.extra_started = True
        if not served.has_functions():
            return
        extra = served.extra_workers()
        served.workers += extra
        for worker in extra:
            self._start_worker(served, worker)

    # ---- ends

    def _ended(self, served: Served, worker: Worker) -> None:
        """The process may have ended."""
        if worker.process is None or worker.process.poll() is None:
            return
        if worker.control is not None:
            self._loop.unwatch(worker.control.fileno())
            self._last_words(worker)
        if worker.pidfd is not None:
            self._loop.unwatch(worker.pidfd)
        reason = describe_exit(worker.process.returncode) if worker.end_reason is None else worker.end_reason
        for attachment in worker.attachments:
            with contextlib.suppress(RuntimeError):  # the core is stopped before the workers
                self._server.detach_lane(attachment, reason)
        worker.attachments.clear()
        worker.close()
        self._after_end(served, worker)

    @staticmethod
    def _last_words(worker: Worker) -> None:
        """What the process has sent before its end and nobody has read."""
        assert worker.control is not None
        try:
            messages, _ = worker.control.receive_ready()
        except ControlError:
            return
        for message in messages:
            if message["type"] == "failed":
                worker.failure, worker.traceback = str(message.get("text")), str(message.get("traceback"))
            elif message["type"] == "leaving":
                worker.signalled = int(message["signal"])

    def _await_end(self, served: Served, worker: Worker, deadline: float) -> None:
        """A worker that has closed its control socket is about to end; if it does not, it is ended."""
        process = worker.process
        if process is None or worker.control is None:
            return
        if process.poll() is not None:
            self._ended(served, worker)
        elif time.monotonic() > deadline:
            self._end_process(worker, worker.end_reason or "it closed its control socket but went on")
            if worker.pidfd is None:
                self._loop.after(0.02, lambda: self._await_end(served, worker, float("inf")))
        else:
            self._loop.after(0.02, lambda: self._await_end(served, worker, deadline))

    def _after_end(self, served: Served, worker: Worker) -> None:
        was_ready = worker.state in (WorkerState.READY, WorkerState.LEAVING)
        text = worker.end_text()
        if self._stopping:
            worker.state = WorkerState.GONE
            self._check_stopped()
            return
        if served.launch is not None:
            worker.state = WorkerState.GONE
            traceback = f"\n{worker.traceback}" if worker.traceback else ""
            self._fail_launch(
                served.launch,
                f"Servable '{served.plan.name}' cannot be started: {worker.label}: {text}{traceback}",
            )
            return
        process = worker.process
        by_signal = process is not None and process.returncode in (-signal.SIGINT, -signal.SIGTERM)
        if worker.signalled is not None or (by_signal and worker.end_reason is None):
            worker.state = WorkerState.GONE
            log.warning("%s was ended from outside and is not started again", worker.label)
            self._check_left(served, worker)
            return
        worker.state = WorkerState.CRASHED
        answered = self._answered(served)
        worker.history.add(time.monotonic(), was_ready and answered > served.answered)
        served.answered = answered
        delay = restart_delay(worker.history)
        log.error("%s has crashed: %s\nIt is started again in %.1f s", worker.label, text, delay)
        if keeps_crashing(worker.history) and not served.any_alive():
            self._withdraw(served, f"its workers keep crashing; the last one: {text}")
        self._loop.after(delay, lambda: self._start_worker(served, worker))

    def _answered(self, served: Served) -> int:
        """Instances that stages of the servable have run without an error."""
        return sum(
            callee["instances"] - callee["failed"]
            for callee in self._server.stats()["callees"]
            if callee["servable"] == served.plan.name and callee["version"] == served.plan.version
        )

    def _withdraw(self, served: Served, reason: str) -> None:
        if served.number is not None:
            number, served.number = served.number, None
            served.answered = 0
            with contextlib.suppress(RuntimeError):  # the core is stopped before the workers
                self._server.withdraw(number, reason)

    def _check_left(self, served: Served, last: Worker) -> None:
        if not served.gone():
            return
        self._withdraw(served, f"its workers were ended ({last.end_text()})")
        if all(other.gone() for other in self._served):
            log.error("no worker is left, the servers stop")
            self._begin_stop()
            self._nobody_left()

    def _begin_leave(self, worker: Worker) -> None:
        if worker.state is WorkerState.READY:
            worker.state = WorkerState.LEAVING
            self._drain(worker)

    def _drain(self, worker: Worker) -> None:
        """Tells a worker to exit as soon as it holds nothing any more."""
        if worker.state is not WorkerState.LEAVING or worker.control is None:
            return
        try:
            # One after the other: functions that still run may call the worker's models.
            empty = all(self._server.drain_lane(attachment) for attachment in worker.attachments)
        except RuntimeError:
            return  # the core was stopped, and the worker will be told to exit
        if empty:
            self._tell_exit(worker)
        else:
            self._loop.after(_DRAIN_POLL, lambda: self._drain(worker))

    @staticmethod
    def _tell_exit(worker: Worker) -> None:
        try:
            worker.send({"type": "exit"})
        except ControlError:
            worker.signal(signal.SIGKILL)

    def _end_process(self, worker: Worker, reason: str) -> None:
        """Ends a worker that is out of order; its end is noticed as any other."""
        if worker.end_reason is None:
            worker.end_reason = reason
        worker.signal(signal.SIGKILL)

    def _end_offender(self, attachment: int, text: str) -> None:
        for worker in self._workers():
            if attachment in worker.attachments:
                self._end_process(worker, f"it broke the channel's protocol: {text}")

    # ---- launches and stop

    def _fail_launch(self, launch: Launch, error: str) -> None:
        if launch in self._launches:
            self._launches.remove(launch)
        launch.fail(error)

    def _finish_launches(self) -> None:
        for launch in list(self._launches):
            if launch.complete():
                self._launches.remove(launch)
                launch.succeed()

    def _begin_stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        for launch in list(self._launches):
            self._fail_launch(launch, "the server was stopped while servables were starting")
        for worker in self._workers():
            if worker.process is not None and worker.control is not None:
                self._tell_exit(worker)
            else:
                worker.state = WorkerState.GONE
        self._loop.after(KILL_AFTER, self._kill_all)
        self._check_stopped()

    def _kill_all(self) -> None:
        for worker in self._workers():
            worker.signal(signal.SIGKILL)

    def _check_stopped(self) -> None:
        self._finished = all(worker.state is WorkerState.GONE for worker in self._workers())


def _weakly(supervisor: Supervisor) -> Callable[[int, str], None]:
    """The core keeps the callback and the supervisor the core: a strong reference would keep both for ever."""
    reference = weakref.ref(supervisor)

    def lane_failed(attachment: int, text: str) -> None:
        alive = reference()
        if alive is not None:
            alive.lane_failed(attachment, text)

    return lane_failed
