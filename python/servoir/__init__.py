"""Servoir, a server for machine-learning models. See servoir.server and servoir.client."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servoir._core import __version__ as __version__
else:

    def __getattr__(name: str) -> str:
        # The extension knows the version; a client that never asks does not load it.
        if name == "__version__":
            from servoir._core import __version__

            return __version__
        raise AttributeError(f"module 'servoir' has no attribute {name!r}")
