"""A model of two graphs: `encode` turns a history into a state, `step` turns a state into the next value and state.

This is how models that generate go: a long first graph, then a short one again and again, with a state in between. The
state is a variable of the function; all calls for one instance are made in one function, so it never gets mixed up.
"""

import numpy as np
from servoir.server import register

ENCODE, STEP = 0, 1
MAX_STEPS = 1000

model = register.declare_model(
    model_file=["encode.onnx", "step.onnx"], model_format="ONNX", with_batch_dim=True, max_batch_size=32
)


def checked(steps):
    count = int(steps.item())
    if not 1 <= count <= MAX_STEPS:
        raise ValueError(f"steps should be in 1…{MAX_STEPS}, but is {count}")
    return count


def forecast(history, steps):
    """One instance, value by value."""
    state = model.call(history, subgraph=ENCODE)
    values = []
    for _ in range(checked(steps)):
        value, state = model.call(state, subgraph=STEP)
        values.append(value)
    return np.array(values, np.float32)


def forecast_together(instances):
    """Many instances at once: those that are not finished take each step in one call."""
    counts = [checked(steps) for _, steps in instances]
    states = [state for (state,) in model.call([(history,) for history, _ in instances], subgraph=ENCODE)]
    values: list[list[float]] = [[] for _ in instances]
    for step in range(max(counts)):
        active = [i for i, count in enumerate(counts) if step < count]
        for i, (value, state) in zip(active, model.call([(states[i],) for i in active], subgraph=STEP), strict=True):
            values[i].append(value)
            states[i] = state
    return [np.array(of_one, np.float32) for of_one in values]


@register.register_method(output_names=["values"])
def predict(history, steps):
    """history: float32 [32]; steps: an integer; values: float32 [steps], what comes next."""
    return register.add_stage(forecast, history, steps, outputs_count=1, tag="Forecast")


@register.register_method(output_names=["values"])
def predict_together(history, steps):
    """The same, for requests with many instances."""
    return register.add_stage(forecast_together, history, steps, outputs_count=1, batch_size=32, tag="Forecast")
