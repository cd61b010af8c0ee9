"""A perceptron of milliseconds a batch, run by openvino."""

from servoir.server import register

model = register.declare_model(model_file="heavy.onnx", model_format="ONNX", backend="openvino", max_batch_size=64)


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
