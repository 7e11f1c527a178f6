"""A graph under construction, and the chance that it is built by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .chance import Chance

OPSETS = (11, 13, 17, 18, 21)


@dataclass
class Builder(Chance):
    """A graph under construction; shapes are followed by ONNX's own inference."""

    rng: np.random.Generator
    opset: int
    nodes: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)
    trail: list = field(default_factory=list)

    def feed(self, *shape: int) -> str:
        name = "xyzuvw"[len(self.inputs)]
        self.inputs[name] = self.numbers(*shape)
        return name

    def constant(self, array, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def node(self, op: str, inputs: list[str], outputs: int = 1, **attributes) -> str:
        names = [f"t{len(self.nodes)}" if outputs == 1 else f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        shown = ", ".join(f"{k}={v}" for k, v in attributes.items())
        self.trail.append(f"{op}({shown})")
        return names[0]

    def model(self, outputs: list[str], shape: tuple[int, ...] | None = None) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in self.inputs.items()]
        out = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in outputs]
        initializers = [numpy_helper.from_array(a, n) for n, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "random", infos, out, initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def shape(self, name: str) -> tuple[int, ...]:
        inferred = onnx.shape_inference.infer_shapes(self.model([name]), strict_mode=True, data_prop=True)
        (info,) = (o for o in inferred.graph.output if o.name == name)
        return tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
