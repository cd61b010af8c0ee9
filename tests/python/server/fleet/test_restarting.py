"""Workers that crash or are ended from outside: real processes on a fake core."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from support.fake_core_scripts import PLAIN_CONFIG, Run

SERVE = """
    server.start_servables(config(device_ids=(0, 1)))
    open("ready", "w")
"""


def test_a_killed_worker_is_replaced(run: Run) -> None:
    script = run(SERVE)
    script.await_file("ready")
    attached = script.wait("attach", 2)
    victim = script.workers()[0]
    (attachment,) = [record[1] for record in attached if f"worker {victim} " in record[4]]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    *_, new = script.wait("attach", 3)
    assert time.monotonic() - killed < 3
    assert script.records("detach") == [["detach", attachment, "it was ended by signal 9 (SIGKILL)"]]
    assert f"worker {victim} " not in new[4]
    assert new[2:4] == attached[0][2:4]
    assert len(script.workers()) == 2
    assert len(script.records("publish")) == 1
    # The log goes on where it ended.
    os.kill(script.pid, signal.SIGTERM)
    status, _, err = script.end()
    assert status == 0
    assert "has crashed: it was ended by signal 9 (SIGKILL)" in err
    assert "started again in 0.1 s" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_ended_from_outside_is_not_replaced(run: Run, number: int) -> None:
    script = run(SERVE)
    script.order("busy", "")
    script.await_file("ready")
    attached = script.wait("attach", 2)
    first, second = script.workers()
    os.kill(first, number)
    # It is drained first, and told to exit when it holds nothing any more.
    script.wait("drain", 10)
    assert script.workers() == [first, second]
    (attachment,) = [record[1] for record in attached if f"worker {first} " in record[4]]
    assert {record[1] for record in script.records("drain")} == {attachment}
    (script.work / "busy").unlink()
    script.wait("served")
    script.await_end_of([first], 5)
    script.wait("detach")
    assert script.workers() == [second]
    assert not script.records("stop", "withdraw")
    os.kill(second, number)
    status, _, _ = script.end(10)
    assert status == 0
    assert [record[0] for record in script.records("withdraw", "stop")] == ["withdraw", "stop"]
    assert len(script.records("attach")) == 2


def test_a_worker_that_keeps_crashing_is_told_in_the_answer(run: Run) -> None:
    crash = "import os\nif os.path.exists('crash'):\n    os.write(2, b'out of luck\\n')\n    os.abort()\n"
    script = run("server.start_servables(config())\nopen('ready', 'w')", servables={"s": crash + PLAIN_CONFIG})
    script.await_file("ready")
    (script.work / "crash").touch()
    os.kill(script.workers()[0], signal.SIGKILL)
    ((_, _, reason),) = script.wait("withdraw", seconds=20)
    assert "keep crashing" in reason
    assert "signal 6 (SIGABRT)" in reason
    assert "out of luck" in reason
    assert script.process.poll() is None
    assert not script.records("stop")
    os.kill(script.pid, signal.SIGTERM)
    status, _, err = script.end()
    assert status == 0
    delays = [line.rpartition("again in ")[2] for line in err.splitlines() if "It is started again" in line]
    assert delays == ["0.1 s", "0.2 s", "0.4 s", "0.8 s", "30.0 s"]


def test_answers_between_crashes_keep_the_restarts_quick(run: Run) -> None:
    script = run("server.start_servables(config())\nopen('ready', 'w')")
    script.await_file("ready")
    for i in range(1, 7):
        script.wait("attach", i)
        script.order("answered", str(100 * i))
        os.kill(script.workers()[0], signal.SIGKILL)
    script.wait("attach", 7)
    assert not script.records("withdraw")
    os.kill(script.pid, signal.SIGTERM)
    assert script.end()[2].count("started again in 0.1 s") == 6


def test_a_worker_that_breaks_the_channel_is_ended_and_replaced(run: Run) -> None:
    script = run(SERVE)
    script.await_file("ready")
    attached = script.wait("attach", 2)
    attachment, name = attached[0][1], attached[0][4]
    script.order("lane_failure", json.dumps([attachment, "record 5 has no end"]))
    script.wait("attach", 3)
    assert script.records("detach") == [["detach", attachment, "it broke the channel's protocol: record 5 has no end"]]
    assert not script.is_alive(int(name.split()[1]))


def test_a_configuration_that_changes_is_not_attached(run: Run) -> None:
    script = run(SERVE)
    script.await_file("ready")
    path = script.work / "models" / "s" / "servable_config.py"
    path.write_text(path.read_text().replace("def m(x)", "def renamed(x)"))
    os.kill(script.workers()[0], signal.SIGKILL)
    script.wait("add_function", 4)  # tried, refused, tried again
    assert len(script.records("attach")) == 2
    os.kill(script.pid, signal.SIGTERM)
    assert "may not change while the servable is served" in script.end()[2]
