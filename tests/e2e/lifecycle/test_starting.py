"""start_servables and the servers: their order, what is refused, and that a start that fails leaves nothing running."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.processes import processes_with, wait_until
from support.scripts import PLAIN, WAITS, RunScript, ask, assert_answers
from support.servers import ServerProcess


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    """A server whose servers start first and whose servable takes its time, and what was seen meanwhile. The script and
    the servables are elsewhere than the current directory."""
    work = tmp_path_factory.mktemp("late")
    scripts = tmp_path_factory.mktemp("scripts")
    (scripts / "models" / "s").mkdir(parents=True)
    (scripts / "models" / "s" / "servable_config.py").write_text(WAITS + PLAIN)
    (scripts / "serve.py").write_text(
        "import sys\n"
        "from servoir import server\n"
        "server.start_restful_server(sys.argv[4])\n"
        "server.start_grpc_server(sys.argv[2])\n"
        "server.start_servables(server.ServableStartConfig('models', 's', device_ids=0), enable_lite=True)\n"
        "print('all is started', flush=True)\n"
    )
    process = ServerProcess([str(scripts / "serve.py")], work)
    try:
        process.ready()
        wait_until((work / "imported").exists, 20, "a worker that imports servable_config.py")
        body = {"instances": [{"x": 4}]}
        answer = requests.post(f"http://{process.rest}/model/s:add", json=body, timeout=10)
        seen = {"rest": (answer.status_code, answer.json()), "grpc": ask(process), "lines": list(process.lines)}
        (work / "go on").touch()
        wait_until(lambda: "all is started" in process.lines, 20, "the end of the script")
        yield process, seen
    finally:
        process.kill()


Late = tuple[ServerProcess, dict[str, Any]]


def test_servables_may_start_after_the_servers(late: Late) -> None:
    process, _ = late
    assert_answers(process)
    answer = requests.post(f"http://{process.rest}/model/s:add", json={"instances": [{"x": 4}]}, timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"instances": [{"y": 5}]})


def test_requests_before_that_get_not_available(late: Late) -> None:
    _, seen = late
    status, body = seen["rest"]
    assert status == 503
    assert "servable 's' is not available" in body["error_msg"]
    assert "servable 's' is not available" in seen["grpc"]["error"]


def test_start_servables_returns_when_the_workers_are_ready(late: Late) -> None:
    _, seen = late
    assert "all is started" not in seen["lines"]


def test_a_relative_directory_is_relative_to_the_script_and_output_goes_to_the_current_one(late: Late) -> None:
    process, _ = late
    assert (process.work / "unix_socket_files").is_dir()
    assert [path.name for path in (process.work / "serving_logs").iterdir()] == ["log_s_device0_version1.log"]
    assert not (process.work / "models").exists()
    scripts = Path(process.command[1]).parent
    assert sorted(path.name for path in scripts.iterdir()) == ["models", "serve.py"]


def test_a_script_that_has_ended_goes_on_serving(late: Late) -> None:
    """And ends, when it is told to, with status 0 and without a traceback."""
    process, _ = late
    assert process.running()
    assert process.stop(signal.SIGINT) == 0
    assert not any("Traceback" in line for line in process.lines)


def test_device_workers_start_together_and_extra_workers_after_them(run: RunScript) -> None:
    """Each device worker waits for the others; an extra worker must find them all ready."""
    order = """
        import os, time
        device = os.environ.get("SERVING_DEVICE_ID")
        if device is None:
            ready = [name for name in os.listdir() if name.startswith("registered-")]
            assert len(ready) == 3, ready
        else:
            open(f"here-{device}", "w")
            while len([name for name in os.listdir() if name.startswith("here-")]) < 3:
                time.sleep(0.005)
        """
    end = """
        if device is not None:
            open(f"registered-{device}", "w")
        """
    script = run(
        """
        server.start_servables(config(device_ids=(0, 1, 2), num_parallel_workers=5))
        say("all is started")
        server.stop()
        """,
        servables={"s": "\n".join(line.removeprefix(" " * 8) for line in (order + PLAIN + end).splitlines())},
    )
    status, lines = script.end(30)
    assert status == 0, lines
    assert "Servable 's' version 1: 5 workers" in lines
    assert "all is started" in lines


# ---- starts that fail


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("undefined_name + 1", "NameError: name 'undefined_name' is not defined"),
        ("a, b = (1, 2, 3)", "ValueError: too many values to unpack (expected 2)"),
    ],
    ids=["NameError", "too many values to unpack"],
)
def test_a_worker_that_fails_to_load_shows_its_traceback_and_stops_everything(
    run: RunScript, what: str, text: str
) -> None:
    """On the user's terminal, when the script does not catch the RuntimeError; the servers that ran are gone."""
    script = run(
        """
        import atexit
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        atexit.register(lambda: say("open:", is_open(GRPC), is_open(REST)))
        server.start_servables([config("good", num_parallel_workers=2), config("bad", device_ids=0)])
        say("not reached")
        """,
        servables={
            "good": PLAIN,
            "bad": f"from servoir.server import register\n\ndef prepare():\n    {what}\n\nprepare()\n",
        },
    )
    status, lines = script.end()
    assert status == 1
    output = "\n".join(lines)
    assert "RuntimeError: Servable 'bad' cannot be started: worker " in output
    assert text in output
    assert 'models/bad/servable_config.py", line 6, in <module>' in output
    assert 'models/bad/servable_config.py", line 4, in prepare' in output
    assert "not reached" not in output
    assert script.said("open:") == ["False False"]
    assert processes_with(script.mark) == []


def test_a_servable_that_fails_to_start_says_why(tmp_path: Path) -> None:
    config = tmp_path / "broken" / "servable_config.py"
    config.parent.mkdir()
    config.write_text("from servoir.server import register\nthis_name_is_not_defined\n")
    with pytest.raises(AssertionError, match="this_name_is_not_defined"):
        ServerProcess.serving(
            tmp_path / "work", [{"servable_directory": str(tmp_path), "servable_name": "broken", "device_ids": 0}]
        )


@pytest.mark.parametrize(
    ("call", "wrong", "right"),
    [
        ("server.start_servables(5)", "5 of type int", "a ServableStartConfig"),
        ("server.start_servables([])", "'servable_configs'", "should not be empty"),
        ("server.start_servables([config(), 's'])", "'servable_configs[1]'", "a ServableStartConfig"),
        ("server.start_servables(config(), enable_lite=1)", "'enable_lite'", "a bool"),
        ("server.start_servables(config(device_type='Ascend', device_ids=0))", "no such device", "'CPU' is possible"),
        ("server.start_servables(config(device_type='GPU'))", "no such device", "'CPU' is possible"),
        ("server.start_servables(config('missing'))", "no directory", "models/missing'"),
        ("server.start_servables(config('bare'))", "no file", "models/bare/servable_config.py'"),
        ("server.start_servables(config('a/b'))", "'a/b'", "the name of one directory"),
        ("server.start_servables(config('..'))", "'..'", "the name of one directory"),
        ("server.start_servables(config('a.b'))", "'a.b'", "the name of one directory"),
        ("server.start_servables(config(version_number=10**30))", "'version_number'", str(2**64 - 1)),
        (
            "server.start_servables([config(), server.ServableStartConfig('/nowhere', 's')])",
            "two directories",
            "a name can have one only",
        ),
        (
            "server.start_servables([config(dec_key=b'k' * 16), config(dec_key=b'q' * 16)])",
            "'dec_key' differ",
            "several configs",
        ),
        ("server.start_servables([config(), config(dec_mode='AES-CBC')])", "'dec_mode' differ", "several configs"),
    ],
    ids=lambda value: value.removeprefix("server.start_servables") if value.startswith("server.") else "",
)
def test_start_servables_refuses(refused_starts: dict[str, str], call: str, wrong: str, right: str) -> None:
    assert wrong in refused_starts[call]
    assert right in refused_starts[call]


@pytest.fixture(scope="module")
def refused_starts(run: RunScript, request: pytest.FixtureRequest) -> dict[str, str]:
    """All those calls in one script, each after a server was started that has to be down afterwards."""
    (mark,) = vars(test_start_servables_refuses)["pytestmark"]
    calls = [row[0] for row in mark.args[1]]
    script = run(
        "\n".join(
            f"server.start_grpc_server(GRPC)\nrefused(lambda: {call})\nassert not is_open(GRPC)" for call in calls
        ),
        servables={"s": PLAIN, "a.b": PLAIN, "a/b": PLAIN},
        directory=bare_directory(request),
    )
    status, lines = script.end(40)
    assert status == 0, lines
    texts = script.said("refused:")
    assert len(texts) == len(calls), lines
    return dict(zip(calls, texts, strict=True))


def bare_directory(request: pytest.FixtureRequest) -> Path:
    """A place where a servable's directory has no servable_config.py."""
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    work = factory.mktemp("bare")
    (work / "models" / "bare").mkdir(parents=True)
    return work


@pytest.mark.parametrize("name", ["serving_logs", "unix_socket_files"])
def test_a_file_in_the_place_of_a_directory_that_start_servables_makes(
    run: RunScript, tmp_path: Path, name: str
) -> None:
    """Neither is needed: what workers print goes to standard error then."""
    (tmp_path / name).touch()
    script = run("refused(server.start_servables, config())\nserver.stop()", directory=tmp_path)
    status, lines = script.end()
    assert status == 0, lines
    assert "accepted" in lines
    warned = [line for line in lines if "what workers print goes to standard error" in line and "File exists" in line]
    assert len(warned) == (1 if name == "serving_logs" else 0)


def test_a_second_start_of_a_server_is_an_error_and_everything_is_down(run: RunScript) -> None:
    script = run("""
        for first, second in (("grpc", "restful"), ("restful", "grpc")):
            start_first = getattr(server, f"start_{first}_server")
            start_second = getattr(server, f"start_{second}_server")
            start_first(GRPC)
            start_second(REST)
            refused(start_first, "127.0.0.1:1")
            say("open:", is_open(GRPC), is_open(REST))
    """)
    status, lines = script.end()
    assert status == 0, lines
    grpc, rest = script.said("refused:")
    assert "gRPC server is already running" in grpc
    assert "RESTful server is already running" in rest
    assert script.said("open:") == ["False False"] * 2


def test_a_port_in_use_is_an_error_and_everything_is_down(run: RunScript) -> None:
    """Of another process, and of the own other server."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        script = run(f"""
            for start in (server.start_grpc_server, server.start_restful_server):
                server.start_servables(config())
                refused(start, {taken!r})
            server.start_grpc_server(GRPC)
            refused(server.start_restful_server, GRPC)
            say("open:", is_open(GRPC))
        """)
        status, lines = script.end()
    assert status == 0, lines
    *foreign, own = script.said("refused:")
    for text in foreign:
        assert taken in text
    assert script.grpc in own
    for text in (*foreign, own):
        assert "in use" in text
        assert "choose another port" in text
    assert script.said("open:") == ["False"]
    assert processes_with(script.mark) == []
