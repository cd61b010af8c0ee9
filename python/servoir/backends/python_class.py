"""The backend `python`: a model that is a class in servable_config.py, given as `backend=` of declare_model().

    class Scaled:
        inputs = [{"name": "x", "dtype": "float32", "shape": [-1, 3]}]
        outputs = [{"name": "y", "dtype": "float32", "shape": [-1, 3]}]

        def __init__(self, files, threads):
            self.factor = numpy.load(files[0])["factor"]

        def execute(self, inputs):
            return [inputs[0] * self.factor]

The constructor is called once in each worker that runs the model, with those parameters that it names of
servable/model_class.py. It may set `inputs` and `outputs` instead of the class. execute() is called with one batch at a
time, always in the same thread; its arrays lie in shared memory, are read-only, and hold only until it returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servoir.backends.interface import Array, Batching, OpenedModel, Placement
from servoir.backends.model_file import read_model_file
from servoir.backends.options import read_options
from servoir.dtypes import DTYPES
from servoir.encryption import DecryptionKey
from servoir.errors import BackendError
from servoir.servable.model_class import CONSTRUCTOR_PARAMETERS, constructor_of
from servoir.servable.ports import EXAMPLE, read_ports
from servoir.servable.spec import DYNAMIC, Port


def open_class(
    model_class: type,
    paths: Sequence[str],
    threads: int,
    placement: Placement,
    options: Mapping[str, str],
    key: DecryptionKey | None = None,
    unbatched_inputs: Sequence[int] = (),
) -> OpenedModel:
    """Makes an object of the class. BackendError (a RuntimeError) says all that is wrong with it. `unbatched_inputs`
    have no batch dimension."""
    name = model_class.__name__
    wanted = _wanted(model_class)
    given: dict[str, Any] = {"threads": threads, "device_id": placement.index}
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
        sides[side], more = read_ports(getattr(made, side), side, texts=True)
        wrong += more
    if wrong:
        raise BackendError(f"the class {name} cannot run a model: {'; '.join(wrong)}")
    model = PythonClass(made, name, sides["inputs"], sides["outputs"], unbatched_inputs)
    return OpenedModel("python", f"class {name}", [model])


def _wanted(model_class: type) -> set[str]:
    constructor = constructor_of(model_class)
    if constructor is None:
        return set()
    parameters = inspect.signature(constructor).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return set(CONSTRUCTOR_PARAMETERS) - {"contents"} | ({"contents"} & set(parameters))
    return set(CONSTRUCTOR_PARAMETERS) & set(parameters)


def _is_of(array: Array, dtype: str | None) -> bool:
    """Whether the array has the dtype of a port. The elements of arrays of objects are looked at when they are sent."""
    if dtype == "str":
        return array.dtype.kind in "UTO"
    if dtype == "bytes":
        return array.dtype.kind in "SO"
    return array.dtype.name in (DTYPES if dtype is None else (dtype,))


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

    def __init__(
        self, made: Any, name: str, inputs: list[Port], outputs: list[Port], unbatched_inputs: Sequence[int] = ()
    ) -> None:
        self._execute = made.execute
        self._name = name
        self.inputs = inputs
        self.outputs = outputs
        # Inputs with a batch dimension, and outputs without; before runnable() any output may be one of them.
        self._batched = [index for index in range(len(inputs)) if index not in unbatched_inputs]
        self._whole: Sequence[int] = range(len(outputs))

    def runnable(self, batching: Batching) -> PythonClass:
        batched = [index for index in range(len(self.inputs)) if index not in batching.unbatched_inputs]
        self._batched = batched if batching.with_batch_dim else []
        self._whole = batching.unbatched_outputs
        return self

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
        return [self._checked(index, result, rows) for index, result in enumerate(results)]

    def _checked(self, index: int, result: Any, rows: int | None) -> Array:
        array: Array = np.asarray(result)
        port = self.outputs[index]
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
        if not fits and index in self._whole:
            fits = shape is None or list(array.shape) == shape
        if not fits or not _is_of(array, name):
            dims = "" if wanted is None else ", ".join("?" if dim == DYNAMIC else str(dim) for dim in wanted)
            right = f" [{dims}{', …' if shape is None else ''}]" if wanted is not None else ""
            batch = "" if rows is None else f", for a batch of {rows}"
            raise BackendError(
                f"execute() of the class {self._name} returned the output '{port['name']}' as {array.dtype.name}"
                f" {list(array.shape)}; it should be {name or 'numbers'}{right}{batch}"
            )
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
