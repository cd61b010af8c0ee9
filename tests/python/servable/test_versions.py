"""Names of directories that are versions."""

from __future__ import annotations

import pytest
from servoir.servable.versions import version_names


@pytest.mark.parametrize(
    ("names", "versions", "odd"),
    [
        ([], [], []),
        (["1", "10", "2"], [1, 2, 10], []),
        (["0", "00", "-1", "+1", "1.0", "x9", "9x", " 1", "", "1_0", "٣", "²"], [], []),
        (["007", "7", "01"], [7], ["007", "01"]),
    ],
)
def test_versions_among_names(names: list[str], versions: list[int], odd: list[str]) -> None:
    assert version_names(names) == (versions, odd)
