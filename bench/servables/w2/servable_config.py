"""W2: the perceptron of examples/mlp, run by whatever backend is taken for ONNX."""

from servoir.server import register

model = register.declare_model(model_file="mlp.onnx", model_format="ONNX", max_batch_size=32)


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
