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
        self.folded: dict[str, list] = {}  # the output of a Conv -> the nodes that it takes, in order
        for node in self.nodes:
            taken = next((n for n in node.input if n in made_by), None)
            if taken is None or len(self.readers[taken]) > 1 or taken in self.outputs:
                continue
            # What a Conv has taken is the Conv's.
            source = next((c for c, nodes in self.folded.items() if nodes[-1].output[0] == taken), taken)
            linear = made_by[source]
            if node.op_type == "BatchNormalization" and linear.op_type in LINEAR:
                if linear.op_type != "Conv":
                    raise Ambiguous(f"BatchNormalization after {linear.op_type}")
                self.folded.setdefault(source, []).append(node)
            elif self.is_affine(node, linear):
                self.folded.setdefault(source, []).append(node)
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

    def is_affine(self, node, linear) -> bool:
        """Whether a node adds one number for each channel to what an operator with weights computes, or multiplies."""
        channels = {"Conv": 0, "Gemm": 0 if attributes(linear).get("transB", 0) else 1}
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or linear.op_type not in channels:
            return False
        operands = [self.constants[n] for n in node.input if n in self.constants]
        if len(operands) != 1 or (node.op_type == "Div" and node.input[0] in self.constants):
            return False
        weight = self.constants.get(linear.input[1])
        if weight is None or operands[0].ndim > weight.ndim:
            return False
        if linear.op_type == "Gemm":
            if {attributes(linear).get(name, 1.0) for name in ("alpha", "beta")} != {1.0}:
                return False
            if operands[0].size == 1 or operands[0].shape[-1] == weight.shape[channels["Gemm"]] == operands[0].size:
                raise Ambiguous("a sum with what a Gemm computes")
            return False
        other = [n for i, n in enumerate(reversed(operands[0].shape)) if i != weight.ndim - 2]
        whole = operands[0].size == 1 or (set(other) <= {1} and operands[0].size == weight.shape[0])
        return whole and not (node.op_type == "Div" and not operands[0].all())

    def activations(self) -> list[str]:
        return [*self.inputs, *(o for node in self.nodes for o in node.output if o)]

    def observable(self) -> list[str]:
        """The tensors that exist whatever is fused: all but a Conv's output that a folded node hides."""
        hidden = {*self.folded, *(node.output[0] for nodes in self.folded.values() for node in nodes[:-1])}
        return [o for node in self.nodes for o in node.output if o and o not in hidden]

    def format_of(self, name: str, formats: dict[str, Fmt], qformat: Fmt) -> Fmt:
        named = {formats[m] for m in self.group[name] if m in formats}
        if len(named) > 1:
            raise Ambiguous(f"two formats for the group of {name}")
        return named.pop() if named else qformat
