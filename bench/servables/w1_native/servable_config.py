"""W1 by a model of a native backend: float32 [16] plus 1, no Python in its way."""

from servoir.server import register

model = register.declare_model(model_file="add_one.onnx", model_format="ONNX", backend="openvino", max_batch_size=64)


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
