"""Steps on plain buffers, in float32 and on other elements, equal the reference on every instruction set."""

from __future__ import annotations

from networks import network


def model_of(*nodes, inputs, constants=None, opset=18, outputs=None):
    return network(list(nodes), inputs=inputs, constants=constants, opset=opset, outputs=outputs)
