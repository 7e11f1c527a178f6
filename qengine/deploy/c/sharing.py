"""Arrays of constants of a whole network: one for equal ones, each with a name of its own.

Blocks of a network often have the same table, and shifts of channels repeat. The name of an array joins those of a
tensor and of its role there, so that a tensor "a" and a tensor "a_bias" might give the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from qengine.deploy.c.ir import Argument, Constant, Operation

_Key = tuple[str, bool, bytes]


def with_shared_constants(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations with one `Constant` for all of the same type and elements: the first one."""
    arrays = _Arrays()
    return tuple(arrays.shared(one) for one in operations)


@dataclass
class _Arrays:
    first: dict[_Key, Constant] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def shared(self, one: Operation) -> Operation:
        """Return an operation with the arrays that stand for its own."""
        calls = {id(call): replace(call, arguments=tuple(map(self._of, call.arguments))) for call in one.calls}
        parts = tuple(replace(part, call=calls[id(part.call)]) for part in one.parts)
        return replace(one, calls=tuple(calls.values()), parts=parts)

    def _of(self, a: Argument) -> Argument:
        if not isinstance(a, Constant):
            return a
        key = a.array.dtype.str, a.is_visible, a.array.tobytes()
        if key not in self.first:
            name = unused(a.c_name, self.names)
            self.first[key] = a if name == a.c_name else replace(a, c_name=name)
        return self.first[key]


def unused(name: str, names: set[str]) -> str:
    """Return a name, with a number after it if some names hold it; and enter it there."""
    fresh, number = name, 2
    while fresh in names:
        fresh, number = f"{name}_{number}", number + 1
    names.add(fresh)
    return fresh
