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

from servoir import log
from servoir.control import ControlError, ControlSocket

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime


class Ending:
    def __init__(self, control: ControlSocket, runtime: WorkerRuntime) -> None:
        """In the main thread. From now on SIGINT and SIGTERM end the worker in order."""
        self._control = control
        self._runtime = runtime
        self._serving = False
        self.told = threading.Event()  # the worker is to end
        self._signals, raised = socket.socketpair()
        raised.setblocking(False)
        self._raised = raised
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _ignore)
        # Written by the C part of the handler, at once and in whatever thread the signal comes.
        signal.set_wakeup_fd(raised.fileno(), warn_on_full_buffer=False)

    def watch(self) -> None:
        """After the load message has been read: whoever reads the control socket now is the thread."""
        threading.Thread(target=self._run, name="servoir-control", daemon=True).start()

    def serve(self) -> None:
        """From now on there is something to be finished before the end."""
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
            if message["type"] == "exit":
                self._exit()
            else:
                log.error("the server sent a message of the unknown type %r", message["type"])
        if not is_open:
            os._exit(1)  # the server is gone, nobody wants an answer

    def _read_signals(self) -> None:
        for number in self._signals.recv(64):
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            try:
                self._control.send({"type": "leaving", "signal": number})
            except ControlError:
                os._exit(1)
            if not self._serving:
                os._exit(0)

    def _exit(self) -> None:
        if not self._serving:
            os._exit(0)
        self.told.set()
        self._runtime.stop()


def _ignore(number: int, frame: object) -> None:
    pass
