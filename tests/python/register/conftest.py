from __future__ import annotations

import pytest
from servoir.server.register import declarations
from servoir.server.register.declarations import Declarations


@pytest.fixture(autouse=True)
def declared() -> Declarations:
    """Nothing is declared yet."""
    return declarations.begin()
