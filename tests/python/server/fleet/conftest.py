from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import pytest
import servoir
from support.fake_fleet import CHANNEL_VERSION, VERSION, FakeFleet


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFleet]:
    extension = types.ModuleType("servoir._core")
    vars(extension).update(__version__=VERSION, channel_version=CHANNEL_VERSION)
    monkeypatch.setitem(sys.modules, "servoir._core", extension)
    monkeypatch.setattr(servoir, "_core", extension, raising=False)
    fleet = FakeFleet()
    yield fleet
    fleet.close()
