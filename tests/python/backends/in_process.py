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

# The worker's watch ends the process when the other end closes: it stays open as long as the process.
_CONTROL = socket.socketpair()


class InProcess:
    """One servable `test`, each of its callees reached by a method of the same name."""

    def __init__(self, directory: Path) -> None:
        self.server = _core.Server(arena_limit=256 << 20, io_threads=1)
        self.runtime = _core.WorkerRuntime(self.server.arena_fd, _CONTROL[0].fileno())
        self.address = f"unix:{directory}/grpc"
        self._callees: list[dict[str, Any]] = []
        self._thread: threading.Thread | None = None
        self._attached: list[int] = []

    def function(
        self, function: Callable[..., Any], inputs: int = 1, outputs: int = 1, batch_size: int | None = None
    ) -> None:
        name = function.__name__
        self.runtime.add_function(
            len(self._callees), function, inputs=inputs, outputs=outputs, batched=batch_size is not None, name=name
        )
        self._callee("function", name, inputs, outputs, batch_size or 64, [], [])

    def model(
        self,
        name: str,
        subgraph: Any,
        max_batch: int = 64,
        *,
        with_batch_dim: bool = True,
        unbatched: tuple[int, ...] = (),
    ) -> None:
        subgraph.register(
            self.runtime,
            len(self._callees),
            max_batch=max_batch,
            with_batch_dim=with_batch_dim,
            unbatched_inputs=unbatched,
        )

        def port(index: int, description: dict[str, Any], is_input: bool) -> dict[str, Any]:
            batched = with_batch_dim and not (is_input and index in unbatched)
            shape = description["shape"]
            return {
                "name": description["name"],
                "dtype": description["dtype"],
                "shape": shape[1:] if batched and shape is not None else shape,
                "batched": batched,
            }

        inputs = [port(index, description, True) for index, description in enumerate(subgraph.inputs)]
        outputs = [port(index, description, False) for index, description in enumerate(subgraph.outputs)]
        self._callee("model", name, len(inputs), len(outputs), max_batch, inputs, outputs)

    def _callee(
        self, kind: str, name: str, inputs: int, outputs: int, max_batch: int, input_ports: Any, output_ports: Any
    ) -> None:
        self._callees.append(
            {
                "kind": kind,
                "name": name,
                "subgraph": 0,
                "inputs": inputs,
                "outputs": outputs,
                "max_batch": max_batch,
                "called_singly": False,
                "max_queue_delay_us": 0,
                "input_ports": input_ports,
                "output_ports": output_ports,
            }
        )

    def start(self) -> None:
        methods = [
            {
                "name": callee["name"],
                "inputs": [f"x{index}" for index in range(callee["inputs"])],
                "output_names": [f"y{index}" for index in range(callee["outputs"])],
                "outputs": list(range(callee["inputs"], callee["inputs"] + callee["outputs"])),
                "stages": [
                    {
                        "callee": number,
                        "inputs": list(range(callee["inputs"])),
                        "first_output": callee["inputs"],
                        "outputs": callee["outputs"],
                        "tag": "",
                    }
                ],
                "values": callee["inputs"] + callee["outputs"],
            }
            for number, callee in enumerate(self._callees)
        ]
        servable = self.server.publish({"name": "test", "version": 1, "callees": self._callees, "methods": methods})
        functions = [number for number, callee in enumerate(self._callees) if callee["kind"] == "function"]
        models = [number for number, callee in enumerate(self._callees) if callee["kind"] == "model"]
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
