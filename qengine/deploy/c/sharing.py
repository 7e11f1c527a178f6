"""One array for equal constants: blocks of a network often have the same table, and shifts of channels repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qengine.deploy.c.ir import Argument, Call, Constant, Operation

_Key = tuple[str, bool, bytes]


def with_shared_constants(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations with one `Constant` for all of the same type and elements: the first one."""
    first: dict[_Key, Constant] = {}
    return tuple(_shared(one, first) for one in operations)


def _shared(one: Operation, first: dict[_Key, Constant]) -> Operation:
    calls = {id(call): _with_first(call, first) for call in one.calls}
    parts = tuple(replace(part, call=calls[id(part.call)]) for part in one.parts)
    return replace(one, calls=tuple(calls.values()), parts=parts)


def _with_first(call: Call, first: dict[_Key, Constant]) -> Call:
    def shared(a: Argument) -> Argument:
        if not isinstance(a, Constant):
            return a
        return first.setdefault((a.array.dtype.str, a.is_visible, a.array.tobytes()), a)

    return replace(call, arguments=tuple(map(shared, call.arguments)))
