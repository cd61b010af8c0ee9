"""Logging of the Python parts, in the format of the C++ parts: "[LEVEL] SERVING(pid,name):time file:line] text".

Environment, read at the first record: GLOG_v (0 debug … 3 error, default 2) and SERVOIR_LOG (debug, info, warning,
error), which wins; GLOG_logtostderr (1, the default: standard error; 0: files in GLOG_log_dir, which rotate at
logger_maxBytes and keep logger_backupCount old ones, with records from GLOG_stderrthreshold on on standard error as
well). A value that is none of these raises ValueError.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging.handlers import RotatingFileHandler

_NAMES = ("DEBUG", "INFO", "WARNING", "ERROR")
_WORDS = ("debug", "info", "warning", "error")
_DEBUG, _INFO, _WARNING, _ERROR = range(4)


@dataclass(frozen=True)
class _Settings:
    level: int
    to_stderr: bool
    directory: str
    max_bytes: int
    backup_count: int
    stderr_threshold: int


def _number(variable: str, default: int, low: int, high: int | None) -> int:
    value = os.environ.get(variable)
    if value is None:
        return default
    text = value.strip()
    if not text.isascii() or not text.isdigit() or int(text) < low or (high is not None and int(text) > high):
        bounds = f">= {low}" if high is None else f"in {low}…{high}"
        raise ValueError(f"Environment variable {variable} should be a number {bounds}, but is {value!r}")
    return int(text)


def _read_settings() -> _Settings:
    level = _number("GLOG_v", _WARNING, _DEBUG, _ERROR)
    word = os.environ.get("SERVOIR_LOG")
    if word is not None:
        if word.strip() not in _WORDS:
            raise ValueError(f"Environment variable SERVOIR_LOG should be one of {', '.join(_WORDS)}, but is {word!r}")
        level = _WORDS.index(word.strip())
    to_stderr = _number("GLOG_logtostderr", 1, 0, 1) == 1
    directory = os.environ.get("GLOG_log_dir", "")
    if not to_stderr:
        if not directory:
            raise ValueError("Environment variable GLOG_log_dir is needed when GLOG_logtostderr is 0")
        if not os.path.isdir(directory):
            raise ValueError(f"Environment variable GLOG_log_dir should be a directory, but is {directory!r}")
    return _Settings(
        level=level,
        to_stderr=to_stderr,
        directory=os.path.realpath(directory) if directory else "",
        max_bytes=_number("logger_maxBytes", 52428800, 1, None),
        backup_count=_number("logger_backupCount", 30, 1, None),
        stderr_threshold=_number("GLOG_stderrthreshold", _WARNING, _DEBUG, _ERROR),
    )


_settings: _Settings | None = None
_file: RotatingFileHandler | None = None


def _current() -> _Settings:
    global _settings
    if _settings is None:
        _settings = _read_settings()
    return _settings


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


def _write_file(settings: _Settings, level: int, record: str) -> None:
    global _file
    import logging
    from logging.handlers import RotatingFileHandler

    if _file is None:
        _file = RotatingFileHandler(
            os.path.join(settings.directory, f"servoir.{os.getpid()}.log"),
            maxBytes=settings.max_bytes,
            backupCount=settings.backup_count,
            encoding="utf-8",
            delay=True,
        )
        _file.setFormatter(logging.Formatter("%(message)s"))
    _file.handle(logging.LogRecord("servoir", logging.DEBUG + 10 * level, "", 0, record, None, None))


def _write(level: int, message: object, args: tuple[object, ...]) -> None:
    settings = _current()
    if level < settings.level:
        return
    frame = sys._getframe(2)
    text = str(message) % args if args else str(message)
    record = format_record(level, frame.f_code.co_filename, frame.f_lineno, text)
    if not settings.to_stderr:
        _write_file(settings, level, record)
        if level < settings.stderr_threshold:
            return
    try:
        # One write a record, so that those of several threads and processes do not mix.
        sys.stderr.write(record + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # standard error is closed; there is nobody to tell


def debug(message: object, *args: object) -> None:
    """Logs `message % args`."""
    _write(_DEBUG, message, args)


def info(message: object, *args: object) -> None:
    _write(_INFO, message, args)


def warning(message: object, *args: object) -> None:
    _write(_WARNING, message, args)


def error(message: object, *args: object) -> None:
    _write(_ERROR, message, args)


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


def _after_fork() -> None:
    global _file
    _file = None  # its name has the process id


_register: Callable[..., None] = os.register_at_fork
_register(after_in_child=_after_fork)
