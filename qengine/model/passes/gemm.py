"""Folding of Gemm's factors alpha and beta into its constant matrices, which leaves a plain linear operator."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node


def fold_gemm_factors(graph: Graph) -> Graph:
    """Fold alpha into a constant B and beta into a constant C; a Gemm with another factor is not changed."""
    constants, derived = dict(graph.constants), dict(graph.derived)

    def fold(node: Node) -> Node:
        inputs, factors = list(node.inputs), {1: node.number("alpha", 1.0), 2: node.number("beta", 1.0)}
        wanted = {i: factor for i, factor in factors.items() if factor != 1.0 and i < len(inputs) and inputs[i]}
        # With integers, the factor multiplies the sum, and the product is truncated.
        if not all(inputs[i] in constants and constants[inputs[i]].dtype.kind == "f" for i in wanted):
            return node
        for i, factor in wanted.items():
            name = graph.fresh_name(f"{inputs[i]} * {factor} in {node.outputs[0]}", constants)
            constants[name] = _times(constants[inputs[i]], factor)
            derived[name] = derived.get(inputs[i], inputs[i])
            inputs[i] = name
        attributes = {key: value for key, value in node.attributes.items() if key not in ("alpha", "beta")}
        return replace(node, inputs=tuple(inputs), attributes=attributes)

    nodes = tuple(fold(node) if node.operator == "Gemm" and not node.domain else node for node in graph.nodes)
    return replace(graph, nodes=nodes, constants=constants, derived=derived)


def _times(array: NDArray[Any], factor: float) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return np.asarray(array.astype(np.float64) * factor).astype(array.dtype)
