"""cpp/echo.cc as a process: what HTTP/2 and nghttp2 cost alone, in the same minutes as the figure next to it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import served  # noqa: F401  makes the package `support` known
from process_tree import Sample
from support.h2load import h2load

SOURCE = Path(__file__).resolve().parent / "cpp" / "echo.cc"


@dataclass
class BareEcho:
    address: str
    pid: int

    def per_cpu_second(self, body: bytes, shape: tuple[int, int], seconds: float, core: int | None) -> float:
        """Requests for a CPU second of the server, by `shape` connections and streams."""
        sample = Sample(self.pid)
        result = h2load(
            f"http://{self.address}/echo", body, connections=shape[0], streams=shape[1], seconds=seconds, core=core
        )
        sample.stop()
        if result.failed:
            raise RuntimeError(f"the bare echo: {result.failed} of {result.requests} requests failed")
        return result.requests / sample.cpu


@contextmanager
def bare_echo(folder: Path, core: int | None) -> Iterator[BareEcho | None]:
    """None where it cannot be built: it needs a C++ compiler and nghttp2's header."""
    program = folder / "echo"
    compiler = shutil.which("c++")
    command = [compiler or "c++", "-O2", "-std=c++20", str(SOURCE), "-o", str(program), "-lnghttp2"]
    built = compiler is not None and subprocess.run(command, capture_output=True, text=True, check=False)
    if not built or built.returncode != 0:
        print(f"the bare echo is left out: {built.stderr[-300:] if built else 'no c++ here'}", file=sys.stderr)
        yield None
        return
    prefix = [] if core is None else ["taskset", "-c", str(core)]
    with subprocess.Popen([*prefix, str(program)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield BareEcho(process.stdout.readline().strip(), process.pid)
        finally:
            process.kill()
