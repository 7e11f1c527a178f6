"""A model taken apart: constants, readers, folded BatchNormalizations, groups that share a format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .codes import Ambiguous, Fmt

LINEAR = ("BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul")
# Operators whose input and output share one format.
PRESERVING = (
    *("Clip", "DepthToSpace", "Flatten", "Identity", "MaxPool", "Pad", "Relu", "Reshape", "Slice"),
    *("SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze", "Expand", "Tile", "Gather", "Split"),
)


def attributes(node) -> dict:
    out = {}
    for a in node.attribute:
        value = helper.get_attribute_value(a)
        out[a.name] = value.decode() if isinstance(value, bytes) else value
    # The defaults are float32 in the schema of ONNX.
    defaults = {
        "LeakyRelu": {"alpha": 0.01},
        "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
        "Elu": {"alpha": 1.0},
        "BatchNormalization": {"epsilon": 1e-5},
    }
    for name, value in defaults.get(node.op_type, {}).items():
        out.setdefault(name, float(np.float32(value)))
    return out


def hands_through(node) -> bool:
    return node.op_type in PRESERVING or (
        node.op_type == "Resize" and attributes(node).get("mode", "nearest") == "nearest"
    )


@dataclass
class Net:
    """A model taken apart: constants, readers, folded BatchNormalizations, groups that share a format."""

    model: onnx.ModelProto

    def __post_init__(self):
        graph = self.model.graph
        self.opset = next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.nodes = list(graph.node)
        self.inputs = [i.name for i in graph.input if i.name not in self.constants]
        self.outputs = [o.name for o in graph.output]
        self.readers: dict[str, list] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        made_by = {node.output[0]: node for node in self.nodes}
        self.folded = {}  # the output of a Conv that takes a BatchNormalization -> that node
        for node in self.nodes:
            if node.op_type != "BatchNormalization":
                continue
            source = made_by.get(node.input[0])
            if source is None or source.op_type not in LINEAR:
                continue
            if len(self.readers[node.input[0]]) > 1 or node.input[0] in self.outputs:
                continue
            if source.op_type != "Conv":
                raise Ambiguous(f"BatchNormalization after {source.op_type}")
            self.folded[source.output[0]] = node
        # Groups of tensors with one format, by repeated union.
        self.group: dict[str, set[str]] = {}
        for name in self.activations():
            self.group[name] = {name}
        for node in self.nodes:
            if hands_through(node):
                for out in node.output:
                    joined = self.group[node.input[0]] | self.group[out]
                    for member in joined:
                        self.group[member] = joined

    def activations(self) -> list[str]:
        return [*self.inputs, *(o for node in self.nodes for o in node.output if o)]

    def observable(self) -> list[str]:
        """The tensors that exist whatever is fused: all but a Conv's output that a folded node hides."""
        return [o for node in self.nodes for o in node.output if o and o not in self.folded]

    def format_of(self, name: str, formats: dict[str, Fmt], qformat: Fmt) -> Fmt:
        named = {formats[m] for m in self.group[name] if m in formats}
        if len(named) > 1:
            raise Ambiguous(f"two formats for the group of {name}")
        return named.pop() if named else qformat
