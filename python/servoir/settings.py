"""The settings of a process: environment variables, what they mean and what may be in them. Only this file reads them.

docs/settings.md has the table TABLE for people, and tests/docs/test_settings_table.py compares the two. Some settings
have two variables, our own and that of the predecessor; our own takes precedence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

MOST_THREADS = 1024  # of a model
LEVELS = ("debug", "info", "warning", "error")
WARNING = LEVELS.index("warning")
STANDARD_ERROR = "stderr"  # a place for output


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting; the subclasses say what may be in its variables."""

    variable: str = ""  # our own; empty: only the predecessor's name is there
    predecessor: str = ""  # the variable of the predecessor with the same meaning
    meaning: str
    default: str = ""  # what holds where no variable is set, for people
    unit: str = ""
    error: type[Exception] = RuntimeError  # raised for a wrong value
    empty_is_wrong: bool = False  # else an empty value counts as not set

    @property
    def shown_default(self) -> str:
        return self.default

    def expected(self, variable: str) -> str:
        """What the variable may contain, to continue "should be …"."""
        raise NotImplementedError

    def given(self, environment: Mapping[str, str] | None = None) -> tuple[str, str] | None:
        """The variable that is set, and its value; None where neither is."""
        environment = os.environ if environment is None else environment
        for variable in filter(None, (self.variable, self.predecessor)):
            value = environment.get(variable)
            if value is not None and (value.strip() or self.empty_is_wrong):
                return variable, value
        return None

    def refuse(self, variable: str, value: str) -> Exception:
        return self.error(f"Environment variable {variable} should be {self.expected(variable)}, but is {value!r}")


@dataclass(frozen=True, kw_only=True)
class Number(Setting):
    low: int = 1
    high: int | None = None  # the end of the range that users choose from
    ceiling: int | None = None  # what only a slip exceeds
    fallback: int | None = None  # the default, where it is one number

    @property
    def shown_default(self) -> str:
        return self.default if self.fallback is None else str(self.fallback)

    def expected(self, variable: str) -> str:
        del variable
        return f"a number >= {self.low}" if self.high is None else f"a number in {self.low}…{self.high}"

    def read(self, environment: Mapping[str, str] | None = None) -> int | None:
        """The number; None where it is not set. Raises `error`, which names the variable, for anything else."""
        found = self.given(environment)
        if found is None:
            return None
        number = _whole_number(found[1])
        if number is not None and self.ceiling is not None and number > self.ceiling:
            raise replace(self, high=self.ceiling, ceiling=None).refuse(*found)
        if number is None or number < self.low or (self.high is not None and number > self.high):
            raise self.refuse(*found)
        return number

    def value(self) -> int:
        """What it is set to, or its default."""
        given = self.read()
        if given is not None:
            return given
        assert self.fallback is not None
        return self.fallback


@dataclass(frozen=True, kw_only=True)
class Level(Setting):
    """A level of log records: a word in our variable, the number of the word in the predecessor's."""

    fallback: int

    @property
    def shown_default(self) -> str:
        return f"{LEVELS[self.fallback]}, {self.fallback}"

    def expected(self, variable: str) -> str:
        return f"one of {', '.join(LEVELS)}" if variable == self.variable else f"a number in 0…{len(LEVELS) - 1}"

    def read(self, environment: Mapping[str, str] | None = None) -> int | None:
        """The level's number, 0 for debug; None where it is not set."""
        found = self.given(environment)
        if found is None:
            return None
        variable, value = found
        if variable == self.variable:
            number = LEVELS.index(value.strip().lower()) if value.strip().lower() in LEVELS else None
        else:
            number = _whole_number(value)
        if number is None or number >= len(LEVELS):
            raise self.refuse(variable, value)
        return number

    def value(self) -> int:
        """What it is set to, or its default."""
        given = self.read()
        return self.fallback if given is None else given


@dataclass(frozen=True, kw_only=True)
class Place(Setting):
    """A directory, or where it is said a file. Whether it is there is for its users to say."""

    def expected(self, variable: str) -> str:
        del variable
        return "a directory"

    def read(self, environment: Mapping[str, str] | None = None) -> str | None:
        found = self.given(environment)
        return None if found is None else found[1]

    def of(self, name: str) -> Place:
        """The setting for one thing of several, for a variable with NAME in it."""
        return replace(self, variable=self.variable.replace("NAME", name.upper()))


@dataclass(frozen=True, kw_only=True)
class NativeText(Setting):
    """A text that the C++ parts read by themselves."""

    def expected(self, variable: str) -> str:
        del variable
        return "a text of the form {SERVING:1}"


_LONGEST_NUMBER = 40  # digits; more of them are more than any setting may be


def _whole_number(value: str) -> int | None:
    text = value.strip()
    return int(text[:_LONGEST_NUMBER]) if text.isascii() and text.isdigit() else None


ARENA_LIMIT = Number(
    variable="SERVOIR_ARENA_LIMIT_MB",
    meaning="The most shared memory that tensors may take.",
    default="half of the memory that the process may use, a quarter of its addresses (`ulimit -v`) at most",
    unit="MiB",
    ceiling=1 << 24,
)
IO_THREADS = Number(
    variable="SERVOIR_IO_THREADS",
    meaning="Threads that talk to clients.",
    default="half of the usable cores, at least 1 and at most 16",
    ceiling=256,
)
MAX_CONNECTIONS = Number(
    variable="SERVOIR_MAX_CONNECTIONS",
    meaning="Connections of clients that may be open; the next ones wait until others are closed. The limit of open"
    " files (`ulimit -n`) may allow fewer.",
    fallback=65536,
    ceiling=1 << 30,
)
STOP_GRACE = Number(
    variable="SERVOIR_STOP_GRACE",
    meaning="How long requests may take to come to their end when the server is stopped, by a signal or by `stop()`."
    " What is left then is refused.",
    fallback=30,
    unit="seconds",
    low=0,
    ceiling=86400,
)
DRAIN_DELAY = Number(
    variable="SERVOIR_DRAIN_DELAY",
    meaning="How long the server serves on before that, while health says that it is not ready: as long as load"
    " balancers need to see it.",
    fallback=0,
    unit="seconds",
    low=0,
    ceiling=86400,
)
JSON_NAN = Number(
    variable="SERVOIR_JSON_NAN",
    meaning="`1`: `NaN`, `Infinity` and `-Infinity` in the JSON of requests are taken for inputs of floats. JSON has no"
    " such numbers, so without it they are an error.",
    low=0,
    high=1,
    fallback=0,
)
BACKEND_THREADS = Number(
    variable="SERVOIR_BACKEND_THREADS",
    meaning="Threads of each model. `Context(thread_num=…)` sets them for one model.",
    default="usable cores / workers with models / models",
    ceiling=MOST_THREADS,
)
TRIAL_SECONDS = Number(
    variable="SERVOIR_TRIAL_SECONDS",
    meaning="How long a backend's library may take to load before it is refused.",
    fallback=60,
    unit="seconds",
    ceiling=86400,
)
STAGE_TIMEOUT = Number(
    variable="SERVOIR_STAGE_TIMEOUT",
    meaning="How long a worker may take for a call of a function, or a run of a model, before it is ended and another"
    " one started; 0: as long as it likes. `add_stage(timeout=…)` and `declare_model(timeout=…)` set it for one of"
    " them.",
    low=0,
    unit="seconds",
    fallback=300,
    ceiling=7 * 86400,
)
OPENVINO_DIR = Place(
    variable="SERVOIR_OPENVINO_DIR",
    meaning="Where OpenVINO's libraries are: a directory, or the library's file.",
    default="[searched for](backends.md#where-openvinos-libraries-are-looked-for)",
)
PACKAGE_DIR = Place(
    variable="SERVOIR_NAME_DIR",
    meaning="Where the Python package NAME of a backend is, for instance `SERVOIR_ONNXRUNTIME_DIR`,"
    " `SERVOIR_MINDSPORE_DIR`, `SERVOIR_TORCH_DIR`.",
    default="[searched for](backends.md#where-the-packages-of-python-backends-are-looked-for)",
)
PLUGIN_DIR = Place(
    variable="SERVOIR_PLUGIN_DIR",
    meaning="Where the plug-ins of native backends are, for those who develop one.",
    default="the directory `plugins` of the package",
)
MARK_ROOMS = Number(
    variable="SERVOIR_MARK_ROOMS",
    meaning="`1`: before each run of a model the memory for its results is filled with a mark, and a run that leaves"
    " some of it as it was is an error. For tests of backends.",
    low=0,
    high=1,
    fallback=0,
)
WORKER_OUTPUT = Place(
    variable="SERVOIR_WORKER_OUTPUT",
    meaning="Where what workers print goes, the tracebacks of stages among it: a directory for a file for each worker,"
    " or `stderr`, where each line has the worker's name before it.",
    default="the directory `serving_logs` in the current one; standard error where that cannot be written",
)
LOG_LEVEL = Level(
    variable="SERVOIR_LOG",
    predecessor="GLOG_v",
    meaning="The least level of records that are written.",
    fallback=WARNING,
    error=ValueError,
    empty_is_wrong=True,
)
NATIVE_LOG_LEVEL = NativeText(
    predecessor="MS_SUBMODULE_LOG_v",
    meaning="The level of the C++ parts' records alone, as `{SERVING:1}`; it takes precedence over `GLOG_v`.",
    default="that of all records",
)
LOG_TO_STDERR = Number(
    predecessor="GLOG_logtostderr",
    meaning="`1`: records go to standard error. `0`: they go to a file in `GLOG_log_dir`.",
    fallback=1,
    error=ValueError,
    empty_is_wrong=True,
    low=0,
    high=1,
)
LOG_DIRECTORY = Place(
    variable="SERVOIR_LOG_DIR",
    predecessor="GLOG_log_dir",
    meaning="An existing directory for log files, one for each process, instead of standard error. `GLOG_log_dir`"
    " counts only with `GLOG_logtostderr=0`.",
    default="none",
    error=ValueError,
)
LOG_STDERR_LEVEL = Level(
    variable="SERVOIR_LOG_STDERR",
    predecessor="GLOG_stderrthreshold",
    meaning="With log files: the least level of records that go to standard error as well.",
    fallback=WARNING,
    error=ValueError,
    empty_is_wrong=True,
)
LOG_MAX_BYTES = Number(
    variable="SERVOIR_LOG_MAX_BYTES",
    predecessor="logger_maxBytes",
    meaning="The largest log file. One that is full is renamed, and the next begun.",
    fallback=52428800,
    unit="bytes",
    error=ValueError,
    empty_is_wrong=True,
    high=(1 << 63) - 1,
)
LOG_BACKUPS = Number(
    variable="SERVOIR_LOG_BACKUPS",
    predecessor="logger_backupCount",
    meaning="How many full log files are kept.",
    fallback=30,
    error=ValueError,
    empty_is_wrong=True,
    high=10000,  # each of them is renamed when a file is full
)

TABLE: tuple[Setting, ...] = (
    ARENA_LIMIT,
    IO_THREADS,
    MAX_CONNECTIONS,
    STOP_GRACE,
    DRAIN_DELAY,
    JSON_NAN,
    BACKEND_THREADS,
    TRIAL_SECONDS,
    STAGE_TIMEOUT,
    OPENVINO_DIR,
    PACKAGE_DIR,
    PLUGIN_DIR,
    MARK_ROOMS,
    WORKER_OUTPUT,
    LOG_LEVEL,
    NATIVE_LOG_LEVEL,
    LOG_TO_STDERR,
    LOG_DIRECTORY,
    LOG_STDERR_LEVEL,
    LOG_MAX_BYTES,
    LOG_BACKUPS,
)
# Set by the server for each worker of a device, before servable_config.py is imported: the device's number.
DEVICE_VARIABLE = "SERVING_DEVICE_ID"
