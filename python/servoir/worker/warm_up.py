"""The first run of a model that has no trial, so that the first request does not pay for what a runtime puts off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from servoir import log
from servoir.servable.declarations import DeclaredModel
from servoir.servable.spec import DYNAMIC
from servoir.worker.example import unlike_rows

if TYPE_CHECKING:
    from servoir.backends import Subgraph
    from servoir.backends.interface import Array


def warm_up(subgraph: Subgraph, model: DeclaredModel, made_up: bool, example: Sequence[Array] | None) -> None:
    """Runs the model on ones where its shapes tell how, if `made_up`, and on its example. (A division by an integer 0
    would end the process.) A model that refuses ones is no mistake."""
    if made_up and (ones := _ones(subgraph)) is not None:
        try:
            subgraph.execute_copied(ones)
        except RuntimeError as error:
            log.info("the model '%s' was not warmed up, it refuses ones: %s", model.key, error)
    if example is not None:
        try:
            subgraph.execute_copied(_batch(subgraph, model, example))
        except RuntimeError as error:
            log.warning("the model '%s' does not run with its example: %s", model.key, error)


def _ones(subgraph: Subgraph) -> list[Array] | None:
    arrays = []
    for port in subgraph.inputs:
        shape = port["shape"]
        if shape is None or DYNAMIC in shape[1:]:
            return None
        arrays.append(np.ones([1 if dim == DYNAMIC else dim for dim in shape], port["dtype"]))
    return arrays


def _batch(subgraph: Subgraph, model: DeclaredModel, example: Sequence[Array]) -> list[Array]:
    """The example as a batch of the model's size, of 1 where that is open."""
    if not model.with_batch_dim:
        return list(example)
    unbatched = model.without_batch_dim_inputs
    sizes = [port["shape"][0] for index, port in enumerate(subgraph.inputs) if port["shape"] and index not in unbatched]
    return unlike_rows(example, unbatched, max([1, *sizes]))
