"""A server and a worker in this process: the worker's lanes, driven over gRPC."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servoir import _core
from servoir.client import Client
from servoir.servable.declarations import Declarations, DeclaredModel, FunctionCallee, LoadedModel, Method, Stage
from servoir.worker.models import LoadedFiles

# The worker's watch ends the process when the other end closes: both descriptors stay open as long as the process.
_CONTROL = [end.detach() for end in socket.socketpair()]


class InProcess:
    """One servable `test`, each of its callees reached by a method of the same name."""

    def __init__(self, directory: Path) -> None:
        self.server = _core.Server(arena_limit=256 << 20, io_threads=1)
        self.runtime = _core.WorkerRuntime(self.server.arena_fd, _CONTROL[0], mark_rooms=True)
        self.address = f"unix:{directory}/grpc"
        self._declared = Declarations()
        self._loaded: dict[str, LoadedModel] = {}
        self._registrations: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._attached: list[int] = []

    def function(
        self,
        function: Callable[..., Any],
        inputs: int = 1,
        outputs: int = 1,
        batch_size: int | None = None,
        *,
        rerun: bool = True,
    ) -> None:
        name, batched = function.__name__, batch_size is not None
        callee = FunctionCallee(
            function,
            name,
            inputs,
            outputs,
            batch_size,
            sized_by=None,
            smallest=False,
            max_queue_delay=0.0,
            timeout=None,
            rerun=rerun,
        )
        self._declared.add_function(callee)
        self._method(name, callee, inputs, outputs)
        self._registrations.append(
            lambda: self.runtime.add_function(
                self._declared.function_callee(callee),
                function,
                inputs=inputs,
                outputs=outputs,
                batched=batched,
                rerun=rerun,
                name=name,
            )
        )

    def model(
        self,
        name: str,
        subgraph: Any,
        max_batch: int = 64,
        *,
        with_batch_dim: bool = True,
        unbatched: tuple[int, ...] = (),
    ) -> None:
        model = DeclaredModel((name,), with_batch_dim=with_batch_dim, without_batch_dim_inputs=unbatched)
        self.opened(name, LoadedFiles(model, [subgraph], max_batch, "the test's backend"))

    def opened(self, name: str, opened: LoadedFiles) -> None:
        """A model of one subgraph, as it is declared."""
        self._declared.add_model(opened.model)
        self._loaded[opened.model.key] = opened.loaded()
        (subgraph,) = opened.subgraphs
        self._method(name, opened.model, len(subgraph.inputs), len(subgraph.outputs))
        self._registrations.append(lambda: opened.register(self.runtime, self._declared))

    def _method(self, name: str, callee: FunctionCallee | DeclaredModel, inputs: int, outputs: int) -> None:
        """A method of one stage."""
        self._declared.methods[name] = Method(
            name,
            tuple(f"x{index}" for index in range(inputs)),
            tuple(f"y{index}" for index in range(outputs)),
            outputs=tuple(range(inputs, inputs + outputs)),
            stages=[Stage(callee, tuple(range(inputs)), inputs, outputs, None)],
            values=inputs + outputs,
        )

    def start(self) -> None:
        for register in self._registrations:
            register()
        spec = self._declared.spec("test", 1, self._loaded)
        servable = self.server.publish(spec)
        functions = [number for number, callee in enumerate(spec["callees"]) if callee["kind"] == "function"]
        models = [number for number, callee in enumerate(spec["callees"]) if callee["kind"] == "model"]
        if functions:
            lane = self.server.open_lane()
            self._thread = threading.Thread(
                target=self.runtime.serve_functions, args=(os.dup(lane.memory_fd), os.dup(lane.event_fd))
            )
            self._thread.start()
            self._attached.append(self.server.attach_lane(servable, lane, functions, "functions"))
        if models:
            lane = self.server.open_lane()
            self.runtime.serve_models(os.dup(lane.memory_fd), os.dup(lane.event_fd))
            self._attached.append(self.server.attach_lane(servable, lane, models, "models"))
        self.server.listen(self.address, "grpc", 100 << 20)

    def infer(self, method: str, instances: list[tuple[Any, ...]]) -> Any:
        """For each instance its outputs, or the text of its error; one text where all have failed alike."""
        client = Client(self.address, "test", method)
        answer = client.infer([{f"x{index}": value for index, value in enumerate(values)} for values in instances])
        if isinstance(answer, dict):
            return answer["error"]
        return [one["error"] if "error" in one else [one[f"y{index}"] for index in range(len(one))] for one in answer]

    def stop(self) -> None:
        self.runtime.stop()
        self.runtime.join()
        if self._thread is not None:
            self._thread.join()
        for attached in self._attached:
            self.server.detach_lane(attached, "the test is over")
        self.server.stop()
