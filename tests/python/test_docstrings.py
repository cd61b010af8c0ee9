"""The docstrings of the public API have one form: a sentence, then Args with every parameter, Returns and Raises."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import servoir.client
import servoir.log
import servoir.server
import servoir.server.register
from servoir.server.master import context

MODULES = (servoir.server, servoir.server.register, servoir.client)
LOG = ("debug", "info", "warning", "error", "get_level", "get_log_config")
# The docstring tells all in one line, or says where else it is told.
SHORT = re.compile(r"Deprecated: |Not available|As \w+\(\)")


def public() -> dict[str, Any]:
    found = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in MODULES
        for name in module.__all__
        if not inspect.ismodule(getattr(module, name))
    }
    found["servoir.server.master.context.set_max_enqueued_requests"] = context.set_max_enqueued_requests
    return found | {f"servoir.log.{name}": getattr(servoir.log, name) for name in LOG}


def members(what: type) -> dict[str, Any]:
    """Public methods and properties, with those that are inherited."""
    return {
        name: member
        for name, member in inspect.getmembers(what, lambda one: inspect.isfunction(one) or isinstance(one, property))
        if not name.startswith("_") and (getattr(member, "__module__", None) or what.__module__).startswith("servoir.")
    }


PUBLIC = public()
CLASSES = {name: what for name, what in PUBLIC.items() if isinstance(what, type)}
FUNCTIONS = {name: what for name, what in PUBLIC.items() if not isinstance(what, type)} | {
    f"{name}.{method}": member
    for name, what in CLASSES.items()
    for method, member in members(what).items()
    if not isinstance(member, property)
}
# What the worker and tests use of a model is not for users, and neither is what the start functions read of a config.
INTERNAL = {"bind", "settings_for", "read"}


def parameters(call: Callable[..., Any]) -> list[str]:
    return [
        name
        for name, parameter in inspect.signature(call).parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def described(text: str) -> list[str]:
    """The parameters under Args."""
    part = re.search(r"^ *Args:\n(.*?)(?:\n *\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if part is None:
        return []
    indent = len(part[1]) - len(part[1].lstrip())
    return re.findall(rf"^ {{{indent}}}(\w+): ", part[1], re.MULTILINE)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions(name: str) -> None:
    function = FUNCTIONS[name]
    text = inspect.cleandoc(function.__doc__ or "")
    assert text, f"{name} has no docstring"
    if SHORT.match(text) or name.rpartition(".")[2] in INTERNAL:
        return
    assert described(text) == parameters(function)
    returns = inspect.signature(function).return_annotation
    if returns not in ("None", "str", "bool", "dict[str, str]"):
        assert "\nReturns:\n" in text
    if parameters(function):
        assert "\nRaises:\n" in text


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes(name: str) -> None:
    what = CLASSES[name]
    text = inspect.cleandoc(what.__doc__ or "")
    assert text, f"{name} has no docstring"
    for member, one in members(what).items():
        assert one.__doc__ or member in INTERNAL, f"{name}.{member} has no docstring"
    if SHORT.match(text) or what in (servoir.server.register.Model, servoir.client.InferFuture):  # made by a function
        return
    if issubclass(what, Exception):  # takes a text, or is made by the package
        return
    taken = parameters(what)
    if taken:
        assert described(text) == taken
    assert "\nRaises:\n" in text


def test_this_test_reads_docstrings() -> None:
    text = "Does.\n\nArgs:\n    first: a.\n        more: of it\n    second: b.\n\nReturns:\n    third: c."
    assert described(text) == ["first", "second"]
    assert described("Does.") == []
    assert len(FUNCTIONS) > 25
    assert len(CLASSES) > 9
