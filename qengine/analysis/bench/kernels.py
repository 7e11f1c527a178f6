"""Measurement of kernels without a model: layers of common networks, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qengine.analysis.bench.model import Report, Row, measure
from qengine.model.graph import Graph, Node, Value
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

F32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Layer:
    """Operator on an input of a fixed shape.

    Attributes
    ----------
    name : name in tables.
    operator, attributes : ONNX operator, and its attributes.
    shape : shape of the input.
    weights : shape of the filters; None for an operator without filters.
    constants : constant inputs other than the filters, by name.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    weights: tuple[int, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def graph(self) -> Graph:
        """Return a graph of this layer alone, with random filters."""
        rng = np.random.default_rng(0)
        constants = {name: np.asarray(value) for name, value in self.constants.items()}
        inputs = ["x", *constants]
        if self.weights is not None:
            fan_in = max(1, int(np.prod(self.weights[1:])))
            constants["w"] = rng.normal(0, fan_in**-0.5, self.weights).astype(np.float32)
            inputs.append("w")
        elif self.operator in ("Add", "Mul"):
            inputs.append("x")
        node = Node(self.operator, tuple(inputs), ("y",), dict(self.attributes), version=18)
        x = Value("x", F32, self.shape)
        return Graph(self.name, (x,), (Value("y", F32),), (node,), constants, {"x": x})


def _conv(name: str, size: int, filters: tuple[int, int, int], stride: int = 1, group: int = 1) -> Layer:
    """Return a convolution of filters (inputs, outputs, kernel size) on a square image."""
    inputs, outputs, kernel = filters
    attributes = {"pads": (kernel // 2,) * 4, "strides": (stride,) * 2, "group": group}
    shape = (1, inputs, size, size)
    return Layer(name, "Conv", shape, (outputs, inputs // group, kernel, kernel), attributes)


_SCALES = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 3, 3], np.float32)}

LAYERS = (
    _conv("9x9, 3 to 64, 256x256", 256, (3, 64, 9)),
    _conv("1x1, 64 to 32, 256x256", 256, (64, 32, 1)),
    _conv("5x5, 32 to 3, 256x256", 256, (32, 3, 5)),
    _conv("3x3, 64 to 64, 56x56", 56, (64, 64, 3)),
    _conv("3x3 stride 2, 128 to 128, 56x56", 56, (128, 128, 3), 2),
    _conv("1x1, 256 to 1024, 14x14", 14, (256, 1024, 1)),
    _conv("3x3, 512 to 512, 7x7", 7, (512, 512, 3)),
    _conv("3x3 depthwise, 144, 56x56", 56, (144, 144, 3), 1, 144),
    _conv("3x3 depthwise stride 2, 144, 56x56", 56, (144, 144, 3), 2, 144),
    Layer("fully connected, 2048 to 1000", "MatMul", (1, 2048), (2048, 1000)),
    Layer("max pool 3x3, 64, 112x112", "MaxPool", (1, 64, 112, 112), None, {"kernel_shape": (3, 3), "strides": (2, 2)}),
    Layer("global average, 512, 28x28", "GlobalAveragePool", (1, 512, 28, 28)),
    Layer("add, 256, 56x56", "Add", (1, 256, 56, 56)),
    Layer("sigmoid, 64, 56x56", "Sigmoid", (1, 64, 56, 56)),
    Layer("cubic resize x3, 3, 256x256", "Resize", (1, 3, 256, 256), None, {"mode": "cubic"}, _SCALES),
)

WORDS = {
    "float32": SessionOptions(threads=1),
    "int8": SessionOptions(threads=1, qformat="Q3.4"),
    "int16": SessionOptions(threads=1, qformat="Q3.12"),
}
"""Options of the sessions that layers are measured in, by name: on one thread."""


def bench_layer(layer: Layer, options: SessionOptions, seconds: float = 0.2) -> Report:
    """Measure one layer; see `measure`."""
    session = InferenceSession(layer.graph(), options)
    x = np.random.default_rng(1).normal(0, 1, layer.shape).astype(np.float32)
    return measure(session, {"x": x}, seconds=seconds)


def bench_kernels(isa: str | None = None, seconds: float = 0.05) -> list[tuple[str, str, Row, Mapping[str, float]]]:
    """Measure every layer in float32, 8 and 16 bits, on one thread.

    Returns
    -------
    list
        (layer, word, slowest kernel of the operator, peaks), one for each layer and word.
    """
    measurements = []
    for layer in LAYERS:
        for word, options in WORDS.items():
            report = bench_layer(layer, replace(options, isa=isa), seconds)
            rows = [row for row in report.rows if row.operator] or list(report.rows)
            measurements.append((layer.name, word, max(rows, key=lambda row: row.ms), report.peaks))
    return measurements
