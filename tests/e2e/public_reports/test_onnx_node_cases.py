"""ONNX's own tests of its operators, served by the backends that read ONNX: a client gets what the standard says.
All cases with tensors without elements, outputs without dimensions and texts are taken, of the others one in eight.

`onnx_node_exceptions/BACKEND.txt` names those that a runtime does not do, each with what it says or does. A case that
begins to be right has to be taken from the list, unless it says "on some processors" or "by chance".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient, errors_of
from support.kinds import ONNX_BACKENDS
from support.models.node_cases import Case, cases, run_each
from support.servers import Start

EXCEPTIONS = Path(__file__).resolve().parent / "onnx_node_exceptions"
EVERY = 8
ALSO = {"test_reshape_one_dim"}  # its output's shape is known when it is compiled, and not to the file


def exceptions(backend: str) -> dict[str, str]:
    lines = (EXCEPTIONS / f"{backend}.txt").read_text().splitlines()
    return {name: why for name, _, why in (line.partition(": ") for line in lines)}


def chosen() -> list[Case]:
    taken = [case for number, case in enumerate(cases()) if case.is_special or number % EVERY == 0 or case.name in ALSO]
    return [case for case in taken if not case.is_random]


def write(servable: Path, backend: str, served: Sequence[Case]) -> None:
    """A servable with a method for each case, whose inputs are x0, x1, … and whose outputs are y0, y1, …"""
    version = servable / "1"
    version.mkdir(parents=True)
    text = "from servoir.server import register\n"
    for case in served:
        (version / f"{case.name}.onnx").write_bytes(case.model)
        inputs = ", ".join(f"x{index}" for index in range(len(case.inputs)))
        outputs = [f"y{index}" for index in range(len(case.outputs))]
        text += f"""
{case.name}_model = register.declare_model("{case.name}.onnx", with_batch_dim=False, backend="{backend}")


@register.register_method(output_names={outputs})
def {case.name}({inputs}):
    return register.add_stage({case.name}_model, {inputs}, outputs_count={len(outputs)})
"""
    (servable / "servable_config.py").write_text(text)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_the_cases_are_served(backend: str, start: Start, stubs: tuple[Any, Any], tmp_path: Path) -> None:
    known = exceptions(backend)
    served = [case for case in chosen() if case.name not in known]
    assert len(served) > 100
    write(tmp_path / "cases", backend, served)
    server = start("cases", directory=tmp_path, device_ids=0, seconds=300)
    wrong = {}
    with ForeignClient(stubs, server.grpc) as client:
        for case in served:
            given = {f"x{index}": one for index, one in enumerate(case.inputs)}
            reply = client.reply("cases", case.name, [given])
            text = "; ".join(errors_of(reply))
            if not text:
                (answer,) = client.outputs(reply, 1)
                text = case.difference([np.asarray(answer[f"y{index}"]) for index in range(len(case.outputs))])
            if text:
                wrong[case.name] = text
    assert wrong == {}


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_the_exceptions_are_exceptions(backend: str, tmp_path: Path) -> None:
    known = {
        name for name, why in exceptions(backend).items() if not why.startswith(("on some processors", "by chance"))
    }
    assert known <= {case.name for case in cases()}
    told = run_each(backend, [case for case in chosen() if case.name in known], tmp_path)
    assert [name for name, wrong in told.items() if not wrong] == []
