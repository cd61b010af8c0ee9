from __future__ import annotations

import pytest
from servoir.servable import declarations
from servoir.servable.declarations import Declarations


@pytest.fixture(autouse=True)
def declared() -> Declarations:
    """Nothing is declared yet."""
    return declarations.begin()
