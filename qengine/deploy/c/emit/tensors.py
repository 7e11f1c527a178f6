"""The table of tensors, for traces and self-tests."""

from __future__ import annotations

from qengine.deploy.c.emit.formats import fraction_bits
from qengine.deploy.c.emit.templates import filled
from qengine.deploy.c.ir import CNetwork, CTensor, Operation

_NO_FRACTION_BITS = (1 << 15) - 1

_TABLE = """#ifdef NET_TRACE
const struct net_tensor net_tensors[NET_TENSORS] = {
@lines@};
#endif
"""


def axes_of(network: CNetwork) -> int:
    """Return the most axes of a tensor; at least 1, as C has no empty arrays."""
    return max([1, *(len(t.shape) for t in network.tensors)])


def tensor_table(network: CNetwork, name: str) -> str:
    """Return the definition of `net_tensors`."""
    axes = axes_of(network)
    rows = [_row(t, "input", -1, axes) for t in network.inputs]
    rows += [_row(t, title_of(o), i, axes) for i, o in enumerate(network.operations) for t in o.outputs]
    lines = ",\n".join(f"    {row}" for row in rows)
    return filled(_TABLE, name, lines=lines)


def title_of(operation: Operation) -> str:
    """Return the operator and the name of a node."""
    return f"{operation.node.operator} {operation.node.name or operation.output.name}"


def _row(tensor: CTensor, title: str, number: int, axes: int) -> str:
    word = None if tensor.format is None else tensor.format.word()
    bits = 8 * tensor.dtype.itemsize if word is None else word.bits
    n = fraction_bits(tensor.format)
    shape = ", ".join(map(str, tensor.shape + (1,) * (axes - len(tensor.shape))))
    order = ", ".join(map(str, tensor.order + tuple(range(len(tensor.shape), axes))))
    numbers = [
        tensor.size,
        number,
        tensor.dtype.itemsize,
        int(tensor.dtype.kind == "i"),
        bits,
        len(tensor.shape),
        f"{{{shape}}}",
        f"{{{order}}}",
        n if isinstance(n, int) else _NO_FRACTION_BITS,
    ]
    return "{" + ", ".join([text_literal(tensor.name), text_literal(title), *map(str, numbers)]) + "}"


def text_literal(text: str) -> str:
    """Return text as a string of C: other than plain characters become escapes of their bytes, and controls "?"."""
    parts = []
    for byte in "".join("?" if ord(c) < 32 or ord(c) == 127 else c for c in text).encode("utf-8", "surrogatepass"):
        if byte in b'"\\?':
            parts.append("\\" + chr(byte))
        elif 32 <= byte < 127:
            parts.append(chr(byte))
        else:
            parts.append(f"\\{byte:03o}")
    return '"' + "".join(parts) + '"'
