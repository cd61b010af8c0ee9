"""Directories that cannot be written, output that goes elsewhere, limits of the machine, proxies, odd interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from servoir.client import Client
from support.models import linked_models
from support.processes import wait_until
from support.rest_client import left_out_records
from support.scripts import PLAIN, RunScript, assert_answers

START = """
server.start_servables(config())
server.start_grpc_server(GRPC)
server.start_restful_server(REST)
"""
# Prints what it is given, fails when that is "fail", and ends the worker when it is "die".
SAYS = """
import os, resource, sys
from servoir.server import register

def say(text):
    if text == "fail":
        raise ValueError("on purpose")
    if text == "die":
        print("last words", flush=True)
        os._exit(3)
    if text == "full":  # from here on the log takes nothing more, as on a disk that is full
        size = os.fstat(1).st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    print("said", text)
    print("\\udc80 shouted", text, file=sys.stderr, flush=True)
    return text

@register.register_method(output_names=["y"])
def say_it(text):
    return register.add_stage(say, text, outputs_count=1)
"""


def say(address: str, text: str) -> object:
    with Client(address, "s", "say_it") as client:
        answers = client.infer([{"text": text}], timeout=20)
    return answers[0].get("y", answers[0].get("error")) if isinstance(answers, list) else answers["error"]


def test_nothing_may_be_written(run: RunScript) -> None:
    """/proc is a directory in which nobody can make anything."""
    script = run("os.chdir('/proc')" + START, {"s": SAYS})
    script.ready()
    assert say(script.grpc, "hello") == "hello"
    wait_until(lambda: "s_extra0_version1: said hello" in script.lines, 10, "what was printed")
    warnings = [line for line in script.lines if "WARNING" in line]
    assert len(warnings) == 1, warnings
    assert "what workers print goes to standard error" in warnings[0]
    assert "SERVOIR_WORKER_OUTPUT names another directory" in warnings[0]
    assert script.stop() == 0


def test_a_full_disk_costs_no_request(run: RunScript) -> None:
    """Nor do characters that the log's encoding does not have."""
    script = run(START, {"s": SAYS}, env={"PYTHONIOENCODING": "ascii"})
    script.ready()
    for text in ("before", "full", "after", "überall"):
        assert say(script.grpc, text) == text
    assert script.stop() == 0
    (log,) = (script.work / "serving_logs").iterdir()
    assert "said before\n\\udc80 shouted before\n" in log.read_text()
    assert "said after" not in log.read_text()


def test_what_workers_print_goes_to_standard_error_if_asked_for(run: RunScript) -> None:
    """Tracebacks as well, of which those that are left out are counted."""
    script = run(START, {"s": SAYS}, env={"SERVOIR_WORKER_OUTPUT": "stderr"})
    script.ready()
    assert say(script.grpc, "hello") == "hello"
    with Client(script.grpc, "s", "say_it") as client:
        client.infer([{"text": "fail"}] * 40)

    def counted() -> bool:
        assert "on purpose" in str(say(script.grpc, "fail"))
        return any("tracebacks before the next one were left out" in line for line in script.lines)

    wait_until(counted, 20, "how many tracebacks were left out")
    before = left_out_records(script)
    assert before >= 10
    say(script.grpc, "die")
    for line in ("said hello", "\\udc80 shouted hello", "ValueError: on purpose", "last words"):
        wait_until(lambda line=line: f"s_extra0_version1: {line}" in script.lines, 10, line)  # type: ignore[misc]
    assert left_out_records(script) >= before, "the count goes on when the worker has ended"
    assert not (script.work / "serving_logs").exists()
    assert script.stop() == 0


def test_another_directory_for_what_workers_print(run: RunScript, tmp_path: Path) -> None:
    script = run(START, {"s": SAYS}, env={"SERVOIR_WORKER_OUTPUT": str(tmp_path / "logs")})
    script.ready()
    assert say(script.grpc, "hello") == "hello"
    assert script.stop() == 0
    assert "said hello\n" in (tmp_path / "logs" / "log_s_extra0_version1.log").read_text()
    script = run("refused(server.start_servables, config())", env={"SERVOIR_WORKER_OUTPUT": "/proc/logs"})
    assert script.end()[0] == 0
    (text,) = script.said("refused:")
    assert "/proc/logs" in text


LIMITED = """
import resource
resource.setrlimit(resource.{limit}, ({value}, {value}))
"""


@pytest.mark.parametrize(
    ("limit", "value"), [("RLIMIT_AS", 8_000_000 << 10), ("RLIMIT_AS", 12_500_000 << 10), ("RLIMIT_FSIZE", 200 << 20)]
)
def test_the_arena_is_as_large_as_the_limits_allow(run: RunScript, limit: str, value: int) -> None:
    """In a worker that has NumPy, whose threads take addresses as well."""
    script = run(LIMITED.format(limit=limit, value=value) + START, {"s": "import numpy\n" + PLAIN})
    script.ready()
    assert_answers(script)
    assert script.stop() == 0


@pytest.mark.parametrize(
    ("limit", "value", "name"), [("RLIMIT_AS", 8 << 30, "ulimit -v"), ("RLIMIT_FSIZE", 200 << 20, "ulimit -f")]
)
def test_an_arena_beyond_a_limit_names_limit_and_setting(run: RunScript, limit: str, value: int, name: str) -> None:
    script = run(
        LIMITED.format(limit=limit, value=value) + "refused(server.start_servables, config())",
        env={"SERVOIR_ARENA_LIMIT_MB": "9000"},
    )
    assert script.end()[0] == 0
    (text,) = script.said("refused:")
    assert name in text
    assert str(value) in text
    assert "SERVOIR_ARENA_LIMIT_MB" in text


MULTIPLY = """
from servoir.server import register

model = register.declare_model("model.onnx")

@register.register_method(output_names=["y"])
def multiply(x):
    return register.add_stage(model, x, outputs_count=1)
"""


def test_a_servable_of_links(run: RunScript, tmp_path: Path) -> None:
    """servable_config.py from a ConfigMap, and the version is a revision in Hugging Face's cache."""
    servable, mounted = tmp_path / "models" / "s", tmp_path / "mounted"
    servable.mkdir(parents=True)
    (mounted / "..2026").mkdir(parents=True)
    (mounted / "..data").symlink_to("..2026")
    (mounted / "..2026" / "servable_config.py").write_text(MULTIPLY)
    (servable / "servable_config.py").symlink_to(mounted / "..data" / "servable_config.py")
    (servable / "1").symlink_to(linked_models.hugging_face(tmp_path).parent)
    script = run(START, {}, directory=tmp_path)
    script.ready()
    with Client(script.grpc, "s", "multiply") as client:
        (answer,) = client.infer({"x": np.ones(3, np.float32)})
    assert answer["y"].tolist() == (linked_models.WEIGHTS.sum(0) + 100).tolist()
    assert script.stop() == 0


def test_a_proxy_is_not_asked_for_this_machine(run: RunScript) -> None:
    script = run(START, env={"http_proxy": "http://127.0.0.1:9"})
    script.ready()
    code = f"from servoir.client import Client; print(Client({script.grpc!r}, 's', 'add').infer({{'x': 4}})[0]['y'])"
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.stdout == "5\n", done.stderr
    assert script.stop() == 0


def test_where_a_relative_directory_and_an_interpreter_come_from(run: RunScript) -> None:
    """Under pytest the start script is pytest's; in a program with Python inside sys.executable is that program."""
    script = run("""
        sys.argv[0] = "/usr/lib/site-packages/pytest/__main__.py"
        refused(lambda: server.start_servables(server.ServableStartConfig("models", "s")))
        for executable in ("/bin/cat", "", None):
            sys.executable = executable
            refused(server.start_servables, config())
    """)
    assert script.end()[0] == 0
    directory, program, *none = script.said("refused:")
    assert "'models' in the directory of the start script /usr/lib/site-packages/pytest/__main__.py" in directory
    assert "os.path.dirname(__file__)" in directory
    assert "sys.executable, by which workers are run, is '/bin/cat', which is no Python" in program
    assert all("is empty" in text for text in none)
    assert len(none) == 2
