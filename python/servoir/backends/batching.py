"""Batches of an opened model: how many instances there may be."""

from __future__ import annotations

from collections.abc import Sequence

from servoir import _core
from servoir.backends.interface import Subgraph
from servoir.errors import BackendError


def batch_size(
    subgraph: Subgraph,
    *,
    with_batch_dim: bool = True,
    unbatched_inputs: Sequence[int] = (),
    unbatched_outputs: Sequence[int] = (),
) -> int | None:
    """The batch dimension's number; None where it is dynamic, 1 without one. BackendError names the inputs or outputs
    that contradict each other."""
    try:
        return _core.batch_size(
            subgraph.inputs,
            subgraph.outputs,
            with_batch_dim=with_batch_dim,
            unbatched_inputs=unbatched_inputs,
            unbatched_outputs=unbatched_outputs,
        )
    except RuntimeError as error:
        raise BackendError(str(error)) from None
