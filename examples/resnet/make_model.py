"""Makes the model of this example: a small residual network that tells ten kinds of drawn pictures apart.

Its convolutions have fixed random weights, which is enough to see colours and edges; only its last layer is fitted, by
least squares on pictures of draw_picture.py. The same on every machine up to rounding. Needs the packages `onnx` (which
also runs the network here) and `pillow`.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from draw_picture import LABELS, draw
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from resnet.preprocess import SIZE, normalise

HERE = Path(__file__).resolve().parent
WIDTHS = (12, 24)
SAMPLES = 48  # of each kind


class Network:
    """Nodes and weights in the order in which they run; `top` is the name of the last result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(2)
        self.top = "image"

    def weight(self, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, np.float32), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        self.top = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [self.top], **attributes))
        return self.top

    def convolution(self, before: int, after: int, stride: int) -> str:
        kernel = self.rng.standard_normal((after, before, 3, 3)) * np.sqrt(2 / (9 * before))
        bias = self.rng.standard_normal(after) * 0.1
        inputs = (self.top, self.weight(kernel), self.weight(bias))
        return self.add("Conv", *inputs, pads=[1, 1, 1, 1], strides=[stride, stride])

    def residual(self, width: int) -> None:
        """y = relu(x + conv(relu(conv(x))))."""
        shortcut = self.top
        self.convolution(width, width, 1)
        self.add("Relu", self.top)
        self.convolution(width, width, 1)
        self.add("Add", self.top, shortcut)
        self.add("Relu", self.top)

    def model(self, shape: list[int]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "resnet",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info(self.top, TensorProto.FLOAT, ["batch", *shape])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def features() -> tuple[Network, int]:
    """The network without its last layer, and how many features it gives."""
    network = Network()
    before = 3
    for width in WIDTHS:
        network.convolution(before, width, 2)
        network.add("Relu", network.top)
        network.residual(width)
        before = width
    last = network.top
    pooled = [network.add("GlobalAveragePool", last), network.add("GlobalMaxPool", last)]
    network.add("Concat", *pooled, axis=1)
    network.add("Flatten", network.top)
    return network, 2 * WIDTHS[-1]


def build() -> onnx.ModelProto:
    network, count = features()
    seen = ReferenceEvaluator(network.model([count]))
    images = np.stack([normalise(draw(label, seed)) for label in LABELS for seed in range(SAMPLES)])
    (x,) = seen.run(None, {"image": images})
    wanted = np.repeat(np.eye(len(LABELS)), SAMPLES, axis=0)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-3
    x = np.hstack([(x - mean) / deviation, np.ones((len(x), 1))])
    fitted = np.linalg.solve(x.T @ x + 0.1 * np.eye(count + 1), x.T @ wanted) * 10
    matrix = fitted[:-1] / deviation[:, None]
    bias = fitted[-1] - mean @ matrix
    network.add("Gemm", network.top, network.weight(matrix), network.weight(bias))
    network.add("Softmax", network.top, axis=1)
    return network.model([len(LABELS)])


def make(directory: Path) -> Path:
    """Writes DIRECTORY/resnet/1/resnet.onnx and DIRECTORY/resnet/labels.txt."""
    path = directory / "resnet" / "1" / "resnet.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(build(), str(path))
    (directory / "resnet" / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=HERE)
    print(make(parser.parse_args().directory))
