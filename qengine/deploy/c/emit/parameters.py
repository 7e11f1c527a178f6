"""The names and types of inputs and outputs in C."""

from __future__ import annotations

from qengine.deploy.c.ir import CNetwork, CTensor, CType

_TAKEN = {"arena", "memory", "null", "eof", "size_t", "linux", "unix", "i386", "errno", "assert", "memcpy", "memset"}
"""Names that the source has for something else, or that systems define as macros."""


def parameter_of(tensor: CTensor) -> str:
    """Return the name of a parameter: in small letters, which macros of systems seldom are."""
    name = tensor.c_name.lower()
    return f"{name}_" if name in _TAKEN else name


def parameters(network: CNetwork) -> list[str]:
    """Return the parameters of `net_run` with their lengths: inputs, then outputs."""
    return [f"{_typed(t, network)}{parameter_of(t)}[{max(t.size, 1)}]" for t in _all(network)]


def _all(network: CNetwork) -> tuple[CTensor, ...]:
    return (*network.inputs, *network.outputs)


def _typed(tensor: CTensor, network: CNetwork) -> str:
    const = "const " if any(tensor is one for one in network.inputs) else ""
    return f"{const}{CType.of(tensor.dtype).name} "
