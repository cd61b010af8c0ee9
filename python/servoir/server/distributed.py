"""Models whose ranks run on several machines: not available yet, every function says so."""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(function: str) -> NoReturn:
    raise RuntimeError(
        f"distributed.{function}: models whose ranks run on several machines are not available in this version;"
        f" a model on one machine is declared with register.declare_model and started with server.start_servables"
    )


def declare_servable(*args: Any, **kwargs: Any) -> NoReturn:
    """Not available: raises RuntimeError that says so, whatever the arguments are."""
    _refuse("declare_servable")


def start_servable(*args: Any, **kwargs: Any) -> NoReturn:
    """Not available: raises RuntimeError that says so, whatever the arguments are."""
    _refuse("start_servable")


def startup_agents(*args: Any, **kwargs: Any) -> NoReturn:
    """Not available: raises RuntimeError that says so, whatever the arguments are."""
    _refuse("startup_agents")
