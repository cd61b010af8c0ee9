"""What the worker finds out about a loaded model, and the load message carried out."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import servoir
from servoir.backends.batching import batch_size
from servoir.backends.interface import Batching, Placement
from servoir.control.messages import Load, Opening, Ready, Trying
from servoir.encryption import DecryptionKey
from servoir.errors import BackendError
from servoir.servable import declarations
from servoir.servable.models import Model
from servoir.servable.spec import ServableSpec
from servoir.server.fleet.served_version import load_message
from servoir.server.fleet.worker_role import WorkerRole
from servoir.server.plan import ServablePlan
from servoir.server.register import Context, CPUDeviceInfo, declare_model
from servoir.worker import models
from servoir.worker.load import load

LOAD = Load(
    servable_directory="",
    name="",
    version=3,
    device_id=5,
    device_type=None,
    loads_models=True,
    usable_cores=8.0,
    sharing_workers=1,
    threads=None,
    spec=None,
    dec_key=None,
    dec_mode="AES-GCM",
)


@pytest.fixture(autouse=True)
def nothing_declared() -> None:
    declarations.begin()


@dataclass
class FakeSubgraph:
    """A subgraph as a backend gives it."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    batchings: list[Batching] = field(default_factory=list)

    runs: int = 0

    def execute_copied(self, inputs: Any) -> Any:
        self.runs += 1
        raise BackendError("it computes nothing")

    def runnable(self, batching: Batching) -> FakeSubgraph:
        self.batchings.append(batching)
        return self


def subgraph(inputs: list[Any], outputs: list[Any]) -> FakeSubgraph:
    def ports(letter: str, shapes: list[Any]) -> list[dict[str, Any]]:
        return [{"name": f"{letter}{i}", "dtype": "float32", "shape": shape} for i, shape in enumerate(shapes)]

    return FakeSubgraph(ports("x", inputs), ports("y", outputs))


@pytest.mark.parametrize(
    ("declaration", "subgraphs", "expected"),
    [
        ({}, [subgraph([[-1, 4]], [[-1, 2]])], 64),
        ({"max_batch_size": 500}, [subgraph([[-1, 4]], [[-1, 2]])], 500),
        ({}, [subgraph([[8, 4], [8]], [[8, 2]])], 8),
        ({"max_batch_size": 4}, [subgraph([[8, 4]], [[8, 2]])], 4),
        ({}, [subgraph([[8, 4]], [[-1, 2]])], 8),
        ({}, [subgraph([None], [None])], 64),
        ({"with_batch_dim": False}, [subgraph([[8, 4], []], [[2]])], 1),
        ({"without_batch_dim_inputs": (1,)}, [subgraph([[8, 4], [3]], [[8, 2]])], 8),
        ({"without_batch_dim_inputs": 1}, [subgraph([[8, 4], []], [[8, 2]])], 8),
        ({"model_file": ["a", "b"]}, [subgraph([[8, 4]], [[8, 2]]), subgraph([[8]], [[8]])], 8),
    ],
)
def test_max_batch(declaration: dict[str, Any], subgraphs: list[FakeSubgraph], expected: int) -> None:
    model = declare_model(**({"model_file": "a"} | declaration))
    assert models.max_batch(model, subgraphs) == expected


@pytest.mark.parametrize(
    ("declaration", "subgraphs", "text"),
    [
        ({}, [subgraph([[8, 4], [7]], [[8]])], "'a', subgraph 0: input 'x1' has 7 as its first dimension"),
        ({}, [subgraph([[8, 4]], [[1]])], "output 'y0' has 1 as its first dimension"),
        ({}, [subgraph([[8]], [[8]]), subgraph([[4]], [[4]])], "subgraph 1 has the batch size 4, others have 8"),
        ({}, [subgraph([[8], []], [[8]])], "input 'x1' .* no batch dimension"),
        ({}, [subgraph([[0, 4]], [[0]])], "input 'x0' .* batch dimension of 0"),
        ({"without_batch_dim_inputs": 2}, [subgraph([[8]], [[8]])], "'without_batch_dim_inputs' .* has 2, .* 1 inputs"),
        ({"max_batch_size": 9}, [subgraph([[8]], [[8]])], "'max_batch_size' .* is 9, .* is 8"),
    ],
)
def test_models_whose_batch_dimension_is_wrong(
    declaration: dict[str, Any], subgraphs: list[FakeSubgraph], text: str
) -> None:
    model = declare_model(**({"model_file": "a"} | declaration))
    with pytest.raises(RuntimeError, match=text):
        models.max_batch(model, subgraphs)


def test_ports_are_those_of_the_model() -> None:
    model = declare_model("a", without_batch_dim_inputs=1)
    opened = models.LoadedFiles(model, [subgraph([[8, 4, -1], [3], None], [[8]])], 8, "fake 1.2")
    (ports,) = opened.loaded().subgraphs
    assert [(port["shape"], port["batched"]) for port in ports.inputs] == [
        ([8, 4, -1], True),
        ([3], False),
        (None, True),
    ]
    assert [(port["name"], port["shape"], port["batched"]) for port in ports.outputs] == [("y0", [8], True)]
    whole = models.LoadedFiles(declare_model("b", with_batch_dim=False), [subgraph([[8, 4]], [[2]])], 1, "fake 1.2")
    assert [port["shape"] for port in whole.loaded().subgraphs[0].inputs] == [[8, 4]]


@pytest.mark.parametrize(("threads", "expected"), [(None, 2), (5, 5)])
def test_threads_of_a_model(threads: int | None, expected: int) -> None:
    message = replace(LOAD, threads=threads, usable_cores=8.0, sharing_workers=2)
    assert models.threads_per_model(message, 2) == expected


# ---- the load message


def spec_of(ready: Ready) -> ServableSpec:
    assert ready.spec is not None
    return ready.spec


class FakeRuntime:
    def __init__(self) -> None:
        self.functions: list[tuple[int, str, dict[str, Any]]] = []
        self.models: list[tuple[int, Any, dict[str, Any]]] = []

    def add_function(self, callee: int, function: Callable[..., Any], **keywords: Any) -> None:
        self.functions.append((callee, function.__name__, keywords))

    def add_python_model(self, callee: int, model: Any, **keywords: Any) -> None:
        self.models.append((callee, model, keywords))

    def call_model(self, callee: int, instances: Any) -> Any:
        return tuple((callee, *instance) for instance in instances)


class FakeBackends(types.ModuleType):
    """Stands in for servoir.backends."""

    def __init__(self) -> None:
        super().__init__("servoir.backends")
        self.BackendError, self.batch_size = BackendError, batch_size
        self.calls: list[tuple[Any, ...]] = []
        self.keys: list[Any] = []
        self.opened: list[FakeSubgraph] = []

    def open_model(
        self, paths: list[str], model_format: Any, backend: Any, threads: int, placement: Any, options: Any, key: Any
    ) -> Any:
        self.keys.append(key)
        self.calls.append((paths, model_format, backend, threads, placement, options))
        made = [subgraph([[4, 2]], [[4]]) for _ in paths]
        self.opened += made
        return types.SimpleNamespace(backend=backend or "fake", version="1.2", subgraphs=made, refusals=())


@pytest.fixture
def fake_backends(monkeypatch: pytest.MonkeyPatch) -> FakeBackends:
    fake = FakeBackends()
    monkeypatch.setitem(sys.modules, "servoir.backends", fake)
    monkeypatch.setattr(servoir, "backends", fake, raising=False)
    return fake


CONFIG = """
from servoir.server import register

first = register.declare_model("first.onnx", "ONNX", backend="onnxruntime")
second = register.declare_model(["a.xml", "b.xml"], config_file="settings.json", context=CONTEXT)

def many(instances):
    return instances

def one(x):
    return second.call(x, subgraph=1)

@register.register_method(output_names=["y"])
def method(x):
    y = register.add_stage(many, x, outputs_count=1, batch_size=0)
    y = register.add_stage(first, y, outputs_count=1)
    return register.add_stage(one, y, outputs_count=1)
"""
PLAIN = "CONTEXT = None\n" + CONFIG
names = iter(range(1000))


@pytest.fixture
def servable(tmp_path: Path) -> Iterator[Callable[[str], Load]]:
    """servable(text): a servable on disk, with all files; returns the message that loads it."""
    path = list(sys.path)
    modules = set(sys.modules)

    def make(text: str) -> Load:
        name = f"servable{next(names)}"
        directory = tmp_path / name
        (directory / "3").mkdir(parents=True)
        (directory / "servable_config.py").write_text(text)
        (directory / "settings.json").touch()
        for file in ("first.onnx", "a.xml", "b.xml"):
            (directory / "3" / file).touch()
        return replace(LOAD, servable_directory=str(tmp_path), name=name)

    yield make
    sys.path[:] = path
    for module in set(sys.modules) - modules:
        if module.startswith("servable"):
            del sys.modules[module]


Servable = Callable[[str], Load]


def test_load(servable: Servable, fake_backends: FakeBackends, tmp_path: Path) -> None:
    message = servable(PLAIN)
    runtime: Any = FakeRuntime()
    ready = load(message, runtime)
    directory = tmp_path / message.name
    assert fake_backends.calls == [
        ([str(directory / "3" / "first.onnx")], "ONNX", "onnxruntime", 4, Placement("cpu", 5), {}),
        (
            [str(directory / "3" / "a.xml"), str(directory / "3" / "b.xml")],
            None,
            None,
            4,
            Placement("cpu", 5),
            {"config_file": str(directory / "settings.json")},
        ),
    ]
    assert (ready.functions, ready.models, ready.threads) == ((3, 4), (0, 1, 2), 4)
    assert ready.backends == ("fake 1.2", "onnxruntime 1.2")
    assert [callee["max_batch"] for callee in spec_of(ready)["callees"]] == [4, 4, 4, 4, 256]
    assert runtime.functions == [
        (3, "many", {"inputs": 1, "outputs": 1, "batched": True, "rerun": True, "name": "many"}),
        (4, "one", {"inputs": 1, "outputs": 1, "batched": False, "rerun": True, "name": "one"}),
    ]
    keywords = {"max_batch": 4, "with_batch_dim": True, "unbatched_inputs": (), "unbatched_outputs": ()}
    assert runtime.models == [(k, made, keywords) for k, made in enumerate(fake_backends.opened)]
    assert [made.batchings for made in fake_backends.opened] == [[Batching(4)]] * 3
    second: Model = sys.modules[f"{message.name}.servable_config"].second
    assert second.call(7, subgraph=1) == 2  # the callee, says the fake runtime


def test_trials_are_told_and_left_out(servable: Servable, fake_backends: FakeBackends) -> None:
    told: list[Opening | Trying] = []
    runtime: Any = FakeRuntime()
    load(servable(PLAIN), runtime, told.append)
    trials = [message.model for message in told if isinstance(message, Trying)]
    assert trials == ["first.onnx", None, "a.xml;b.xml", None]
    assert [made.runs > 0 for made in fake_backends.opened] == [True, True, True]
    told.clear()
    load(replace(servable(PLAIN), untried=("a.xml;b.xml",)), runtime, told.append)
    assert [message.model for message in told if isinstance(message, Trying)] == ["first.onnx", None]
    assert [made.runs > 0 for made in fake_backends.opened[3:]] == [True, False, False]


def test_the_key_of_encrypted_models(servable: Servable, fake_backends: FakeBackends) -> None:
    runtime: Any = FakeRuntime()
    load(servable(PLAIN), runtime)
    assert fake_backends.keys == [None, None]
    load(replace(servable(PLAIN), dec_key=b"\1\2" * 8, dec_mode="AES-CBC"), runtime)
    assert fake_backends.keys[2:] == [DecryptionKey(b"\1\2" * 8, "AES-CBC")] * 2


@pytest.mark.parametrize("loads_models", [True, False])
def test_only_workers_with_models_are_told_the_key(loads_models: bool) -> None:
    plan = ServablePlan("/models", "add", 1, (), None, 1, b"0123456789abcdef", "AES-CBC")
    role = WorkerRole(plan, None, 0, loads_models=loads_models)
    message = load_message(role, usable_cores=1.0, sharing_workers=1, threads=None, spec=None)
    assert message.dec_key == (b"0123456789abcdef" if loads_models else None)
    assert message.dec_mode == "AES-CBC"


def test_threads_and_device_settings_of_the_context(servable: Servable, fake_backends: FakeBackends) -> None:
    context = Context(thread_num=3)
    context.append_device_info(CPUDeviceInfo(precision_mode="fp16"))
    text = (
        "from servoir.server import register\n"
        "CONTEXT = register.Context(thread_num=3)\n"
        "CONTEXT.append_device_info(register.CPUDeviceInfo(precision_mode='fp16'))\n"
        "CONTEXT.append_device_info(register.GPUDeviceInfo())\n"
    )
    load(servable(text + CONFIG), FakeRuntime())  # type: ignore[arg-type]
    _, _, _, threads, _, options = fake_backends.calls[1]
    assert threads == 3
    assert options["precision_mode"] == "fp16"


def test_settings_of_the_context_without_effect_are_named(
    servable: Servable, fake_backends: FakeBackends, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (
        "from servoir.server import register\n"
        "CONTEXT = register.Context(thread_affinity_core_list=[0, 1], enable_parallel=True)\n"
    )
    load(servable(text + CONFIG), FakeRuntime())  # type: ignore[arg-type]
    said = capfd.readouterr().err
    for setting in ("thread_affinity_core_list", "enable_parallel"):
        assert said.count(f"{setting} in the Context of model 'a.xml;b.xml' has no effect") == 1
    assert len(fake_backends.calls) == 2


@pytest.mark.parametrize("device_type", [None, "cpu", "none"])
def test_the_info_of_the_cpu_is_taken_whatever_the_cpu_is_called(
    servable: Servable, fake_backends: FakeBackends, device_type: str | None
) -> None:
    text = (
        "from servoir.server import register\n"
        "CONTEXT = register.Context()\n"
        "CONTEXT.append_device_info(register.AscendDeviceInfo(precision_mode='force_fp16'))\n"
        "CONTEXT.append_device_info(register.GPUDeviceInfo(precision_mode='fp16'))\n"
        "CONTEXT.append_device_info(register.CPUDeviceInfo(precision_mode='origin'))\n"
    )
    load(replace(servable(text + CONFIG), device_type=device_type), FakeRuntime())  # type: ignore[arg-type]
    assert fake_backends.calls[1][-1]["precision_mode"] == "origin"


def test_an_extra_worker_takes_the_graph_from_the_server(servable: Servable, fake_backends: FakeBackends) -> None:
    message = servable(PLAIN)
    spec = load(message, FakeRuntime()).spec  # type: ignore[arg-type]
    fake_backends.calls.clear()
    del sys.modules[f"{message.name}.servable_config"]
    runtime: Any = FakeRuntime()
    ready = load(replace(message, loads_models=False, device_id=None, spec=spec), runtime)
    assert fake_backends.calls == []
    assert ready == Ready(spec=None, functions=(3, 4), models=(), threads=None, backends=())
    assert [function[:2] for function in runtime.functions] == [(3, "many"), (4, "one")]
    second: Model = sys.modules[f"{message.name}.servable_config"].second
    assert second.call(7, subgraph=1) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def method(x)", "def other(x)"),
        ("outputs_count=1, batch_size=0", "outputs_count=1, batch_size=0, tag='T'"),
        ("many", "several"),
        ('"first.onnx"', '"a.onnx"'),
    ],
)
def test_an_extra_worker_with_another_configuration_fails(
    servable: Servable, fake_backends: FakeBackends, before: str, after: str
) -> None:
    del fake_backends
    spec = load(servable(PLAIN), FakeRuntime()).spec  # type: ignore[arg-type]
    message = replace(servable(PLAIN.replace(before, after)), loads_models=False, spec=spec)
    with pytest.raises(RuntimeError, match="declares other methods"):
        load(message, FakeRuntime())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "remove", "text"),
    [
        (4, None, "no version directory 4 .* there are 3"),
        (3, "3/b.xml", "'model_file': there is no file .*b.xml"),
        (3, "settings.json", "'config_file' .* there is no file .*settings.json"),
        (3, "3", "no valid version directory"),
    ],
)
def test_what_is_missing_on_disk(
    servable: Servable, fake_backends: FakeBackends, tmp_path: Path, version: int, remove: str | None, text: str
) -> None:
    del fake_backends
    message = replace(servable(PLAIN), version=version)
    if remove is not None:
        path = tmp_path / message.name / remove
        path.rename(tmp_path / "elsewhere")
    with pytest.raises(RuntimeError, match=text):
        load(message, FakeRuntime())  # type: ignore[arg-type]


def test_a_servable_without_models_needs_no_version_directory(servable: Servable, tmp_path: Path) -> None:
    text = "from servoir.server import register\n@register.register_method('y')\ndef m(x):\n    return x\n"
    message = replace(servable(text), version=9)
    ready = load(message, FakeRuntime())  # type: ignore[arg-type]
    assert (spec_of(ready)["version"], ready.functions, ready.models) == (9, (), ())
    assert str(tmp_path) == sys.path[-1]
