"""Who imports servable_config.py, and as what: real processes on a fake core."""

from __future__ import annotations

from support.fake_core_scripts import PLAIN_CONFIG, Run


def test_what_servable_config_prints_is_in_the_log_and_new_at_the_start(run: Run) -> None:
    for i in range(2):
        text = f"print('round {i}')\n" if i == 0 else None
        code = "server.start_servables(config())\nserver.stop()"
        script = run(code, servables={"s": text + PLAIN_CONFIG} if text else {})
        assert script.end()[0] == 0
        assert script.log_files() == {"log_s_extra0_version1.log": "round 0\n"}


def test_the_server_process_never_imports_the_configuration(run: Run) -> None:
    script = run(
        "server.start_servables(config())\nassert 's.servable_config' not in sys.modules\nserver.stop()",
        servables={"s": "import os\nprint(os.getpid(), __name__)\n" + PLAIN_CONFIG},
    )
    assert script.end()[0] == 0
    pid, name = script.log_files()["log_s_extra0_version1.log"].split()
    assert int(pid) != script.pid
    assert name == "s.servable_config"


def test_register_is_the_same_module_for_the_configuration_and_the_worker(run: Run) -> None:
    text = "import sys\nfrom servoir import server\nassert server.register is sys.modules['servoir.server.register']\n"
    script = run("server.start_servables(config())\nserver.stop()", servables={"s": text + PLAIN_CONFIG})
    assert script.end()[0] == 0


def test_a_servable_may_be_called_like_a_module(run: Run) -> None:
    code = "server.start_servables(config('calendar'))\nserver.stop()"
    script = run(code, servables={"calendar": "from .other import value\nassert value == 5\n" + PLAIN_CONFIG})
    (script.work / "models" / "calendar" / "other.py").write_text("value = 5\n")
    assert script.end()[0] == 0, script.log_files()
    script = run("server.start_servables(config('json'))", servables={"json": PLAIN_CONFIG})
    _, _, err = script.end()
    assert "'json' is also the name of a Python module" in err
