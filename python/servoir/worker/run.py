"""A worker's life: hello, load, ready, serve, end."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import socket
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from servoir import _core, log, standard_streams
from servoir.control.messages import Failed, Hello, Load, Ready
from servoir.control.socket import ControlSocket
from servoir.errors import ControlError
from servoir.worker.exit import WorkerExit

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime

_PACKAGE_DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def run(runtime: WorkerRuntime, control_fd: int, lane_fds: list[int]) -> NoReturn:
    # The log should have everything up to a crash, and where it was.
    standard_streams.never_fail()
    faulthandler.enable()
    log.set_up()
    control = ControlSocket(socket.socket(fileno=control_fd))
    worker_exit = WorkerExit(control, runtime)
    control.send(Hello(_core.__version__, _core.channel_version, os.getpid()))
    message = control.receive()
    if not isinstance(message, Load):
        os._exit(0)
    worker_exit.watch()
    ready = _load(message, runtime, control)
    functions, models = lane_fds[:2], lane_fds[2:]
    if ready.models:
        runtime.serve_models(models[0], models[1])
    worker_exit.serve()
    try:
        control.send(ready)
    except ControlError:
        os._exit(1)
    if ready.functions:
        runtime.serve_functions(functions[0], functions[1])
    else:
        worker_exit.told.wait()
    runtime.stop()
    runtime.join()
    _end()


def _load(message: Load, runtime: WorkerRuntime, control: ControlSocket) -> Ready:
    # Imported here: numpy, and all else that takes its time.
    from servoir.worker.load import load

    try:
        return load(message, runtime, control.send)
    except BaseException as error:  # a SystemExit of the configuration is a failure as well
        traceback.print_exc()
        sys.stderr.flush()
        with contextlib.suppress(ControlError):  # the server is gone; the log has it
            control.send(Failed(_describe(error), "".join(_user_traceback(error))))
        os._exit(1)


def _describe(error: BaseException) -> str:
    if type(error).__module__.startswith("servoir."):
        return f"{type(error).__name__}: {error}"  # where we keep the class tells the user nothing
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _user_traceback(error: BaseException) -> list[str]:
    """The traceback without the frames of the import system and of this package; nothing without others."""
    shown = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = shown
    while part is not None:
        part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if not _is_own(frame.filename)])
        part = part.__cause__ or part.__context__
    if not shown.stack and not isinstance(error, SyntaxError):
        return []
    return list(shown.format())


def _is_own(filename: str) -> bool:
    return filename.startswith((_PACKAGE_DIRECTORY, "<frozen importlib")) or "/importlib/" in filename


def _end() -> NoReturn:
    """What the interpreter does at its end, without the destructors of modules: those of backends may hang."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
