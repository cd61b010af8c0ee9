"""The first model decides how many threads a runtime has in its process."""

from __future__ import annotations

import pytest
from servoir import log
from servoir.backends.process_threads import ProcessThreads


def test_the_first_model_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *values: warnings.append(text % values))
    threads = ProcessThreads("The runtime")
    assert threads.decide(4)
    assert not threads.decide(4)
    assert warnings == []
    assert not threads.decide(2)
    assert warnings == ["The runtime goes on with 4 threads, it cannot have 2 for another model"]
