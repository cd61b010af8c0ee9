"""The backend `python`: a model that is a class in servable_config.py, given as `backend=` of declare_model().

    class Scaled:
        inputs = [{"name": "x", "dtype": "float32", "shape": [-1, 3]}]
        outputs = [{"name": "y", "dtype": "float32", "shape": [-1, 3]}]

        def __init__(self, files, threads):
            self.factor = numpy.load(files[0])["factor"]

        def execute(self, inputs):
            return [inputs[0] * self.factor]

The constructor is called once in each worker that runs the model, with those of CONSTRUCTOR_PARAMETERS that it names.
It may set `inputs` and `outputs` instead of the class. execute() is called with one batch at a time, always in the same
thread; its arrays lie in shared memory, are read-only, and hold only until it returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from servoir.backends.model import DYNAMIC, Array, BackendError, OpenedModel, Port
from servoir.backends.model_file import read_model_file
from servoir.backends.options import read_options
from servoir.backends.ports import DTYPES, EXAMPLE, read_ports
from servoir.encryption import DecryptionKey

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime

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
    constructor = _constructor(model_class)
    for side in ("inputs", "outputs"):
        if not hasattr(model_class, side):
            if constructor is None:
                wrong.append(f"it has no '{side}', such as [{EXAMPLE}]")
            continue
        given = inspect.getattr_static(model_class, side)
        if not hasattr(given, "__get__"):  # else a property, which only an object has
            wrong += read_ports(given, side)[1]
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


def _constructor(model_class: type) -> Any:
    """None: it has none of its own."""
    constructor = inspect.getattr_static(model_class, "__init__")
    return None if constructor is object.__init__ else constructor


def open_class(
    model_class: type,
    paths: Sequence[str],
    threads: int,
    device_id: int | None,
    options: Mapping[str, str],
    key: DecryptionKey | None = None,
) -> OpenedModel:
    """Makes an object of the class. BackendError (a RuntimeError) says all that is wrong with it."""
    name = model_class.__name__
    wanted = _wanted(model_class)
    given: dict[str, Any] = {"threads": threads, "device_id": device_id}
    if "files" in wanted:
        given["files"] = list(paths)
    if "contents" in wanted:
        given["contents"] = [_content(path, key) for path in paths]
    elif key is not None and paths:
        raise BackendError(
            f"the files of the class {name} are encrypted, and its constructor does not take them decrypted: it needs"
            f" the parameter 'contents', a list of bytes"
        )
    if "options" in wanted:
        given["options"] = read_options(options)
    try:
        made = model_class(**{key_word: value for key_word, value in given.items() if key_word in wanted})
    except Exception as error:
        raise BackendError(f"the constructor of the class {name} failed: {type(error).__name__}: {error}") from error
    sides: dict[str, list[Port]] = {}
    wrong = []
    for side in ("inputs", "outputs"):
        if not hasattr(made, side):
            wrong.append(f"it has no '{side}', such as [{EXAMPLE}], and its constructor sets none")
            continue
        sides[side], more = read_ports(getattr(made, side), side)
        wrong += more
    if wrong:
        raise BackendError(f"the class {name} cannot run a model: {'; '.join(wrong)}")
    return OpenedModel("python", f"class {name}", [PythonClass(made, name, sides["inputs"], sides["outputs"])])


def _wanted(model_class: type) -> set[str]:
    constructor = _constructor(model_class)
    if constructor is None:
        return set()
    parameters = inspect.signature(constructor).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return set(CONSTRUCTOR_PARAMETERS) - {"contents"} | ({"contents"} & set(parameters))
    return set(CONSTRUCTOR_PARAMETERS) & set(parameters)


def _content(path: str, key: DecryptionKey | None) -> bytes:
    file = read_model_file(path, key)
    if file.content is not None:
        return file.content
    if file.mindspore_mode is not None:
        raise BackendError(f"'{path}' is encrypted by MindSpore; only MindSpore can decrypt it")
    with open(path, "rb") as plain:
        return plain.read()


class PythonClass:
    """An object of the user's class as a model's subgraph."""

    def __init__(self, made: Any, name: str, inputs: list[Port], outputs: list[Port]) -> None:
        self._execute = made.execute
        self._name = name
        self.inputs = inputs
        self.outputs = outputs
        self._batched: list[int] = list(range(len(inputs)))  # inputs with a batch dimension

    def register(
        self,
        runtime: WorkerRuntime,
        callee: int,
        *,
        max_batch: int,
        with_batch_dim: bool,
        unbatched_inputs: Sequence[int],
    ) -> None:
        self._batched = [index for index in self._batched if with_batch_dim and index not in unbatched_inputs]
        runtime.add_python_model(
            callee, self, max_batch=max_batch, with_batch_dim=with_batch_dim, unbatched_inputs=unbatched_inputs
        )

    def execute(self, inputs: list[Array], outputs: list[Array | None]) -> list[Array | None]:
        """See WorkerRuntime.add_python_model."""
        placed: list[Array | None] = []
        for result, room in zip(self._run(inputs), outputs, strict=True):
            if room is not None and room.shape == result.shape and room.dtype == result.dtype:
                np.copyto(room, result)
                placed.append(None)
            else:
                placed.append(result)
        return placed

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        return [result.copy() for result in self._run(inputs)]

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        given = []
        for array in inputs:
            view = array.view()
            view.flags.writeable = False
            given.append(view)
        try:
            results = self._execute(given)
        except Exception as error:
            raise BackendError(f"the class {self._name} failed: {type(error).__name__}: {error}") from error
        if not isinstance(results, list | tuple) or len(results) != len(self.outputs):
            names = ", ".join(f"'{port['name']}'" for port in self.outputs)
            what = f"{len(results)} values" if isinstance(results, list | tuple) else f"a {type(results).__name__}"
            raise BackendError(
                f"execute() of the class {self._name} returned {what}; it should return a list of {len(self.outputs)}"
                f" arrays, for {names}"
            )
        rows = inputs[self._batched[0]].shape[0] if self._batched else None
        return [self._checked(result, port, rows) for result, port in zip(results, self.outputs, strict=True)]

    def _checked(self, result: Any, port: Port, rows: int | None) -> Array:
        array: Array = np.asarray(result)
        name, shape = port["dtype"], port["shape"]
        wanted = list(shape) if shape is not None else None
        if rows is not None:
            wanted = [rows, *wanted[1:]] if wanted else [rows]
        fits = wanted is None or (
            array.shape[:1] == (rows,)
            if shape is None
            else len(wanted) == array.ndim
            and all(dim in (DYNAMIC, there) for dim, there in zip(wanted, array.shape, strict=True))
        )
        if not fits or array.dtype.name not in (DTYPES if name is None else (name,)):
            dims = "" if wanted is None else ", ".join("?" if dim == DYNAMIC else str(dim) for dim in wanted)
            right = f" [{dims}{', …' if shape is None else ''}]" if wanted is not None else ""
            batch = "" if rows is None else f", for a batch of {rows}"
            raise BackendError(
                f"execute() of the class {self._name} returned the output '{port['name']}' as {array.dtype.name}"
                f" {list(array.shape)}; it should be {name or 'numbers'}{right}{batch}"
            )
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
