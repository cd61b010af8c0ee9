"""W2: the perceptron of examples/mlp, run by onnxruntime."""

from servoir.server import register

model = register.declare_model(model_file="mlp.onnx", model_format="ONNX", backend="onnxruntime", max_batch_size=32)


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
