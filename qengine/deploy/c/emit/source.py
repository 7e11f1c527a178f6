"""net.c: a function for each operation, and `net_run`, which calls them in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qengine.deploy.c.arena import Arena
from qengine.deploy.c.emit.parameters import parameter_of, parameters
from qengine.deploy.c.emit.stamp import plain
from qengine.deploy.c.ir import Argument, Call, CNetwork, Constant, CTensor, CType, Operation, Scratch
from qengine.deploy.c.kernel_text import Kernels, blocks, initializer, literal

_LINE = 12  # numbers on a line of an array


@dataclass
class SourceWriter:
    """The text of net.c.

    Parameters
    ----------
    arena
        The network, and where its tensors are.
    prefix
        Name of the network.
    kernels
        Kernels that the network needs so far; those of its calls are added.
    """

    arena: Arena
    prefix: str
    kernels: Kernels

    @property
    def network(self) -> CNetwork:
        """The network as the arena has it."""
        return self.arena.network

    def text(self) -> str:
        """Return the functions, with the constants that the compiler should see."""
        parts = [self._function(i, one) for i, one in enumerate(self.network.operations) if one.calls]
        return "\n".join([*parts, self._run_in(), self._run()])

    def _function(self, index: int, one: Operation) -> str:
        lines = []
        for constant in one.constants:
            if constant.is_visible:
                lines.append(f"/* {plain(constant.comment)} */")
                lines.append(f"static {array_text(self.prefix, constant)}")
        names = self._names(one)
        used = {a for call in one.calls for a in call.arguments if isinstance(a, CTensor)}
        body = [f"    (void){names[t]};" for t in (*one.reads, *one.outputs) if t not in used]
        for number, call in enumerate(one.calls):
            function = self.kernels.add(call.kernel, call.types, one in self.arena.shares)
            arguments = [self._argument(a, call, i, names) for i, a in enumerate(call.arguments)]
            if blocks()[call.kernel].struct:
                constant_name = f"{self.prefix}_{one.output.c_name}_{call.kernel}{number or ''}_numbers"
                lines.append(f"static const struct {self.prefix}_{call.kernel} {constant_name} =")
                lines.append(f"    {initializer(call.kernel, call.numbers)};")
                arguments.insert(0, f"&{constant_name}")
            body.append(f"    {function}({', '.join(arguments)});")
        title = plain(f"{index}: {one.node.operator} {one.node.name or one.output.name}")
        notes = "".join(f"\n * {plain(line)}" for line in one.comments)
        lines.append(f"/* {title}{notes} */")
        lines.append(f"static void {self._step(one)}({', '.join(self._parameters(one, names))}) {{")
        return "\n".join([*lines, *body, "}\n"])

    def _step(self, one: Operation) -> str:
        return f"{self.prefix}_step_{one.output.c_name}"

    def _names(self, one: Operation) -> dict[object, str]:
        """Return the names of the pointers of a step."""
        found: dict[object, str] = {}
        for letter, tensors in (("x", one.reads), ("y", one.outputs)):
            for i, t in enumerate(tensors):
                found[t] = f"{letter}{i or ''}"
        return found | {a: f"scratch{i or ''}" for i, a in enumerate(_scratch_of(one))}

    def _parameters(self, one: Operation, names: Mapping[object, str]) -> list[str]:
        found = [f"const {CType.of(t.dtype).name} *{names[t]}" for t in one.reads]
        found += [f"{CType.of(t.dtype).name} *{names[t]}" for t in one.outputs]
        return found + [f"{CType.of(a.dtype).name} *{names[a]}" for a in _scratch_of(one)]

    def _argument(self, a: Argument, call: Call, place: int, names: Mapping[object, str]) -> str:
        offset = f" + {call.offsets[place]}" if call.offsets and call.offsets[place] else ""
        if a is None:
            return "0"
        if isinstance(a, CTensor | Scratch):
            return f"{names[a]}{offset}"
        return f"{self.prefix}_{a.c_name}{offset}"

    def _pointer(self, tensor: CTensor, is_read: bool) -> str:
        holder, before = self.arena.holder(tensor)
        if holder.place != "arena":
            name, offset = parameter_of(holder), before // tensor.dtype.itemsize
            return f"{name} + {offset}" if offset else name
        return _at(self.arena.offsets[tensor], tensor.dtype, is_read)

    def _run_in(self) -> str:
        lines = [f"void {self.prefix}_run_in(void *arena, {', '.join(parameters(self.network))}) {{"]
        used = "uint8_t *const memory = (uint8_t *)arena;" if self.arena.bytes else "(void)arena;"
        lines.append(f"    {used}")
        numbers = {t: i for i, t in enumerate(self.network.tensors)}
        traced = f"{self.prefix.upper()}_TRACED"
        lines += [f"    {traced}({numbers[t]}, {parameter_of(t)}, {t.size});" for t in self.network.inputs]
        for one in self.network.operations:
            if one.calls:
                given = [self._pointer(t, True) for t in one.reads] + [self._pointer(t, False) for t in one.outputs]
                given += [_at(self.arena.scratch[one, a], a.dtype, False) for a in _scratch_of(one)]
                lines.append(f"    {self._step(one)}({', '.join(given)});")
            lines += [f"    {traced}({numbers[t]}, {self._pointer(t, True)}, {t.size});" for t in one.outputs]
        return "\n".join([*lines, "}\n"])

    def _run(self) -> str:
        given = ", ".join(parameter_of(t) for t in (*self.network.inputs, *self.network.outputs))
        regions = self.arena.regions
        memory = f"&{self.prefix}_memory" if regions else "0"
        declared = "".join(
            f"    {CType.of(r.dtype).name} elements{8 * r.width}[{-(-r.bytes // r.width)}];\n" for r in regions
        )
        arena = f"static struct {{\n{declared}}} {self.prefix}_memory;\n\n" if regions else ""
        return (
            f"{arena}void {self.prefix}_run({', '.join(parameters(self.network))}) {{\n"
            f"    {self.prefix}_run_in({memory}, {given});\n}}\n"
        )


def _scratch_of(one: Operation) -> list[Scratch]:
    """Return the parts of the scratch of an operation, each once."""
    return list(dict.fromkeys(a for call in one.calls for a in call.arguments if isinstance(a, Scratch)))


def _at(start: int, dtype: np.dtype[Any], is_read: bool) -> str:
    """Return the pointer to elements in the arena."""
    return f"({'const ' if is_read else ''}{CType.of(dtype).name} *)(void *)(memory + {start})"


def array_text(prefix: str, constant: Constant) -> str:
    """Return the definition of an array of constants."""
    values = [literal(int(v)) for v in constant.array.tolist()] or ["0"]
    rows = [", ".join(values[i : i + _LINE]) for i in range(0, len(values), _LINE)]
    inner = ",\n    ".join(rows)
    return (
        f"const {CType.of(constant.array.dtype).name} {prefix}_{constant.c_name}[{len(values)}] = {{\n    {inner}}};\n"
    )
