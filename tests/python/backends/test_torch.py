"""The backend PyTorch: what it learns of TorchScript files and exported programs, and what it refuses."""

# mypy: disable-error-code="name-defined"
from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servoir import backends
from servoir.backends.interface import Batching
from servoir.encryption import DecryptionKey, encrypt_file

torch = pytest.importorskip("torch", reason="NOTHING OF THE BACKEND TORCH IS TESTED: there is no package torch")

if TYPE_CHECKING:
    from support.in_process import InProcess


def opened(path: Path | str, **options: str) -> Any:
    return backends.open_model([str(path)], None, "torch", 1, backends.CPU, options).subgraphs[0]


def config(directory: Path, **content: Any) -> dict[str, str]:
    path = directory / "config.json"
    path.write_text(json.dumps(content))
    return {"config_file": str(path)}


def ports(given: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(port["name"], port["dtype"], port["shape"]) for port in given]


@pytest.fixture
def script(tmp_path: Path) -> Callable[[Any], Path]:
    def save(module: Any) -> Path:
        path = tmp_path / "model.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(module).save(str(path))
        return path

    return save


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., Path]:
    def save(module: Any, *inputs: Any) -> Path:
        path = tmp_path / "model.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.trace(module, inputs).save(str(path))
        return path

    return save


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    def save(module: Any, *inputs: Any, **keywords: Any) -> Path:
        path = tmp_path / "model.pt2"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(torch.export.export(module, inputs, **keywords), str(path))
        return path

    return save


class Product(torch.nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return x * n


class Named(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"twice": x * 2, "half": x / 2}


class InPlace(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0:1].add_(1)


class Keeps(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.last
        self.last = x
        return before


class Scaled(torch.nn.Module):
    def forward(self, x: torch.Tensor, factor: int, shift: float = 0.5) -> torch.Tensor:
        return x * factor + shift


def test_a_traced_file_says_types_and_ranks(trace: Any) -> None:
    subgraph = opened(trace(Product(), torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.int64)))
    assert ports(subgraph.inputs) == [("x", "float32", [-1, -1]), ("n", "int64", [-1, -1])]
    assert ports(subgraph.outputs) == [("output_0", "float32", [-1, -1])]


def test_a_scripted_file_says_neither_and_takes_any(script: Any, in_process: InProcess) -> None:
    subgraph = opened(script(Product()))
    assert ports(subgraph.inputs) == [("x", None, None), ("n", None, None)]
    assert ports(subgraph.outputs) == [("output_0", None, None)]
    in_process.model("product", subgraph)
    in_process.start()
    for dtype in ("float32", "int64", "float16", "float32"):
        for shape in ((3,), (2, 2), ()):
            value = np.full(shape, 3, dtype)
            for (answer,) in in_process.infer("product", [(value, value)] * 3):
                assert (answer.dtype, answer.shape, answer.flat[0]) == (np.dtype(dtype), shape, 9)
    assert "has to be numbers" in in_process.infer("product", [("text", np.ones(1))])


def test_what_the_config_file_says(script: Any, tmp_path: Path) -> None:
    path = script(Product())
    inputs = [{"name": "x", "dtype": "float32", "shape": [4, 3]}, {"name": "n", "dtype": "int8", "shape": [4, 1]}]
    subgraph = opened(path, **config(tmp_path, inputs=inputs, outputs=[{"name": "y", "dtype": "float32"}]))
    assert ports(subgraph.inputs) == [("x", "float32", [4, 3]), ("n", "int8", [4, 1])]
    assert ports(subgraph.outputs) == [("y", "float32", None)]
    for wrong, text in (
        ({"inputs": inputs[:1]}, "does not describe the input 'n', which has no default value"),
        ({"inputs": [{"name": "z"}]}, "describes an input 'z'; forward has 'x', 'n'"),
        ({"inputs": [{"name": "x", "dtype": "float3"}]}, r"inputs\[0\] has the dtype 'float3', which cannot be served"),
        ({"inputs": {"x": "float32"}}, "'inputs' should be a list such as"),
        ({"outputs": ["y", "z"]}, "describes 2 outputs, but the program gives 1"),
        ({"threads": [1]}, "strings, numbers and booleans, with lists only as inputs and outputs"),
        ({"colour": "red"}, "'colour' of the config_file is unknown"),
    ):
        described = {"inputs": inputs} if "outputs" in wrong else {}
        with pytest.raises(RuntimeError, match=text):
            opened(path, **config(tmp_path, **described, **wrong))


def test_outputs_of_a_dict(script: Any, trace: Any, export: Any, in_process: InProcess, tmp_path: Path) -> None:
    path = script(Named())
    with pytest.raises(RuntimeError, match=r'gives a Dict\[str, Tensor\].*say it in the config_file.*"outputs": \['):
        opened(path)
    by_name = opened(path, **config(tmp_path, outputs=["half"]))
    assert by_name.execute_copied([np.full((1, 2), 8, np.float32)])[0].tolist() == [[4, 4]]
    described = opened(path, **config(tmp_path, inputs=[{"name": "x", "dtype": "float32", "shape": [-1, 2]}]))
    assert [port["name"] for port in described.outputs] == ["twice", "half"]
    exported = opened(export(Named(), torch.zeros(1, 2)))
    assert ports(exported.outputs) == [("twice", "float32", [1, 2]), ("half", "float32", [1, 2])]
    for subgraph in (described, exported):
        results = subgraph.execute_copied([np.full((1, 2), 8, np.float32)])
        assert [result.tolist() for result in results] == [[[16, 16]], [[4, 4]]]


@pytest.mark.parametrize("saved", ["script", "trace", "export"])
def test_a_program_that_writes_to_its_input(saved: str, request: pytest.FixtureRequest, in_process: InProcess) -> None:
    save = request.getfixturevalue(saved)
    path = save(InPlace()) if saved == "script" else save(InPlace(), torch.zeros(1, 2))
    subgraph = opened(path)
    in_process.model("change", subgraph, max_batch=1)
    in_process.start()
    value = np.array([1, 2], np.float32)
    for _ in range(3):
        assert in_process.infer("change", [(value,)])[0][0].tolist() == [2]
    given = np.array([[1, 2]], np.float32)
    assert subgraph.execute_copied([given])[0].tolist() == [[2]]
    assert given.tolist() == [[1, 2]]


def test_a_program_that_keeps_its_input(script: Any) -> None:
    subgraph = opened(script(Keeps()))
    arena = np.array([[1, 2]], np.float32)  # memory that is used again
    subgraph.execute([arena], [None])
    arena[:] = 7
    assert subgraph.execute([arena], [None])[0].tolist() == [[1, 2]]


def test_inputs_are_read_where_they_lie(script: Any) -> None:
    """The result of the identity is the memory that it was given."""

    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    subgraph = opened(script(Same()))
    given = np.ones((2, 3), np.float32)
    (result,) = subgraph.execute([given], [None])
    assert np.shares_memory(result, given)
    room = np.zeros((2, 3), np.float32)
    assert subgraph.execute([given], [room]) == [None]
    assert room.tolist() == given.tolist()
    (result,) = subgraph.execute([given], [np.zeros((3, 3), np.float32)])
    assert result is not None


def test_numbers_and_default_values(script: Any, in_process: InProcess, tmp_path: Path) -> None:
    path = script(Scaled())
    subgraph = opened(path)
    assert ports(subgraph.inputs) == [("x", None, None), ("factor", "int64", [])]
    in_process.model("scaled", subgraph, unbatched=(1,))
    in_process.start()
    given = [(np.array([n, 1], np.float32), np.int64(3)) for n in range(4)]
    assert [answer[0].tolist() for answer in in_process.infer("scaled", given)] == [
        [3 * n + 0.5, 3.5] for n in range(4)
    ]
    inputs = [{"name": name} for name in ("x", "factor", "shift")]
    whole = opened(path, **config(tmp_path, inputs=inputs))
    (answer,) = whole.execute_copied([np.ones((1, 1), np.float32), np.array(3), np.array(0.25)])
    assert answer.tolist() == [[3.25]]


def test_limits_of_an_exported_batch(export: Any) -> None:
    batch = torch.export.Dim("batch", min=2, max=32)
    subgraph = opened(export(Named(), torch.zeros(4, 2), dynamic_shapes=({0: batch},)))
    assert subgraph.inputs[0]["shape"] == [-1, 2]
    at_most = opened(export(Named(), torch.zeros(4, 2), dynamic_shapes=({0: torch.export.Dim("b", max=32)},)))
    with pytest.raises(
        RuntimeError, match=r"at most 32 instances, but it is .* 64: declare_model\(max_batch_size=32\)"
    ):
        at_most.runnable(Batching(max_batch=64))
    with pytest.raises(RuntimeError, match="batches of 2 instances or more"):
        subgraph.runnable(Batching(max_batch=8))


def test_an_exported_program_says_all_itself(export: Any, tmp_path: Path) -> None:
    path = export(Named(), torch.zeros(1, 2))
    with pytest.raises(RuntimeError, match="an exported program says them itself"):
        opened(path, **config(tmp_path, inputs=[{"name": "x"}]))


def test_nested_inputs_and_constants_of_an_exported_program(export: Any) -> None:
    class Nested(torch.nn.Module):
        def forward(self, pair: Any, scale: int, *, extra: torch.Tensor) -> Any:
            return [pair[0] + pair[1]["b"], (extra * scale, None)]

    first, second, third = (torch.ones(2, 2) for _ in range(3))
    subgraph = opened(export(Nested(), (first, {"b": second}), 3, kwargs={"extra": third}))
    assert len(subgraph.inputs) == 3
    assert [port["name"] for port in subgraph.outputs] == ["output_0", "output_1"]
    values = [np.full((2, 2), n, np.float32) for n in (1, 2, 5)]
    assert [result[0, 0] for result in subgraph.execute_copied(values)] == [3, 15]


def test_types_that_cannot_be_served(script: Any, export: Any) -> None:
    class Brain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.to(torch.bfloat16)

    with pytest.raises(RuntimeError, match="'output_0' is bfloat16, which cannot be served; convert it to float32"):
        opened(export(Brain(), torch.zeros(1, 2)))
    with pytest.raises(RuntimeError, match=r"PyTorch failed on 'model\.pt'.*BFloat16"):
        opened(script(Brain())).execute_copied([np.ones((1, 2), np.float32)])

    class Listed(torch.nn.Module):
        def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
            return x[0]

    with pytest.raises(RuntimeError, match=r"the input 'x' is a List\[Tensor\]; only tensors and numbers"):
        opened(script(Listed()))


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(RuntimeError, match=r"holds weights only.*save the model with its program"):
        opened(path)


@pytest.mark.parametrize("saved", ["script", "export"])
def test_an_encrypted_file(saved: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    save = request.getfixturevalue(saved)
    path = save(Product()) if saved == "script" else save(Product(), torch.zeros(1, 2), torch.zeros(1, 2))
    key = DecryptionKey(bytes(range(16)), "AES-GCM")
    secret = tmp_path / "secret"
    encrypt_file(str(path), str(secret), key)
    model = backends.open_model([str(secret)], None, None, 1, backends.CPU, {}, key)
    value = np.full((1, 2), 3, np.float32)
    assert model.subgraphs[0].execute_copied([value, value])[0].tolist() == [[9, 9]]


def test_an_error_of_the_program(export: Any) -> None:
    subgraph = opened(export(Product(), torch.zeros(2, 2), torch.zeros(2, 2)))
    with pytest.raises(RuntimeError, match=r"PyTorch failed on 'model\.pt2': .*(shape|size)"):
        subgraph.execute_copied([np.ones((3, 3), np.float32), np.ones((2, 2), np.float32)])
