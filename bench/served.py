"""A server of the benchmark as a process of its own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests"))  # where the package `support` is, which is not installed

from support.processes import free_port  # noqa: E402
from support.servers import ServerProcess, running  # noqa: E402

__all__ = ["free_port", "serving"]


@contextmanager
def serving(
    folder: Path,
    servables: list[str],
    core: int | None = None,
    env: dict[str, str] | None = None,
    *,
    seconds: float = 30,
) -> Iterator[ServerProcess]:
    """serve.py with these servables, ready within so many seconds; `core`: the server and its workers may use only this
    one."""
    prefix = [] if core is None else ["taskset", "-c", str(core)]
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        arguments = [str(HERE / "serve.py"), str(folder), *servables]
        with running(ServerProcess(arguments, Path(work), env, prefix=prefix), seconds) as server:
            yield server
