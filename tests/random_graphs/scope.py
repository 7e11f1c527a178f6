"""A graph under construction that may hold graphs and be one: a model, a branch, a body, a local function."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .chance import Chance

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass
class Shared:
    """What all graphs of one model share: chance, names, functions, and the words of the trail."""

    rng: np.random.Generator
    opset: int
    numbers: count = field(default_factory=count)
    functions: list = field(default_factory=list)
    trail: list = field(default_factory=list)
    choices: int = 0  # conditions that the feeds decide


@dataclass
class Scope(Chance):
    """One graph: its nodes, its constants, and the tensors of real numbers that it may read.

    A tensor of real numbers has the shape [batch, length, width]; only the width is fixed.
    """

    shared: Shared
    depth: int = 0
    is_function: bool = False
    nodes: list = field(default_factory=list)
    initializers: list = field(default_factory=list)
    widths: dict = field(default_factory=dict)
    known: list = field(default_factory=list)  # real numbers that shapes decide, and that broadcast

    @property
    def rng(self) -> np.random.Generator:
        return self.shared.rng

    @property
    def opset(self) -> int:
        return self.shared.opset

    def inner(self) -> Scope:
        """Return a scope inside of a node of this one, which may read its tensors unless this is a function."""
        return Scope(self.shared, self.depth + 1, self.is_function, widths=dict(self.widths), known=list(self.known))

    def name(self) -> str:
        return f"t{next(self.shared.numbers)}"

    def constant(self, array, dtype=np.float32) -> str:
        """Add an initializer or a Constant node."""
        name, proto = self.name(), array if isinstance(array, TensorProto) else None
        proto = proto or numpy_helper.from_array(np.asarray(array, dtype))
        if self.is_function or self.rng.random() < 0.2:
            self.nodes.append(helper.make_node("Constant", [], [name], value=proto))
        else:
            proto.name = name
            self.initializers.append(proto)
        return name

    def node(self, op: str, inputs, outputs: int = 1, domain: str = "", **attributes):
        """Add a node; return its output, or a list of several."""
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n_{names[0]}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def graph(self, name: str, inputs, outputs) -> onnx.GraphProto:
        return helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)

    # Shape arithmetic

    def axes(self, op: str, x: str, axes: list[int]) -> str:
        """Add a Squeeze or Unsqueeze."""
        if self.opset < 13:
            return self.node(op, [x], axes=axes)
        return self.node(op, [x, self.constant(axes, np.int64)])

    def length(self, x: str, axis: int) -> str:
        """Return the length of an axis as an int64 without axes."""
        shape = self.node("Shape", [x])
        return self.node("Gather", [shape, self.constant(axis, np.int64)])

    def real(self, x: str) -> str:
        return self.node("Cast", [x], to=FLOAT)
