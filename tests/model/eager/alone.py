"""A node computed by itself, without a model around it that onnx would check before."""

import pytest

from qengine.model.eager.single_node import compute
from qengine.model.graph import Node


def alone(operator, inputs, attributes=None, version=17, outputs=1):
    """Return the outputs of a node."""
    names = tuple("" if x is None else f"x{i}" for i, x in enumerate(inputs))
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in (attributes or {}).items()}
    node = Node(operator, names, tuple(f"y{i}" for i in range(outputs)), listed, "node", "", version)
    return compute(node, list(inputs), {})


def refused(error, reason, *node, **more):
    """Check that a node ends in an error of one line that names it."""
    with pytest.raises(error, match=rf"^node 'node' \(\w+\): .*{reason}"):
        alone(*node, **more)
