"""A C function for each operation; operations that differ in their tensors and weights alone share one.

Such a function calls kernels with numbers that the compiler knows. The blocks of a network often repeat: their
convolutions have the same shapes and shifts, and one function with pointers to tensors and weights serves all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qengine.deploy.c.emit.arrays import array_text
from qengine.deploy.c.emit.stamp import plain
from qengine.deploy.c.ir import Argument, Call, Constant, CTensor, CType, Operation, Scratch
from qengine.deploy.c.kernel_text import Kernels, blocks, initializer
from qengine.deploy.c.sharing import unused

_Called = tuple[str, tuple[str, ...], str, str]
"""A call: the function, its arguments, and the struct of its numbers with their initializer, "" for none."""


@dataclass(frozen=True)
class Step:
    """The call of an operation.

    Attributes
    ----------
    function : name of the function in C.
    reads : tensors that it gets first, then the outputs.
    weights : constant arrays that it gets, after its tensors and its scratch.
    """

    function: str
    reads: tuple[CTensor, ...]
    weights: tuple[Constant, ...]


@dataclass
class StepFunctions:
    """The functions of the operations of a network.

    Attributes
    ----------
    prefix : name of the network.
    kernels : kernels that the network needs so far.
    """

    prefix: str
    kernels: Kernels
    _names: dict[tuple[tuple[str, ...], tuple[_Called, ...]], str] = field(default_factory=dict)
    _numbers: dict[tuple[str, str], str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _arrays: set[str] = field(default_factory=set)
    _users: dict[str, list[str]] = field(default_factory=dict)
    _texts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, one: Operation, shares: bool) -> Step:
        """Add the function of an operation, and return its call.

        Parameters
        ----------
        one
            The operation; it has calls.
        shares
            Whether its output shares memory with an input.
        """
        weights = tuple(c for c in one.constants if not c.is_visible)
        used = {a for call in one.calls for a in call.arguments}
        reads = tuple(t for t in one.reads if t in used)
        names = _names_of(one, weights)
        calls = tuple(self._called(call, names, shares) for call in one.calls)
        parameters = tuple(_parameters(one, reads, weights, names))
        name = self._names.setdefault((parameters, calls), f"{self.prefix}_step_{one.output.c_name}")
        if name not in self._texts:
            self._texts[name] = self._text(name, one, parameters, calls)
        self._users.setdefault(name, []).append(plain(one.node.name or one.output.name))
        return Step(name, reads, weights)

    @property
    def text(self) -> str:
        """The text of all functions, with the constants that the compiler should see."""
        parts = []
        for name, lines in self._texts.items():
            users = self._users[name]
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            parts.append("\n".join(lines).replace(f"@{name}@", f"{users[0]}{more}"))
        return "\n".join(parts)

    def _called(self, call: Call, names: Mapping[object, str], shares: bool) -> _Called:
        function = self.kernels.add(call.kernel, call.types, shares)
        arguments = tuple(self._argument(a, call, i, names) for i, a in enumerate(call.arguments))
        has_numbers = bool(blocks()[call.kernel].struct)
        numbers = initializer(call.kernel, call.numbers) if has_numbers else ""
        return function, arguments, call.kernel if has_numbers else "", numbers

    def _argument(self, a: Argument, call: Call, place: int, names: Mapping[object, str]) -> str:
        offset = f" + {call.offsets[place]}" if call.offsets and call.offsets[place] else ""
        if a is None:
            return "0"
        if isinstance(a, Constant) and a.is_visible:
            return f"{self.prefix}_{a.c_name}{offset}"
        return f"{names[a]}{offset}"

    def _text(self, name: str, one: Operation, parameters: tuple[str, ...], calls: tuple[_Called, ...]) -> list[str]:
        lines = []
        for constant in one.constants:
            if constant.is_visible and constant.c_name not in self._arrays:
                self._arrays.add(constant.c_name)
                lines += [f"/* {plain(constant.comment)} */", f"static {array_text(self.prefix, constant)}"]
        body = []
        for place, (function, arguments, struct, numbers) in enumerate(calls):
            given = arguments
            if struct:
                known = self._numbers.get((struct, numbers))
                if known is None:
                    wanted = f"{self.prefix}_{one.output.c_name}_{struct}{place or ''}_numbers"
                    known = unused(wanted, self._taken)
                    self._numbers[struct, numbers] = known
                    lines += [f"static const struct {self.prefix}_{struct} {known} =", f"    {numbers};"]
                given = (f"&{known}", *arguments)
            body.append(f"    {function}({', '.join(given)});")
        head = [f"/* {plain(one.node.operator)}: @{name}@ */", f"static void {name}({', '.join(parameters)}) {{"]
        return [*lines, *head, *body, "}\n"]


def scratch_of(one: Operation) -> list[Scratch]:
    """Return the parts of the scratch of an operation, each once."""
    return list(dict.fromkeys(a for call in one.calls for a in call.arguments if isinstance(a, Scratch)))


def _names_of(one: Operation, weights: tuple[Constant, ...]) -> dict[object, str]:
    """Return the names of the pointers of a function."""
    found: dict[object, str] = {}
    given: tuple[tuple[str, tuple[CTensor | Scratch | Constant, ...]], ...] = (
        ("x", one.reads),
        ("y", one.outputs),
        ("scratch", tuple(scratch_of(one))),
        ("w", weights),
    )
    for letter, pointers in given:
        for i, pointer in enumerate(pointers):
            found[pointer] = f"{letter}{i or ''}"
    return found


def _parameters(
    one: Operation, reads: tuple[CTensor, ...], weights: tuple[Constant, ...], names: Mapping[object, str]
) -> list[str]:
    found = [f"const {CType.of(t.dtype).name} *{names[t]}" for t in reads]
    found += [f"{CType.of(t.dtype).name} *{names[t]}" for t in one.outputs]
    found += [f"{CType.of(s.dtype).name} *{names[s]}" for s in scratch_of(one)]
    return found + [f"const {CType.of(c.array.dtype).name} *{names[c]}" for c in weights]
