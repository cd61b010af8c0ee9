"""A class that computes a model itself, given as `backend=` of declare_model(): what it must have.

servoir.backends.python_class makes an object of it and runs that.
"""

from __future__ import annotations

import inspect
from typing import Any

from servoir.servable.ports import EXAMPLE, read_ports

CONSTRUCTOR_PARAMETERS = {
    "files": "paths of the model's files",
    "contents": "what is in the files, decrypted where they are encrypted",
    "threads": "how many CPU threads one batch may use",
    "device_id": "the number of the worker's device, or None",
    "options": "a dict of str: the entries of config_file, and of the Context's device info",
}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_COLLECTS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def problems_of(model_class: type) -> list[str]:
    """All that keeps the class from running a model, as far as can be said before one is made."""
    wrong = []
    execute = getattr(model_class, "execute", None)
    if not callable(execute):
        wrong.append("it has no method execute(self, inputs)")
    else:
        try:
            inspect.signature(execute).bind(*((None, None) if _takes_self(model_class) else (None,)))
        except TypeError as error:
            wrong.append(f"its method execute cannot be called with one argument, the list of inputs: {error}")
    constructor = constructor_of(model_class)
    for side in ("inputs", "outputs"):
        if not hasattr(model_class, side):
            if constructor is None:
                wrong.append(f"it has no '{side}', such as [{EXAMPLE}]")
            continue
        given = inspect.getattr_static(model_class, side)
        if not hasattr(given, "__get__"):  # else a property, which only an object has
            wrong += read_ports(given, side, texts=True)[1]
    if constructor is not None:
        for parameter in list(inspect.signature(constructor).parameters.values())[1:]:
            optional = parameter.default is not inspect.Parameter.empty or parameter.kind in _COLLECTS
            if not optional and (parameter.kind not in _NAMED or parameter.name not in CONSTRUCTOR_PARAMETERS):
                wrong.append(
                    f"its constructor wants '{parameter.name}'; it can have {', '.join(CONSTRUCTOR_PARAMETERS)}, and"
                    f" others with default values"
                )
    return wrong


def _takes_self(model_class: type) -> bool:
    return not isinstance(inspect.getattr_static(model_class, "execute"), staticmethod | classmethod)


def constructor_of(model_class: type) -> Any:
    """Its own constructor; None where it has none."""
    constructor = inspect.getattr_static(model_class, "__init__")
    return None if constructor is object.__init__ else constructor
