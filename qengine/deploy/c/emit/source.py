"""net.c: `net_run`, which calls the functions of the operations in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qengine.deploy.c.arena import Arena, drawing
from qengine.deploy.c.emit.parameters import parameter_of, parameters
from qengine.deploy.c.emit.stamp import comment, plain
from qengine.deploy.c.emit.steps import StepFunctions, scratch_of
from qengine.deploy.c.ir import CNetwork, CTensor, CType, Operation
from qengine.deploy.c.kernel_text import Kernels


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
        steps = StepFunctions(self.prefix, self.kernels)
        run = self._run_in(steps)
        return "\n".join([steps.text, run, self._run()])

    def _pointer(self, tensor: CTensor, is_read: bool) -> str:
        if tensor.place == "arena" and not tensor.size:
            return f"({'const ' if is_read else ''}{CType.of(tensor.dtype).name} *)0"  # the arena may be empty too
        holder, before = self.arena.holder(tensor)
        if holder.place != "arena":
            name, offset = parameter_of(holder), before // tensor.dtype.itemsize
            return f"{name} + {offset}" if offset else name
        if not self.arena.bytes:  # of a tensor without elements
            return _typed("arena", tensor.dtype, is_read)
        return _at(self.arena.offsets[tensor], tensor.dtype, is_read)

    def _run_in(self, steps: StepFunctions) -> str:
        lines = [self._map(), f"void {self.prefix}_run_in(void *arena, {', '.join(parameters(self.network))}) {{"]
        used = "uint8_t *const memory = (uint8_t *)arena;" if self.arena.bytes else "(void)arena;"
        lines.append(f"    {used}")
        numbers = {t: i for i, t in enumerate(self.network.tensors)}
        traced = f"{self.prefix.upper()}_TRACED"
        lines += [f"    {traced}({numbers[t]}, {parameter_of(t)}, {t.size});" for t in self.network.inputs]
        for index, one in enumerate(self.network.operations):
            lines.append(f"\n    {_comment(index, one)}")
            if one.calls:
                step = steps.add(one, one in self.arena.shares)
                given = [self._pointer(t, True) for t in step.reads] + [self._pointer(t, False) for t in one.outputs]
                given += [_at(self.arena.scratch[one, a], a.dtype, False) for a in scratch_of(one)]
                given += [f"{self.prefix}_{c.c_name}" for c in step.weights]
                lines.append(f"    {step.function}({', '.join(given)});")
            lines += [f"    {traced}({numbers[t]}, {self._pointer(t, True)}, {t.size});" for t in one.outputs]
        return "\n".join([*lines, "}\n"])

    def _map(self) -> str:
        """Return the comment with the bytes of the arena that each operation uses."""
        lines = [plain(line) for line in drawing(self.arena)]
        return comment([f"{self.arena.summary}.", *lines]).rstrip() if lines else ""

    def _run(self) -> str:
        given = ", ".join(parameter_of(t) for t in (*self.network.inputs, *self.network.outputs))
        regions = self.arena.regions
        memory = f"&{self.prefix}_memory" if regions else "0"
        declared = "".join(
            f"    {CType.of(r.dtype).name} part{i}[{-(-r.bytes // r.width)}];\n" for i, r in enumerate(regions)
        )
        arena = f"static struct {{\n{declared}}} {self.prefix}_memory;\n\n" if regions else ""
        return (
            f"{arena}void {self.prefix}_run({', '.join(parameters(self.network))}) {{\n"
            f"    {self.prefix}_run_in({memory}, {given});\n}}\n"
        )


def _comment(index: int, one: Operation) -> str:
    """Return the comment of an operation: its number, operator and name, and what is proved of its sums."""
    view = f", in the memory of {one.view.tensor.name}" if one.view else ", written in place"
    place = "" if one.calls else view if any(t.size for t in one.outputs) else ", of no elements"
    title = plain(f"{index}: {one.node.operator} {one.node.name or one.output.name}{place}")
    return "/* " + "\n     * ".join([title, *map(plain, one.comments)]) + " */"


def _at(start: int, dtype: np.dtype[Any], is_read: bool) -> str:
    """Return the pointer to elements in the arena."""
    place = f"(memory + {start})" if start else "memory"
    return _typed(f"(void *){place}", dtype, is_read)


def _typed(pointer: str, dtype: np.dtype[Any], is_read: bool) -> str:
    return f"({'const ' if is_read else ''}{CType.of(dtype).name} *){pointer}"
