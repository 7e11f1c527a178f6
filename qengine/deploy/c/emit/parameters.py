"""The names and types of inputs and outputs in C."""

from __future__ import annotations

from qengine.deploy.c.ir import CNetwork, CTensor, CType


def parameter_of(tensor: CTensor) -> str:
    """Return the name of a parameter: in small letters, which macros of systems seldom are."""
    return tensor.c_name.lower()


def parameters(network: CNetwork) -> list[str]:
    """Return the parameters of `net_run` with their lengths: inputs, then outputs."""
    given = [f"const {_typed(t)}" for t in network.inputs]
    return [*given, *(_typed(t) for t in network.outputs)]


def _typed(tensor: CTensor) -> str:
    return f"{CType.of(tensor.dtype).name} {parameter_of(tensor)}[{max(tensor.size, 1)}]"
