"""Logging of the Python parts, in the format of the C++ parts: "[LEVEL] SERVING(pid,name):time file:line] text".

The environment is read at the first record. A value that is not accepted raises ValueError there. Our own names win
over those of the predecessor:

    GLOG_v                SERVOIR_LOG            0 debug, 1 info, 2 warning (default), 3 error; the words in SERVOIR_LOG
    GLOG_logtostderr                             1 (default): standard error; 0: files in GLOG_log_dir
    GLOG_log_dir          SERVOIR_LOG_DIR        an existing directory; SERVOIR_LOG_DIR alone is enough for files
    GLOG_stderrthreshold  SERVOIR_LOG_STDERR     with files: from which level on standard error gets records as well (2)
    logger_maxBytes       SERVOIR_LOG_MAX_BYTES  a file becomes an old one before it is larger (52428800)
    logger_backupCount    SERVOIR_LOG_BACKUPS    old files that are kept (30)

A process has one file, servoir.PID.log, for its Python and its C++ parts; the C++ parts write it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMES = ("DEBUG", "INFO", "WARNING", "ERROR")
_WORDS = ("debug", "info", "warning", "error")
_DEBUG, _INFO, _WARNING, _ERROR = range(4)
_MOST = (1 << 63) - 1
_MOST_BACKUPS = 10000  # each of them is renamed when a file is full


@dataclass(frozen=True)
class _Settings:
    level: int
    to_stderr: bool
    directory: str
    max_bytes: int
    backup_count: int
    stderr_threshold: int


def _number(default: int, low: int, high: int, *variables: str) -> int:
    """Of the first of the variables that is set."""
    variable = next((name for name in variables if name in os.environ), None)
    if variable is None:
        return default
    value = os.environ[variable]
    text = value.strip()
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"Environment variable {variable} should be a number in {low}…{high}, but is {value!r}")
    return int(text)


def _level(word: str, number: str) -> int:
    """`word`: our variable with a word, which wins over the variable `number`."""
    value = os.environ.get(word)
    if value is None:
        return _number(_WARNING, _DEBUG, _ERROR, number)
    if value.strip().lower() not in _WORDS:
        raise ValueError(f"Environment variable {word} should be one of {', '.join(_WORDS)}, but is {value!r}")
    return _WORDS.index(value.strip().lower())


def _read_settings() -> _Settings:
    variable = "SERVOIR_LOG_DIR" if os.environ.get("SERVOIR_LOG_DIR") else "GLOG_log_dir"
    to_stderr = _number(1, 0, 1, "GLOG_logtostderr") == 1 and variable == "GLOG_log_dir"
    directory = ""
    if not to_stderr:
        directory = os.environ.get(variable, "")
        if not directory:
            raise ValueError("Environment variable GLOG_log_dir is needed when GLOG_logtostderr is 0")
        if not os.path.isdir(directory):
            raise ValueError(f"Environment variable {variable} should be a directory, but is {directory!r}")
        directory = os.path.realpath(directory)
    return _Settings(
        level=_level("SERVOIR_LOG", "GLOG_v"),
        to_stderr=to_stderr,
        directory=directory,
        max_bytes=_number(52428800, 1, _MOST, "SERVOIR_LOG_MAX_BYTES", "logger_maxBytes"),
        backup_count=_number(30, 1, _MOST_BACKUPS, "SERVOIR_LOG_BACKUPS", "logger_backupCount"),
        stderr_threshold=_level("SERVOIR_LOG_STDERR", "GLOG_stderrthreshold"),
    )


_settings: _Settings | None = None


def _current() -> _Settings:
    global _settings
    if _settings is None:
        settings = _read_settings()
        if not settings.to_stderr:
            from servoir import _core  # only here: clients need not load it

            _core.set_log_directory(
                settings.directory, settings.max_bytes, settings.backup_count, settings.stderr_threshold
            )
        _settings = settings
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
    settings = _current()
    if level < settings.level:
        return
    frame = sys._getframe(2)
    record = format_record(level, frame.f_code.co_filename, frame.f_lineno, _formatted(message, args, exc_info))
    if not settings.to_stderr:
        from servoir import _core

        # Names of files may have bytes that are no text.
        _core.log_write_file(record.encode(errors="backslashreplace").decode())
        if level < settings.stderr_threshold:
            return
    try:
        # One write a record, so that those of several threads and processes do not mix.
        sys.stderr.write(record + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # standard error is closed; there is nobody to tell


def debug(message: object, *args: Any, exc_info: object = None) -> None:
    """Logs `message % args`; with `exc_info=True` also the traceback of the exception that is being handled."""
    _write(_DEBUG, message, args, exc_info)


def info(message: object, *args: Any, exc_info: object = None) -> None:
    _write(_INFO, message, args, exc_info)


def warning(message: object, *args: Any, exc_info: object = None) -> None:
    _write(_WARNING, message, args, exc_info)


def error(message: object, *args: Any, exc_info: object = None) -> None:
    _write(_ERROR, message, args, exc_info)


def get_level() -> str:
    """'0' (debug) … '3' (error)."""
    return str(_current().level)


def get_log_config() -> dict[str, str]:
    """The settings in force, by the names of their environment variables."""
    settings = _current()
    config = {"GLOG_v": str(settings.level), "GLOG_logtostderr": "1" if settings.to_stderr else "0"}
    if not settings.to_stderr:
        config["GLOG_log_dir"] = settings.directory
        config["logger_maxBytes"] = str(settings.max_bytes)
        config["logger_backupCount"] = str(settings.backup_count)
        config["GLOG_stderrthreshold"] = str(settings.stderr_threshold)
    return config
