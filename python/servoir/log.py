"""Logging of the Python parts, in the format of the C++ parts: "[LEVEL] SERVING(pid,name):time file:line] text".

The environment is read at the first record, see servoir.settings. A value that is not accepted raises ValueError there.
A process has one file, servoir.PID.log, for its Python and its C++ parts; the C++ parts write it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servoir import settings, standard_streams

_NAMES = ("DEBUG", "INFO", "WARNING", "ERROR")
_DEBUG, _INFO, _WARNING, _ERROR = range(4)


@dataclass(frozen=True)
class _Settings:
    level: int
    to_stderr: bool
    directory: str
    max_bytes: int
    backup_count: int
    stderr_threshold: int


def _read_settings() -> _Settings:
    directory = settings.LOG_DIRECTORY.given()
    ours = directory is not None and directory[0] == settings.LOG_DIRECTORY.variable
    to_stderr = settings.LOG_TO_STDERR.value() == 1 and not ours
    place = ""
    if not to_stderr:
        if directory is None:
            raise ValueError("Environment variable GLOG_log_dir is needed when GLOG_logtostderr is 0")
        if not os.path.isdir(directory[1]):
            raise settings.LOG_DIRECTORY.refuse(*directory)
        place = os.path.realpath(directory[1])
    return _Settings(
        level=settings.LOG_LEVEL.value(),
        to_stderr=to_stderr,
        directory=place,
        max_bytes=settings.LOG_MAX_BYTES.value(),
        backup_count=settings.LOG_BACKUPS.value(),
        stderr_threshold=settings.LOG_STDERR_LEVEL.value(),
    )


_settings: _Settings | None = None


def _current() -> _Settings:
    global _settings
    if _settings is None:
        read = _read_settings()
        if not read.to_stderr:
            from servoir import _core  # only here: clients need not load it

            _core.set_log_directory(read.directory, read.max_bytes, read.backup_count, read.stderr_threshold)
        _settings = read
    return _settings


def set_up() -> None:
    """Reads the environment now, for the C++ parts as well. ValueError as at a first record."""
    _current()


def _thread_name() -> str:
    try:
        with open("/proc/thread-self/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:
        return "python"


def format_record(level: int, file: str, line: int, text: str) -> str:
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%d-%H:%M:%S", time.localtime(now // 1_000_000_000))
    micros = now // 1000 % 1_000_000
    return (
        f"[{_NAMES[level]}] SERVING({os.getpid()},{_thread_name()}):{stamp}.{micros // 1000:03}.{micros % 1000:03}"
        f" {os.path.basename(file)}:{line}] {text}"
    )


def _formatted(message: object, args: tuple[Any, ...], exc_info: object) -> str:
    """As the standard library's logging does it; but a text that its arguments do not fit is no reason to fail."""
    text = str(message)
    if args:
        mapping = args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args
        try:
            text %= mapping
        except (TypeError, ValueError, KeyError) as error:
            text = f"{text} {args!r} (the arguments do not fit the text: {error})"
    if exc_info:
        import traceback

        failure = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
        if failure is not None:
            text += "\n" + "".join(traceback.format_exception(failure)).rstrip("\n")
    return text


def _write(level: int, message: object, args: tuple[Any, ...], exc_info: object) -> None:
    current = _current()
    if level < current.level:
        return
    frame = sys._getframe(2)
    record = format_record(level, frame.f_code.co_filename, frame.f_lineno, _formatted(message, args, exc_info))
    if not current.to_stderr:
        from servoir import _core

        _core.log_write_file(_utf8(record))
        if level < current.stderr_threshold:
            return
    _write_stderr(record)


def pass_on(lines: str) -> None:
    """Writes what another process has written, without its last line end, to standard error."""
    _write_stderr(lines)


def _write_stderr(record: str) -> None:
    core = sys.modules.get("servoir._core")  # which clients need not load
    if core is not None and standard_streams.is_standard_error(sys.stderr):
        core.log_write_stderr(_utf8(record))  # a full pipe does not stop it
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it is closed; there is nobody to tell
        # One write a record, so that those of several threads and processes do not mix.
        sys.stderr.write(record + "\n")
        sys.stderr.flush()


def _utf8(record: str) -> str:
    """Names of files may have bytes that are no text."""
    return record.encode(errors="backslashreplace").decode()


def debug(message: object, *args: Any, exc_info: object = None) -> None:
    """Writes a record of the level debug.

    Args:
        message: the text, in which `args` are put with %.
        args: values for the text, or one mapping.
        exc_info: True adds the traceback of the exception that is being handled; an exception adds its own.

    Raises:
        ValueError: at the first record of a process, a log setting in the environment that cannot be.
    """
    _write(_DEBUG, message, args, exc_info)


def info(message: object, *args: Any, exc_info: object = None) -> None:
    """As debug(), at the level info."""
    _write(_INFO, message, args, exc_info)


def warning(message: object, *args: Any, exc_info: object = None) -> None:
    """As debug(), at the level warning."""
    _write(_WARNING, message, args, exc_info)


def error(message: object, *args: Any, exc_info: object = None) -> None:
    """As debug(), at the level error."""
    _write(_ERROR, message, args, exc_info)


def get_level() -> str:
    """The least level of records that are written, from '0' for debug to '3' for error.

    Raises:
        ValueError: a log setting in the environment that cannot be.
    """
    return str(_current().level)


def get_log_config() -> dict[str, str]:
    """The log settings in force, by the names of their environment variables.

    Raises:
        ValueError: a log setting in the environment that cannot be.
    """
    current = _current()
    config = {"GLOG_v": str(current.level), "GLOG_logtostderr": "1" if current.to_stderr else "0"}
    if not current.to_stderr:
        config["GLOG_log_dir"] = current.directory
        config["logger_maxBytes"] = str(current.max_bytes)
        config["logger_backupCount"] = str(current.backup_count)
        config["GLOG_stderrthreshold"] = str(current.stderr_threshold)
    return config
