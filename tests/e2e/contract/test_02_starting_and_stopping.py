"""Section 2: ServableStartConfig, start_servables, the life of the process, stop, fork, and what ends a start.

What needs no real core is in tests/python/server; docs/compatibility.md says which rule is where.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from exact_models import expected, write
from server_process import ServerProcess, alive, processes_with, wait_until
from server_script import PLAIN, RunScript, script_runner
from servoir import server
from servoir.client import Client

# ---- ServableStartConfig

REFUSED: list[tuple[str, Any, str, str]] = [
    # parameter, bad value, what the text says was wrong, what it says would be right
    ("servable_directory", 5, "5 of type int", "a str"),
    ("servable_directory", None, "None of type NoneType", "a str"),
    ("servable_directory", b"/models", "type bytes", "a str"),
    ("servable_directory", Path("/models"), "type PosixPath", "a str"),
    ("servable_directory", "", "not empty", "a str"),
    ("servable_directory", "mod\0els", "null", "the path of a directory"),
    ("servable_directory", "mod\udfffels", "surrogates", "the path of a directory"),
    ("servable_name", False, "False of type bool", "a str"),
    ("servable_name", 1, "1 of type int", "a str"),
    ("servable_name", "", "not empty", "a str"),
    ("version_number", True, "True of type bool", "an int >= 0"),
    ("version_number", "1", "'1' of type str", "an int >= 0"),
    ("version_number", 1.0, "1.0 of type float", "an int >= 0"),
    ("version_number", -1, "is -1", "an int >= 0"),
    ("num_parallel_workers", -1, "is -1", "an int in 0…64"),
    ("num_parallel_workers", 65, "is 65", "an int in 0…64"),
    ("num_parallel_workers", True, "True of type bool", "an int in 0…64"),
    ("num_parallel_workers", "2", "'2' of type str", "an int in 0…64"),
    ("dec_key", "k" * 16, "another type", "None or bytes"),
    ("dec_key", bytearray(16), "another type", "None or bytes"),
    ("dec_key", b"", "has 0", "16, 24 or 32 bytes"),
    ("dec_key", b"k" * 15, "has 15", "16, 24 or 32 bytes"),
    ("dec_mode", "aes-gcm", "'aes-gcm'", "AES-GCM, AES-CBC"),
    ("dec_mode", None, "None of type NoneType", "a str"),
    ("device_ids", "1", "'1' of type str", "int"),
    ("device_ids", -1, "is -1", "an int >= 0"),
    ("device_ids", True, "True of type bool", "an int >= 0"),
    ("device_ids", [0, 1, 0], "has 0 more than once", "device_ids"),
    ("device_ids", [0, False], "False of type bool", "an int >= 0"),
    ("device_ids", (0, -2), "is -2", "an int >= 0"),
    ("device_ids", {0, 1}, "type set", "int"),
    ("device_type", "", "not empty", "a str"),
    ("device_type", 0, "0 of type int", "a str"),
    ("device_type", "TPU", "'TPU'", "Ascend, GPU, CPU, None"),
]


@pytest.mark.parametrize(
    ("parameter", "value", "wrong", "right"), REFUSED, ids=[f"{row[0]}={row[1]!a:.20}" for row in REFUSED]
)
def test_config_refuses(parameter: str, value: Any, wrong: str, right: str) -> None:
    arguments = {"servable_directory": "/models", "servable_name": "add", parameter: value}
    with pytest.raises(RuntimeError) as error:
        server.ServableStartConfig(**arguments)
    text = str(error.value)
    assert f"'{parameter}" in text
    assert wrong in text
    assert right in text


def test_config_checks_in_the_order_of_the_contract() -> None:
    bad: dict[str, Any] = {
        "servable_directory": 1,
        "servable_name": 1,
        "version_number": -1,
        "num_parallel_workers": 65,
        "dec_key": b"",
        "dec_mode": "DES",
        "device_ids": -1,
        "device_type": "TPU",
    }
    good: dict[str, Any] = {
        "servable_directory": "/models",
        "servable_name": "add",
        "version_number": 1,
        "num_parallel_workers": 1,
        "dec_key": None,
        "dec_mode": "AES-CBC",
        "device_ids": 1,
        "device_type": "cpu",
    }
    arguments = dict(bad)
    for parameter in bad:
        with pytest.raises(RuntimeError, match=f"Parameter '{parameter}'"):
            server.ServableStartConfig(**arguments)
        arguments[parameter] = good[parameter]
    server.ServableStartConfig(**arguments)


@pytest.mark.parametrize("key", [None, b"k" * 16, b"k" * 24, b"k" * 32])
def test_config_takes_keys_of_the_three_lengths(key: bytes | None) -> None:
    assert server.ServableStartConfig("/models", "add", dec_key=key).dec_key == key


@pytest.mark.parametrize(
    ("given", "shown"), [(None, None), ("Ascend", "ascend"), ("gpu", "gpu"), ("cPU", "cpu"), ("NONE", "none")]
)
def test_config_takes_device_types_in_any_case_and_shows_lower_case(given: str | None, shown: str | None) -> None:
    assert server.ServableStartConfig("/models", "add", device_type=given).device_type == shown


@pytest.mark.parametrize(("given", "shown"), [(None, ()), (3, (3,)), ([2, 0], (2, 0)), ((0,), (0,)), ([], ())])
def test_config_shows_device_ids_as_a_tuple(given: Any, shown: tuple[int, ...]) -> None:
    assert server.ServableStartConfig("/models", "add", device_ids=given).device_ids == shown


@pytest.mark.parametrize(
    ("device_ids", "given", "shown"), [(None, 0, 1), ((), 0, 1), (None, 64, 64), (0, 0, 0), ((0, 1), 1, 1)]
)
def test_config_makes_0_parallel_workers_1_without_device_ids(device_ids: Any, given: int, shown: int) -> None:
    config = server.ServableStartConfig("/models", "add", device_ids=device_ids, num_parallel_workers=given)
    assert config.num_parallel_workers == shown


@pytest.mark.parametrize(
    "name",
    [
        "servable_directory",
        "servable_name",
        "version_number",
        "device_type",
        "device_ids",
        "num_parallel_workers",
        "dec_key",
        "dec_mode",
    ],
)
def test_config_properties_are_read_only(name: str) -> None:
    config = server.ServableStartConfig("/models", "add")
    with pytest.raises(AttributeError):
        setattr(config, name, getattr(config, name))


def test_config_does_not_ask_the_disk_for_the_servable(tmp_path: Path) -> None:
    config = server.ServableStartConfig(str(tmp_path / "nowhere"), "add", version_number=7)
    assert config.servable_directory == str(tmp_path / "nowhere")


# ---- start_servables and the servers, in one process


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunScript]:
    yield from script_runner(tmp_path_factory.mktemp("start"))


def ask(server: ServerProcess, servable: str = "s", x: int = 4) -> Any:
    return Client(server.grpc, servable, "add").infer({"x": x})


def assert_answers(server: ServerProcess, servable: str = "s") -> None:
    answer = ask(server, servable)
    assert isinstance(answer, list), answer
    assert answer[0]["y"] == 5


WAITS = """
import os, time
open("imported", "w")
while not os.path.exists("go on"):
    time.sleep(0.005)
"""


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
    (mark,) = test_start_servables_refuses.pytestmark
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
    (tmp_path / name).touch()
    script = run("refused(server.start_servables, config())", directory=tmp_path)
    status, lines = script.end()
    assert status == 0, lines
    (text,) = script.said("refused:")
    assert name in text
    assert "File exists" in text


# ---- life of the process


@pytest.mark.parametrize(
    "start", ["server.start_grpc_server(GRPC)", "server.start_restful_server(REST)"], ids=["gRPC", "REST"]
)
def test_a_script_that_started_only_a_server_ends_at_its_end(run: RunScript, start: str) -> None:
    script = run(start + "\nsay('end of the script')")
    status, lines = script.end()
    assert status == 0
    assert lines[-1] == "end of the script"


def test_stop_from_a_thread_ends_a_script_that_has_come_to_its_end(run: RunScript) -> None:
    script = run("""
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)

        def wait_and_stop():
            await_file("stop")
            server.stop()
            say("open:", is_open(GRPC), is_open(REST))

        threading.Thread(target=wait_and_stop).start()
    """)
    script.ready()
    assert_answers(script)
    (script.work / "stop").touch()
    status, lines = script.end()
    assert status == 0, lines
    assert script.said("open:") == ["False False"]
    assert processes_with(script.mark) == []


def test_stop_at_any_time_and_everything_again_on_the_same_ports(run: RunScript) -> None:
    """With connections that are open while it stops, and a forked child of the user that outlives the servers."""
    script = run("""
        server.stop()
        server.stop()
        kept = []
        pid = None
        for round in range(3):
            server.start_grpc_server(GRPC)
            server.start_restful_server(REST)
            server.start_servables(config())
            for address in (GRPC, REST):
                kept.append(socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))))
            say("round", round)
            await_file(f"stop {round}")
            if pid is None:
                pid = os.fork()
                if not pid:
                    time.sleep(600)
                    os._exit(0)
            server.stop()
            assert not is_open(GRPC)
            assert not is_open(REST)
            for connection in kept:
                connection.settimeout(10)
                while connection.recv(4096):  # the other end is closed, too
                    pass
            kept.clear()
            server.stop()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        say("done")
    """)
    for number in range(3):
        wait_until(lambda n=number: f"round {n}" in script.lines, 20, f"round {number}")  # type: ignore[misc]
        assert_answers(script)
        (script.work / f"stop {number}").touch()
    status, lines = script.end()
    assert (status, lines[-1]) == (0, "done")


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


def test_stop_while_servables_are_starting(run: RunScript) -> None:
    script = run(
        """
        def wait_and_stop():
            await_file("imported")
            server.stop()

        threading.Thread(target=wait_and_stop).start()
        refused(server.start_servables, config(num_parallel_workers=2))
        """,
        servables={"s": WAITS + PLAIN},
    )
    status, lines = script.end()
    assert status == 0, lines
    assert script.said("refused:") == ["the server was stopped while servables were starting"]
    assert processes_with(script.mark) == []


def test_the_script_ends_while_servables_are_starting_in_a_thread(run: RunScript) -> None:
    """Of the user's: the script's end is no end of the start."""
    script = run(
        """
        threading.Thread(target=server.start_servables, args=(config(),)).start()
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """,
        servables={"s": WAITS + PLAIN},
    )
    script.ready()
    wait_until((script.work / "imported").exists, 20, "a worker that imports servable_config.py")
    (script.work / "go on").touch()
    wait_until(lambda: isinstance(ask(script), list), 20, "an answer")
    assert script.running()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["serving", "starting", "starting up the interpreter"])
def test_a_signal_to_the_whole_group_as_a_terminal_sends_it(run: RunScript, number: int, when: str) -> None:
    """Workers get it as well as the server: no traceback of theirs, no worker left, and nobody waits for long."""
    config = PLAIN if when == "serving" else WAITS + PLAIN
    # The first that imports its configuration says so: a second one might still be starting its interpreter.
    devices = "0" if when == "starting" else "(0, 1)"
    script = run(f"server.start_servables(config(device_ids={devices}))\nsay('ready')", servables={"s": config})
    if when == "serving":
        wait_until(lambda: "ready" in script.lines, 20, "a ready server")
    elif when == "starting":
        wait_until((script.work / "imported").exists, 20, "a worker that imports servable_config.py")
    else:
        wait_until(script.workers, 20, "a worker")
    sent = time.monotonic()
    os.killpg(script.pid, number)
    status, lines = script.end(8)
    assert time.monotonic() - sent < 5
    if when == "serving":
        assert status == 0, lines
        assert not any("Traceback" in line for line in lines), lines
    else:
        assert status == (-signal.SIGINT if number == signal.SIGINT else 0), lines
        assert not any("cannot be started" in line for line in lines), lines
    assert processes_with(script.mark) == []
    for file in (script.work / "serving_logs").iterdir():
        if when != "starting up the interpreter":
            assert "Traceback" not in file.read_text()


def test_children_of_fork_serve_nothing_and_stop_nothing(run: RunScript) -> None:
    """A client in a child made by multiprocessing; a child that calls stop(); one that ends as any Python program."""
    script = run("""
        import multiprocessing
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        server.start_servables(config())

        def client():
            from servoir.client import Client
            say("child:", Client(GRPC, "s", "add").infer({"x": 4})[0]["y"])
            server.stop()

        process = multiprocessing.get_context("fork").Process(target=client)
        process.start()
        process.join(20)
        say("exit code:", process.exitcode)

        pid = os.fork()
        if not pid:
            sys.exit(7)
        say("exit code:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        pid = os.fork()
        if not pid:
            refused(server.start_servables, config(device_type="GPU"))
            sys.exit(8)
        say("exit code:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        say("after the children")
    """)
    wait_until(lambda: "after the children" in script.lines or not script.running(), 40, "the end of the children")
    assert script.said("child:") == ["[5]"], script.log()
    assert script.said("exit code:") == ["0", "7", "8"]
    assert_answers(script)
    assert len(script.workers()) == 1
    assert script.stop() == 0


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


# ---- set_max_enqueued_requests


@pytest.mark.parametrize("bad", [0, -1, True, "1", None, 1.5], ids=repr)
def test_the_limit_of_requests_refuses(bad: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'max_enqueued_requests'.*an int >= 1"):
        server.master.context.set_max_enqueued_requests(bad)


def test_the_limit_of_requests_is_set_while_serving_and_counts_requests_not_instances(run: RunScript) -> None:
    """Over both servers; refused at once, as a whole, with the limit in the text."""
    script = run(
        """
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        await_file("limit")
        server.master.context.set_max_enqueued_requests(1)
        say("limited")
        """,
        servables={"s": HOLDS},
    )
    script.ready()
    client = Client(script.grpc, "s", "hold")
    held = client.infer_async([{"x": 4}] * 50)
    wait_until(lambda: list(script.work.glob("held-*")), 10, "a busy worker")
    (script.work / "limit").touch()
    wait_until(lambda: "limited" in script.lines, 10, "the new limit")
    over_grpc = client.infer([{"x": 4}] * 2)
    assert isinstance(over_grpc, dict)
    assert "too many requests: 1 " in over_grpc["error"]
    assert "set_max_enqueued_requests" in over_grpc["error"]
    answer = requests.post(f"http://{script.rest}/model/s:hold", json={"instances": [{"x": 4}] * 2}, timeout=30)
    assert (answer.status_code, answer.json()) == (429, {"error_msg": over_grpc["error"]})
    (script.work / "release").touch()
    assert len(held.result()) == 50
    assert len(client.infer([{"x": 4}] * 50)) == 50


def test_model_calls_of_extra_workers_do_not_count(run: RunScript, tmp_path: Path) -> None:
    """Differs: the limit of 1 is for the request; what its functions call belongs to it."""
    write(tmp_path / "models" / "calls" / "1" / "exact.onnx", "batch")
    script = run(
        """
        server.master.context.set_max_enqueued_requests(1)
        server.start_servables(config("calls", device_ids=0, num_parallel_workers=3))
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """,
        servables={"calls": CALLS},
        directory=tmp_path,
    )
    script.ready()
    answers = Client(script.grpc, "calls", "call").infer([{"x": np.ones(16, np.float32)}] * 60)
    assert isinstance(answers, list), answers
    assert {str(answer["y"].tolist()) for answer in answers} == {str(expected(np.ones(16))[0].tolist())}
    assert len({int(answer["pid"]) for answer in answers}) > 1, "an extra worker should have called the model"


CALLS = """
import os, time
from servoir.server import register

model = register.declare_model(model_file="exact.onnx", model_format="ONNX")

def call_model(x):
    time.sleep(0.01)
    y, total = model.call(x)
    return y, os.getpid()

@register.register_method(output_names=["y", "pid"])
def call(x):
    return register.add_stage(call_model, x, outputs_count=2)
"""

HOLDS = """
import os, time
from servoir.server import register

def wait_for_release(x):
    open(f"held-{os.getpid()}", "w").close()
    while not os.path.exists("release"):
        time.sleep(0.005)
    return x

@register.register_method(output_names=["y"])
def hold(x):
    return register.add_stage(wait_for_release, x, outputs_count=1)
"""
