"""The backend python: classes of the user's as models; what is wrong with one is said when it is declared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servoir import backends
from servoir.encryption import DecryptionKey, encrypt_file
from servoir.servable.model_class import problems_of

if TYPE_CHECKING:
    from support.in_process import InProcess

PORTS = [{"name": "x", "dtype": "float32", "shape": [-1, 2]}]


class Good:
    inputs = PORTS
    outputs = [{"name": "y", "dtype": np.float32, "shape": [None, 2]}]

    def execute(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return [inputs[0] * 2]


def opened(model_class: type, files: tuple[str, ...] = (), **options: str) -> Any:
    return backends.open_class(model_class, list(files), 3, backends.CPU, options).subgraphs[0]


def test_a_class_that_is_right() -> None:
    assert problems_of(Good) == []
    assert opened(Good).outputs == [{"name": "y", "dtype": "float32", "shape": [-1, 2]}]


class Nothing:
    pass


class WrongParts:
    inputs = [{"name": "", "dtype": "float31", "shape": [-1, "n"]}, {"name": "a"}, {"name": "a", "colour": 1}, 3]
    outputs: Any = []

    def __init__(self, files: list[str], colour: str) -> None: ...

    def execute(self) -> None: ...


def test_every_missing_part_is_named() -> None:
    text = "; ".join(problems_of(Nothing))
    for part in ("no method execute(self, inputs)", "no 'inputs', such as", "no 'outputs', such as"):
        assert part in text


def test_every_wrong_part_is_named() -> None:
    text = "; ".join(problems_of(WrongParts))
    for part in (
        "execute cannot be called with one argument, the list of inputs",
        "inputs[0] needs a 'name'",
        "inputs[0] has the dtype 'float31', which cannot be served",
        "inputs[0] has the shape [-1, 'n'], with 'n' in it",
        "inputs[2] has 'colour'; it can have 'name', 'dtype' and 'shape'",
        "inputs[2] has the name 'a', as one before it",
        "inputs[3] should be a dict such as",
        "'outputs' is empty",
        "its constructor wants 'colour'; it can have files, contents, threads, device_id, options",
    ):
        assert part in text, part


class Made:
    def __init__(self, files: list[str], options: dict[str, str], *, threads: int, device_id: int | None) -> None:
        self.given = (files, options, threads, device_id)
        self.inputs = PORTS
        if "forget" not in options:
            self.outputs = PORTS
        if "fail" in options:
            raise ValueError("no weights in there")

    def execute(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return inputs


def test_what_the_constructor_is_given(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"scale": 3}')
    model = backends.open_class(Made, ["a", "b"], 3, backends.Placement("cpu", 7), {"config_file": str(config)})
    assert (model.backend, model.version) == ("python", "class Made")
    execute = vars(model.subgraphs[0])["_execute"]
    assert execute.__self__.given == (["a", "b"], {"scale": "3"}, 3, 7)


def test_what_goes_wrong_in_the_constructor() -> None:
    with pytest.raises(RuntimeError, match="the constructor of the class Made failed: ValueError: no weights in there"):
        opened(Made, fail="1")
    with pytest.raises(RuntimeError, match=r"the class Made cannot run a model: it has no 'outputs'.* sets none"):
        opened(Made, forget="1")


class Contents:
    inputs = outputs = PORTS

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents

    def execute(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return [inputs[0] + len(self.contents[0])]


def test_files_that_are_encrypted(tmp_path: Path) -> None:
    plain, secret = tmp_path / "plain", tmp_path / "secret"
    plain.write_bytes(b"12345")
    key = DecryptionKey(bytes(16), "AES-GCM")
    encrypt_file(str(plain), str(secret), key)
    for path, with_key in ((plain, None), (secret, key)):
        model = backends.open_class(Contents, [str(path)], 1, backends.CPU, {}, with_key).subgraphs[0]
        assert model.execute_copied([np.zeros((1, 2), np.float32)])[0].tolist() == [[5, 5]]
    with pytest.raises(RuntimeError, match="it needs the parameter 'contents'"):
        backends.open_class(Made, [str(secret)], 1, backends.CPU, {}, key)


class Says:
    """Returns what the test puts here."""

    inputs = PORTS
    outputs = [{"name": "y", "dtype": "float32", "shape": [-1, 2]}]
    result: Any = None

    def execute(self, inputs: list[np.ndarray]) -> Any:
        return Says.result


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "returned a NoneType; it should return a list of 1 arrays, for 'y'"),
        (np.ones((1, 2), np.float32), "returned a ndarray; it should return a list"),
        ([], "returned 0 values"),
        ([np.ones((1, 2))], r"output 'y' as float64 \[1, 2\]; it should be float32 \[1, 2\], for a batch of 1"),
        ([np.ones((2, 2), np.float32)], r"float32 \[2, 2\]; it should be float32 \[1, 2\], for a batch of 1"),
        ([np.ones((1, 3), np.float32)], r"float32 \[1, 3\]; it should be float32 \[1, 2\]"),
        ([np.ones(1, np.float32)], r"float32 \[1\]; it should be"),
        ([["text"]], r"as str128 \[1\]; it should be"),
        ([object()], r"as object \[\]; it should be"),
    ],
)
def test_what_execute_may_not_return(result: Any, text: str, in_process: InProcess) -> None:
    in_process.model("says", opened(Says))
    in_process.start()
    Says.result = result
    answer = in_process.infer("says", [(np.zeros(2, np.float32),)])
    with pytest.raises(RuntimeError, match=text):
        raise RuntimeError(answer)
    assert "the class Says" in answer
    Says.result = [np.ones((1, 2), ">f4")]  # another byte order is put right
    assert in_process.infer("says", [(np.zeros(2, np.float32),)])[0][0].tolist() == [1, 1]


def test_errors_are_those_of_single_instances(in_process: InProcess) -> None:
    class Picky(Good):
        def execute(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
            if (inputs[0] == 666).any():
                raise ValueError("this one is not liked")
            return super().execute(inputs)

    in_process.model("picky", opened(Picky))
    in_process.start()
    answers = in_process.infer("picky", [(np.full(2, n, np.float32),) for n in (1, 666, 3)])
    assert [answers[0][0].tolist(), answers[2][0].tolist()] == [[2, 2], [6, 6]]
    assert "the class Picky failed: ValueError: this one is not liked" in answers[1]


def test_inputs_are_read_only(in_process: InProcess) -> None:
    class Writes(Good):
        def execute(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
            inputs[0] += 1
            return inputs

    in_process.model("writes", opened(Writes))
    in_process.start()
    assert "read-only" in in_process.infer("writes", [(np.zeros(2, np.float32),)])
