"""How much of the machine the server takes: memory of the arena, descriptors, I/O threads, threads of the backends.

Every default can be replaced through the environment, see servoir.settings.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import PurePosixPath

from servoir import settings

_UNLIMITED = 1 << 62  # cgroup v1 says "no limit" with a number of about this size
_SEGMENT = 32 << 20  # to a multiple of which the arena's size is rounded up
_MOST_DESCRIPTORS = 1 << 20  # a higher limit is of no use, and programs exist that walk through all numbers below it

_first_descriptor_limit: int | None = None  # the soft one, before the server raised it


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _limits_upwards(mount: str, group: str, file: str) -> list[int]:
    """Reads the limits of a control group and of the groups above it. In a container the group's path often does not
    exist; the limit of the mount itself is then that of the container."""
    limits = []
    path = PurePosixPath("/" + group.lstrip("/"))
    for level in (path, *path.parents):
        text = _read(f"{mount}{str(level).rstrip('/')}/{file}")
        if text is not None and text.strip().isdigit() and int(text) < _UNLIMITED:
            limits.append(int(text))
    return limits


def cgroup_memory_limits(groups: str, root: str = "/sys/fs/cgroup") -> list[int]:
    """The memory limits, in bytes, of the groups in the text of /proc/self/cgroup, of version 1 and 2."""
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
    """How many bytes this process may use: the machine's memory, or what its control groups leave of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *cgroup_memory_limits(_read("/proc/self/cgroup") or "")])


def arena_limit() -> int:
    """How many bytes of shared memory tensors may take."""
    megabytes = settings.ARENA_LIMIT.read()
    if megabytes is not None:
        return megabytes << 20
    limits = [usable_memory() // 2]
    if (addresses := _soft_limit(resource.RLIMIT_AS)) is not None:
        # Workers, which have the same limit, map it twice, and half of the addresses are for all else that they need.
        limits.append(_whole_segments(addresses // 4))
    if (file_size := _soft_limit(resource.RLIMIT_FSIZE)) is not None:
        limits.append(_whole_segments(file_size))
    return min(limits)


def _soft_limit(kind: int) -> int | None:
    """None: there is none."""
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _whole_segments(size: int) -> int:
    return max(_SEGMENT, size // _SEGMENT * _SEGMENT)


def raise_descriptor_limit() -> None:
    """Lets this process open as many descriptors as its hard limit allows: the soft one is often 1024 for the sake of
    programs that use select(), which cannot wait for higher numbers."""
    global _first_descriptor_limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        _first_descriptor_limit = soft


def restore_descriptor_limit(pid: int) -> None:
    """Gives another process, which runs code that is not ours and may use select(), the limit that ours had first."""
    if _first_descriptor_limit is not None:
        with contextlib.suppress(OSError):  # it has ended
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_first_descriptor_limit, hard))


def io_threads(usable_cores: float) -> int:
    return settings.IO_THREADS.read() or max(1, min(16, int(usable_cores // 2)))


def backend_threads(usable_cores: float, workers: int, models: int) -> int:
    """How many threads one model gets: the cores are shared among all models that may run at the same time."""
    return settings.BACKEND_THREADS.read() or max(1, int(usable_cores / max(1, workers) / max(1, models)))
