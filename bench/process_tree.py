"""CPU time and memory of a process and all its descendants, from /proc."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat from the third field (state) on; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> list[int]:
    """`root` and its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _fields(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found, edge = [], [root]
    while edge:
        pid = edge.pop()
        found.append(pid)
        edge += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, with that of children that ended and were waited for."""
    return sum(int(value) for pid in tree(root) for value in _fields(pid)[11:15]) / TICKS


def pss_mb(root: int) -> float:
    """Proportional set size: memory shared by several processes counts once."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024 / 1e6


@dataclass
class Sample:
    """CPU of a tree over a time: made at the start, read by stop()."""

    root: int

    def __post_init__(self) -> None:
        self._cpu = cpu_seconds(self.root)
        self._wall = time.monotonic()
        self.cpu = self.wall = 0.0

    def stop(self) -> Sample:
        self.wall = time.monotonic() - self._wall
        self.cpu = cpu_seconds(self.root) - self._cpu
        return self
