"""The parts that clients' bytes come to first have a test for each source."""

from __future__ import annotations

import pytest
from support import ROOT


@pytest.mark.parametrize("part", ["net", "http", "grpc"])
def test_each_source_has_a_test_of_its_own(part: str) -> None:
    sources = {path.stem for path in (ROOT / "cpp" / "src" / part).glob("*.cc")}
    tests = {path.stem.removesuffix("_test") for path in (ROOT / "tests" / "cpp" / part).glob("*_test.cc")}
    assert sources
    assert sorted(sources - tests) == []
