"""ResNet-50 and MobileNetV2 as ONNX models with random weights, on which the speed of a network does not depend.

The architectures are those of He et al., Deep Residual Learning (2016; the variant with the stride in the 3x3), and of
Sandler et al., MobileNetV2 (2018). BatchNormalization is folded into the
convolutions, as exporters do.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qengine import zoo


class Builder:
    """Builder of a graph, node by node; each method returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)
        self._number = count()

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        name = f"{operator.lower()}{next(self._number)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"constant{next(self._number)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1, gain: float = 2.0
    ) -> str:
        fan_in = inputs // group * kernel * kernel
        w = self._rng.normal(0, np.sqrt(gain / fan_in), (outputs, inputs // group, kernel, kernel))
        bias = self._rng.normal(0, 0.05, outputs)
        names = self.constant(w.astype(np.float32)), self.constant(bias.astype(np.float32))
        pads = [kernel // 2] * 4
        return self.node(
            "Conv", x, *names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=group, dilations=[1, 1]
        )

    def several(self, operator: str, outputs: int, *inputs: str, **attributes: object) -> list[str]:
        """Add a node and return its outputs."""
        names = [f"{operator.lower()}{next(self._number)}" for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=names[0], **attributes))
        return names

    def random(self, *shape: int, scale: float) -> str:
        """Add a constant of random numbers."""
        return self.constant(self._rng.normal(0, scale, shape).astype(np.float32))

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def relu6(self, x: str) -> str:
        return self.node("Clip", x, self._scalar(0.0), self._scalar(6.0))

    def _scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def classifier(self, x: str, features: int, classes: int = 1000) -> str:
        x = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        w = self._rng.normal(0, np.sqrt(1 / features), (classes, features)).astype(np.float32)
        names = self.constant(w), self.constant(np.zeros(classes, np.float32))
        return self.node("Gemm", x, *names, transB=1)

    def model(self, name: str, outputs: str | list[str], size: int | tuple[int, ...]) -> onnx.ModelProto:
        """Return the model of one input "input": images of size x size with three channels, or of any shape."""
        shape = [1, 3, size, size] if isinstance(size, int) else list(size)
        x = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
        names = [outputs] if isinstance(outputs, str) else outputs
        y = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in names]
        graph = helper.make_graph(self.nodes, name, [x], y, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model)
        return model


def resnet50(size: int = 224) -> onnx.ModelProto:
    """Return ResNet-50 for images of size x size."""
    b = Builder(0)
    x = b.node("MaxPool", b.relu(b.conv("input", 3, 64, 7, 2)), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            step = stride if i == 0 else 1
            y = b.relu(b.conv(x, inputs, width, 1))
            y = b.relu(b.conv(y, width, width, 3, step))
            y = b.conv(y, width, 4 * width, 1, gain=0.2)
            shortcut = b.conv(x, inputs, 4 * width, 1, step, gain=1.0) if i == 0 else x
            x, inputs = b.relu(b.node("Add", y, shortcut)), 4 * width
    return b.model("resnet50", b.classifier(x, inputs), size)


def mobilenet_v2(size: int = 224, alpha: float = 1.0, classes: int = 1000) -> onnx.ModelProto:
    """Return MobileNetV2 for images of size x size, with all widths multiplied and rounded to multiples of 8."""

    def width(channels: int) -> int:
        rounded = max(8, int(alpha * channels + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * alpha * channels else rounded + 8

    b = Builder(1)
    inputs = width(32)
    x = b.relu6(b.conv("input", 3, inputs, 3, 2))
    layers = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, channels, repeats, stride in layers:
        outputs = width(channels)
        for i in range(repeats):
            step, hidden = stride if i == 0 else 1, inputs * expansion
            y = b.relu6(b.conv(x, inputs, hidden, 1)) if expansion != 1 else x
            y = b.relu6(b.conv(y, hidden, hidden, 3, step, group=hidden))
            y = b.conv(y, hidden, outputs, 1, gain=1.0)
            x, inputs = b.node("Add", x, y) if step == 1 and inputs == outputs else y, outputs
    last = 1280 if alpha <= 1 else width(1280)
    x = b.relu6(b.conv(x, inputs, last, 1))
    return b.model("mobilenet_v2", b.classifier(x, last, classes), size)


MODELS = ("srcnn", "resnet50", "mobilenet_v2")


def prepared(name: str, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the path of a model, written to a folder if it is not bundled, and its feeds; SRCNN enlarges 256x256."""
    rng = np.random.default_rng(0)
    if name == "srcnn":
        feeds = {"input": rng.random((1, 3, 256, 256), np.float32), "factor": np.float32([1, 1, 3, 3])}
        return Path(zoo.find("srcnn").path), feeds
    path = folder / f"{name}.onnx"
    if not path.exists():
        onnx.save({"resnet50": resnet50, "mobilenet_v2": mobilenet_v2}[name](), path)
    return path, {"input": rng.random((1, 3, 224, 224), np.float32)}
