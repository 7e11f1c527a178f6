"""Small networks that a device can run: nodes with real weights, a format for every tensor, and the same as ONNX.

A network is data that the models of the devices read by themselves. `as_onnx` gives it to qengine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Format:
    """A word: whether it has a sign, its bits, and its fraction bits."""

    bits: int
    fraction: int
    signed: bool = True

    @property
    def least(self) -> int:
        """The least code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        """The greatest code."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def __str__(self) -> str:
        """Return the name, such as Q4.3."""
        whole = self.bits - self.fraction - self.signed
        return f"{'Q' if self.signed else 'UQ'}{whole}.{self.fraction}"


@dataclass
class Node:
    """An operator. Weights are OIHW, (out, in) if dense, IOHW if transposed; pads are top, left, bottom, right."""

    kind: str
    inputs: list[str]
    output: str
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    group: int = 1
    counts_pads: bool = False
    depthwise: bool = False

    def __post_init__(self):
        """Note a node whose filters see one channel each; one channel of it is still a part of such a node."""
        self.depthwise = self.depthwise or self.group > 1


OPERATORS = {
    "conv": "Conv",
    "dense": "Gemm",
    "transposed": "ConvTranspose",
    "matmul": "MatMul",
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "average": "AveragePool",
    "global": "GlobalAveragePool",
    "maximum": "MaxPool",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "concat": "Concat",
    "flatten": "Flatten",
}


@dataclass
class Network:
    """Nodes in order, shapes of the inputs without the batch, formats by tensor.

    Weights are NAME_w, biases NAME_b. Weights may have a list of formats, one for each output channel.
    """

    inputs: dict[str, tuple[int, ...]]
    formats: dict[str, Format | list[Format]]
    nodes: list[Node] = field(default_factory=list)

    def add(self, kind: str, inputs: list[str], output: str, fmt: Format, **how) -> str:
        """Append a node and return its output."""
        self.nodes.append(Node(kind, inputs, output, **how))
        self.formats[output] = fmt
        return output

    def weigh(self, output: str, fmt: Format | list[Format]) -> None:
        """Set the format of the weights of a node."""
        self.formats[f"{output}_w"] = fmt

    def copy_with(self, name: str, fmt: Format) -> Network:
        """Return the network with another format of a tensor."""
        return Network(self.inputs, {**self.formats, name: fmt}, self.nodes)

    def as_onnx(self) -> onnx.ModelProto:
        """Return the network as a model; every output of a node is an output of the model."""
        nodes, constants = [], []
        for node in self.nodes:
            names, how = list(node.inputs), {}
            for suffix, values in (("w", node.weights), ("b", node.bias)):
                if values is not None:
                    names.append(f"{node.output}_{suffix}")
                    constants.append(numpy_helper.from_array(np.asarray(values, np.float32), names[-1]))
            if node.kind in ("conv", "average", "maximum"):
                how = {"kernel_shape": node.kernel, "strides": node.stride, "pads": node.pads}
            if node.kind == "transposed":
                how = {"kernel_shape": node.kernel, "strides": node.stride}
            if node.kind == "conv":
                how["group"] = node.group
            if node.kind == "average":
                how["count_include_pad"] = int(node.counts_pads)
            if node.kind == "dense":
                how = {"transB": 1}
            if node.kind == "concat":
                how = {"axis": 1}
            nodes.append(helper.make_node(OPERATORS[node.kind], names, [node.output], **how))
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, *s)) for n, s in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(n.output, TensorProto.FLOAT, None) for n in self.nodes]
        graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def named_formats(self) -> dict[str, str | list[str]]:
        """Return the formats by tensor as qengine reads them."""
        return {
            name: [str(one) for one in fmt] if isinstance(fmt, list) else str(fmt) for name, fmt in self.formats.items()
        }
