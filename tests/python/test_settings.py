"""Settings: what may be in a variable, which of two variables counts, and what wrong values are answered with.

What log settings do, and their errors, is tested in test_log.py.
"""

from __future__ import annotations

import pytest
from servoir import settings
from servoir.settings import Level, Number


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "²"])
def test_nonsense_in_the_environment(value: str) -> None:
    with pytest.raises(RuntimeError, match=f"SERVOIR_IO_THREADS should be a number >= 1, but is '{value}'"):
        settings.IO_THREADS.read({"SERVOIR_IO_THREADS": value})
    assert settings.IO_THREADS.read({"SERVOIR_IO_THREADS": " 3 "}) == 3
    assert settings.IO_THREADS.read({"SERVOIR_IO_THREADS": ""}) is None
    assert settings.IO_THREADS.read({}) is None


def test_our_variable_takes_precedence_over_the_predecessors() -> None:
    setting = Number(variable="OURS", predecessor="THEIRS", meaning="", high=9, error=ValueError)
    assert setting.read({"THEIRS": "4"}) == 4
    assert setting.read({"THEIRS": "many", "OURS": "5"}) == 5
    with pytest.raises(ValueError, match="variable THEIRS should be a number in 1…9, but is '10'"):
        setting.read({"THEIRS": "10"})
    with pytest.raises(ValueError, match="variable OURS should be a number in 1…9, but is '10'"):
        setting.read({"THEIRS": "4", "OURS": "10"})


def test_levels_are_words_in_ours_and_numbers_in_theirs() -> None:
    setting = Level(variable="OURS", predecessor="THEIRS", meaning="", fallback=2)
    assert [setting.read({"OURS": word}) for word in ("debug", " INFO ", "warning", "error")] == [0, 1, 2, 3]
    assert [setting.read({"THEIRS": str(number)}) for number in range(4)] == [0, 1, 2, 3]
    for environment, text in (
        ({"OURS": "1"}, "OURS should be one of debug, info, warning, error, but is '1'"),
        ({"THEIRS": "info"}, "THEIRS should be a number in 0…3, but is 'info'"),
        ({"THEIRS": "4"}, "THEIRS should be a number in 0…3, but is '4'"),
    ):
        with pytest.raises(RuntimeError, match=text):
            setting.read(environment)


def test_a_default_holds_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVOIR_TRIAL_SECONDS", raising=False)
    assert settings.TRIAL_SECONDS.value() == 60
    monkeypatch.setenv("SERVOIR_TRIAL_SECONDS", "7")
    assert settings.TRIAL_SECONDS.value() == 7


def test_a_packages_own_variable() -> None:
    place = settings.PACKAGE_DIR.of("torch")
    assert place.variable == "SERVOIR_TORCH_DIR"
    assert place.read({"SERVOIR_TORCH_DIR": "/torch"}) == "/torch"
    assert place.read({"SERVOIR_TORCH_DIR": ""}) is None
