"""The start functions and what they refuse: real processes on a fake core."""

from __future__ import annotations

import pytest
from support.fake_core_scripts import Run


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("server.start_servables('add')", "'servable_configs"),
        ("server.start_servables([])", "'servable_configs'"),
        ("server.start_servables(config(), enable_lite=1)", "'enable_lite'"),
        ("server.start_servables(config('missing'))", "there is no directory"),
        ("server.start_servables(config(device_type='Ascend'))", "'device_type'"),
        ("server.start_servables(config(device_type='GPU', device_ids=0))", "'device_type'"),
        ("server.start_servables(config())", "already running"),
        ("server.start_grpc_server('127.0.0.1')", "'address'"),
        ("server.start_grpc_server('127.0.0.1:5501', max_msg_mb_size=0)", "'max_msg_mb_size'"),
        ("server.start_grpc_server('127.0.0.1:5501', 513)", "'max_msg_mb_size'"),
        ("server.start_grpc_server('127.0.0.1:5501', ssl_config=1)", "'ssl_config'"),
        ("server.start_grpc_server('127.0.0.1:5501', ssl_config=server.SSLConfig('c', 'k'))", "there is no such file"),
        ("server.start_restful_server('256.0.0.1:5501')", "cannot listen"),
        ("server.start_grpc_server('127.0.0.1:5501')", "gRPC server is already running"),
        ("server.start_restful_server('unix:x')", "'address'"),
    ],
)
def test_a_start_function_that_fails_stops_everything(run: Run, call: str, text: str) -> None:
    script = run(f"""
        server.start_servables(config())
        server.start_grpc_server("127.0.0.1:5500")
        try:
            {call}
        except RuntimeError as error:
            print("refused", error)
    """)
    status, out, err = script.end()
    assert status == 0, err
    assert out.splitlines()[-1].startswith("refused ")
    assert text in out
    assert len(script.records("stop")) == 1
    assert len(script.records("join")) == 1


def test_a_failure_is_shown_with_the_users_lines_only(run: Run) -> None:
    """Of the configuration and of the script; not the way through our package, and not everything twice."""
    config = (
        "from servoir.server import register\n\ndef twice(x): return x\n\n@register.register_method('y')\n"
        "def m(x):\n    return register.add_stage(twice, x, x, outputs_count=1)\n"
    )
    script = run("server.start_servables(config())", servables={"s": config})
    status, _, err = script.end()
    assert status == 1
    assert err.count("Function 'twice' has 1 parameters") == 3  # the log; the exception, above and below the lines
    assert err.count("Traceback") == 2
    assert err.count('servable_config.py", line 7, in m') == 1
    assert err.count("start_servables(config())") == 1
    frames = [line for line in err.splitlines() if line.lstrip().startswith("File ")]
    assert not [line for line in frames if "/register/" in line or "supervisor" in line or "/start.py" in line], frames


def test_a_model_that_no_backend_opens_is_shown_without_our_own_lines(run: Run) -> None:
    config = (
        "from servoir.server import register\nmodel = register.declare_model('net.onnx', backend='openvin')\n"
        "@register.register_method('y')\ndef m(x):\n    return register.add_stage(model, x, outputs_count=1)\n"
    )
    script = run(
        """
        os.mkdir("models/s/1")
        open("models/s/1/net.onnx", "w").write("no model")
        server.start_servables(config())
        """,
        servables={"s": config},
    )
    status, _, err = script.end()
    assert status == 1
    assert "backends/__init__.py" not in err
    assert "servoir.errors.BackendError" not in err
    assert err.count("openvin'") == 2


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("SERVOIR_ARENA_LIMIT_MB", "much", "a number >= 1"),
        ("SERVOIR_IO_THREADS", "0", "a number >= 1"),
        ("SERVOIR_BACKEND_THREADS", "-2", "a number >= 1"),
        ("SERVOIR_LOG", "loud", "warning"),
        ("GLOG_v", "5", "0…3"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(run: Run, variable: str, value: str, right: str) -> None:
    script = run("server.start_servables(config())", **{variable: value})
    status, _, err = script.end()
    assert status == 1
    assert err.count("Traceback") == 1, err
    last = err.splitlines()[-1]
    assert last.startswith(("RuntimeError: ", "ValueError: "))
    for text in (variable, value, right):
        assert text in last
    assert script.log_files() == {}, "no worker was started"


def test_the_distributed_functions_say_that_they_are_not_there(run: Run) -> None:
    script = run("""
        for call in (lambda: server.distributed.declare_servable(8, 1), server.distributed.start_servable,
                     server.distributed.startup_agents):
            try:
                call()
                raise SystemExit(1)
            except RuntimeError as error:
                assert "not available" in str(error)
    """)
    assert script.end()[0] == 0


def test_the_import_of_the_server_is_light(run: Run) -> None:
    script = run("""
        heavy = {"numpy", "grpc", "servoir._core", "servoir.backends"} & set(sys.modules)
        assert not heavy, heavy
    """)
    assert script.end()[0] == 0
