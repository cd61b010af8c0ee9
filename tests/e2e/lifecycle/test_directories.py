"""Where a server's logs go when two servers share a directory, or when a script changes its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.processes import alive, wait_until
from support.scripts import PLAIN, RunScript, ask, assert_answers


def test_two_servers_in_one_directory(run: RunScript, tmp_path: Path) -> None:
    """Both serve, and neither empties or overwrites the log of the other's worker."""
    code = """
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
    """
    talks = PLAIN.replace("return x + 1", "print('asked of', os.getpid(), flush=True); return x + 1").replace(
        "\nfrom", "\nimport os\nfrom", 1
    )
    servers = []
    for _ in range(2):
        servers.append(run(code, servables={"s": talks}, directory=tmp_path))
        servers[-1].ready()
        assert_answers(servers[0])
    assert_answers(servers[1])
    (log,) = (tmp_path / "serving_logs").iterdir()
    pids = [server.workers()[0] for server in servers]
    expected = [f"asked of {pids[0]}", f"asked of {pids[0]}", f"asked of {pids[1]}"]
    assert log.read_text().splitlines() == expected
    warnings = [line for line in servers[1].lines if "[WARNING]" in line]
    assert any("another server writes to" in line and str(log) in line for line in warnings), warnings
    assert servers[0].stop() == 0
    assert_answers(servers[1])
    assert servers[1].stop() == 0
    # With nobody else there, the log is new again.
    third = run(code, servables={"s": talks}, directory=tmp_path)
    third.ready()
    assert log.read_text() == ""


def test_a_script_that_goes_elsewhere_keeps_its_logs_together(run: RunScript) -> None:
    """A worker that is started again is in the directory of the first one, and goes on with its log."""
    script = run(
        """
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        os.mkdir("elsewhere")
        os.chdir("elsewhere")
        """,
        servables={"s": "import os\nprint('in', os.getcwd(), flush=True)\n" + PLAIN},
    )
    script.ready()
    wait_until((script.work / "elsewhere").exists, 10, "the end of the script")
    assert_answers(script)
    (victim,) = script.workers()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not alive(victim), 5, "the end of the worker")
    wait_until(lambda: isinstance(ask(script), list), 5, "the answer of its successor")
    (log,) = (script.work / "serving_logs").iterdir()
    assert log.read_text().splitlines() == [f"in {script.work}"] * 2
    assert not list((script.work / "elsewhere").iterdir())
