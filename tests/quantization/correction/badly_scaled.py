"""The bundled digits with channels of very different scales, which make up for each other."""

from dataclasses import replace

import numpy as np

from qengine import zoo
from qengine.model.graph import Node
from qengine.model.loader import load


def badly_scaled_digits(seed=0, spread=4.0):
    """Return the graph: Relu instead of Clip, and each channel between two layers times 2^u, u within +-spread.

    The next layer's weights are divided by as much, so that the answers are those without the factors.
    """
    graph = load(zoo.find("digits").path)
    rng = np.random.default_rng(seed)
    constants, nodes, factors = dict(graph.constants), [], None
    for node in graph.nodes:
        if node.operator == "Clip":
            node = Node("Relu", node.inputs[:1], node.outputs, {}, node.name, version=node.version)
        elif node.operator in ("Conv", "Gemm") and factors is not None:
            weights = constants[node.inputs[1]]
            shape = [1] * weights.ndim
            shape[0 if node.number("group", 1) > 1 else 1] = -1
            constants[node.inputs[1]] = (weights / factors.reshape(shape)).astype(np.float32)
        elif node.operator == "BatchNormalization":
            factors = 2 ** rng.uniform(-spread, spread, constants[node.inputs[1]].size)
            for name in node.inputs[1:3]:
                constants[name] = (constants[name] * factors).astype(np.float32)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants)
