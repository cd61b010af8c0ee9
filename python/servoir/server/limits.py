"""How much of the machine the server takes: memory of the arena, I/O threads, threads of the backends.

Every default can be replaced through the environment: SERVOIR_ARENA_LIMIT_MB, SERVOIR_IO_THREADS,
SERVOIR_BACKEND_THREADS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath

_UNLIMITED = 1 << 62  # cgroup v1 says "no limit" with a number of about this size


def environment_number(variable: str, environment: Mapping[str, str] | None = None) -> int | None:
    """A number >= 1 from the environment; None where it is not set; RuntimeError for anything else."""
    value = (os.environ if environment is None else environment).get(variable, "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise RuntimeError(f"Environment variable {variable} should be a number >= 1, but is {value!r}")
    return int(value)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _limits_upwards(mount: str, group: str, file: str) -> list[int]:
    """The limits of a control group and of those above it. In a container the group's path is often not there, but the
    mount's own limit is the container's."""
    limits = []
    path = PurePosixPath("/" + group.lstrip("/"))
    for level in (path, *path.parents):
        text = _read(f"{mount}{str(level).rstrip('/')}/{file}")
        if text is not None and text.strip().isdigit() and int(text) < _UNLIMITED:
            limits.append(int(text))
    return limits


def cgroup_memory_limits(groups: str, root: str = "/sys/fs/cgroup") -> list[int]:
    """Memory limits in bytes that apply, from the text of /proc/self/cgroup (v1 and v2)."""
    limits: list[int] = []
    for line in groups.splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, group = parts
        if not controllers:
            limits += _limits_upwards(root, group, "memory.max")
            limits += _limits_upwards(f"{root}/unified", group, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits_upwards(f"{root}/memory", group, "memory.limit_in_bytes")
    return limits


def usable_memory() -> int:
    """Bytes that this process may use: the machine's memory, cut by its control groups."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *cgroup_memory_limits(_read("/proc/self/cgroup") or "")])


def arena_limit() -> int:
    """Bytes of shared memory for tensors."""
    megabytes = environment_number("SERVOIR_ARENA_LIMIT_MB")
    return megabytes << 20 if megabytes is not None else usable_memory() // 2


def io_threads(usable_cores: float) -> int:
    return environment_number("SERVOIR_IO_THREADS") or max(1, min(4, int(usable_cores // 2)))


def backend_threads(usable_cores: float, workers: int, models: int) -> int:
    """Threads of one model: the cores shared among all models that may run at the same time."""
    return environment_number("SERVOIR_BACKEND_THREADS") or max(1, int(usable_cores / max(1, workers) / max(1, models)))
