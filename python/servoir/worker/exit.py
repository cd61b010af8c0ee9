"""How a worker ends: told by the server, by a signal, or because the server is gone.

A thread of its own reads the control socket and is told of signals, because the main thread may be inside a function or
a native call for long. (That the server is gone is noticed by the runtime, too, which needs no interpreter lock.)
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
from typing import TYPE_CHECKING

from servoir import forks, log
from servoir.control.messages import Exit, Leaving
from servoir.control.socket import LOST_SERVER, ControlSocket
from servoir.errors import ControlError

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime


class WorkerExit:
    def __init__(self, control: ControlSocket, runtime: WorkerRuntime) -> None:
        """In the main thread. From now on SIGINT and SIGTERM end the worker in order."""
        self._control = control
        self._runtime = runtime
        self._serving = False
        self.told = threading.Event()  # the worker is to end
        self._signals, raised = socket.socketpair()
        raised.setblocking(False)
        self._raised = raised
        self._previous = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGTERM)}
        # Python writes the number here at once, in whatever thread the signal comes.
        signal.set_wakeup_fd(raised.fileno(), warn_on_full_buffer=False)
        forks.let_go_in_children(self._leave_to_parent)

    def watch(self) -> None:
        """After the load message has been read: from here on only this thread reads the control socket."""
        threading.Thread(target=self._run, name="servoir-control", daemon=True).start()

    def serve(self) -> None:
        """From now on the worker finishes what it runs before it ends."""
        self._serving = True

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._control.fileno(), selectors.EVENT_READ, self._read_control)
        selector.register(self._signals, selectors.EVENT_READ, self._read_signals)
        while True:
            for key, _ in selector.select():
                key.data()

    def _read_control(self) -> None:
        try:
            messages, is_open = self._control.receive_ready()
        except ControlError:
            messages, is_open = [], False
        for message in messages:
            if isinstance(message, Exit):
                self._exit()
            else:
                log.error("the server sent a message that is none of its: %s", message.kind)
        if not is_open:
            os._exit(LOST_SERVER)  # the server is gone, and nobody waits for an answer

    def _read_signals(self) -> None:
        numbers = self._signals.recv(64)
        # The servable's own handlers run in the main thread, which may be asleep.
        self._runtime.interrupt()
        for number in numbers:
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            try:
                self._control.send(Leaving(number))
            except ControlError:
                os._exit(LOST_SERVER)
            if not self._serving:
                os._exit(0)

    def _leave_to_parent(self) -> None:
        """In a child of fork, a process of the servable's own: signals mean there what they mean in any process, and do
        not tell the worker that it has got them."""
        wakeup = signal.set_wakeup_fd(-1)
        if wakeup not in (-1, self._raised.fileno()):
            signal.set_wakeup_fd(wakeup)  # of the servable
        for number, handler in self._previous.items():
            if signal.getsignal(number) is _ignore:
                signal.signal(number, handler)
        self._raised.close()
        self._signals.close()
        self._control.close()

    def _exit(self) -> None:
        if not self._serving:
            os._exit(0)
        self.told.set()
        self._runtime.stop()


def _ignore(number: int, frame: object) -> None:
    pass
