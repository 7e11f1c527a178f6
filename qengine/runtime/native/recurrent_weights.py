"""Weights of recurrent nodes as their kernels read them: packed once where they are constant, else in each run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES
from qengine.kernels.program import Call
from qengine.kernels.recurrent import GATES, Cell, PackGates, PadGates, packed_gates, padded_gates, padded_units
from qengine.model.eager.recurrent_sizes import RecurrentOptions, RecurrentSizes
from qengine.model.steps import Evaluated, Tensor
from qengine.runtime.native.lowering_table import PlainContext
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainCalls
from qengine.runtime.native.tensor_buffer import TensorBuffer, constant_buffer


@dataclass(frozen=True)
class RecurrentNode:
    """A recurrent node.

    Attributes
    ----------
    cell : equations of a step.
    options, keywords : attributes, and those of the cell.
    sizes : sizes of its tensors.
    """

    cell: Cell
    options: RecurrentOptions
    keywords: dict[str, Any]
    sizes: RecurrentSizes

    @property
    def gates(self) -> int:
        """The number of gates."""
        return GATES[self.cell]

    @property
    def units(self) -> int:
        """The number of hidden units of whole blocks."""
        return padded_units(self.sizes.hidden)

    @property
    def gate_bytes(self) -> int:
        """The bytes of all gates of a step of a sequence."""
        return 4 * self.gates * self.units

    @property
    def resets_after(self) -> bool:
        """Whether a GRU resets after its product."""
        return bool(self.keywords.get("linear_before_reset", 0))

    @property
    def first_biases(self) -> int:
        """The number of gates whose bias of h is added with that of x."""
        return 2 if self.resets_after else self.gates


@dataclass(frozen=True)
class GateFunctions:
    """The functions of the gates of a direction, as `Recurrence` reads them.

    Attributes
    ----------
    names : name of each function.
    numbers : bound of their arguments, 0 for none, then the two numbers of each.
    """

    names: tuple[str, ...]
    numbers: NDArray[np.float32]


def gate_functions(options: RecurrentOptions, cell: Cell) -> list[GateFunctions]:
    """Return the functions of each direction."""
    found = []
    for gates in options.gates(cell):
        numbers = [options.bound or 0.0, *(n for gate in gates for n in (gate.alpha, gate.beta))]
        found.append(GateFunctions(tuple(gate.name for gate in gates), np.array(numbers, np.float32)))
    return found


class RecurrentWeights:
    """Packed weights and biases: of constants once, else by kernels in each run.

    Attributes
    ----------
    w, r, bias, own_bias, peephole : buffers of one direction after the other.
    ops : ops that fill the buffers.
    rows : number of rows of the product with W, of all directions.
    """

    def __init__(
        self,
        context: PlainContext[Evaluated],
        node: RecurrentNode,
        w: Tensor,
        r: Tensor,
        b: Tensor | None,
        p: Tensor | None,
    ) -> None:
        self._context, self._node = context, node
        self.ops: list[Op] = []
        sizes, gates, units = node.sizes, node.gates, node.units
        self.rows = sizes.directions * sizes.time * sizes.batch
        self.w = self._matrix(w, by_item=False)
        self.r = self._matrix(r, by_item=True)
        hidden = sizes.hidden
        if b is None:
            self.bias = constant_buffer(np.zeros((sizes.directions, gates, units), np.float32))
            self.own_bias = self.bias
        else:
            self.bias = self._vector(b, gates, 0, node.first_biases, gates * hidden)
            self.own_bias = self._vector(b, 1, (2 * gates - 1) * hidden, 0, 0) if node.resets_after else self.bias
        self.peephole = self.bias if p is None else self._vector(p, 3, 0, 0, 0)
        self.has_peephole = p is not None

    def _matrix(self, t: Tensor, *, by_item: bool) -> TensorBuffer:
        node, (directions, _, length) = self._node, t.shape
        if t.value is not None:
            packed = [packed_gates(one, node.gates, by_item=by_item) for one in t.value]
            return constant_buffer(np.stack(packed))
        gates, units, hidden = node.gates, node.units, node.sizes.hidden
        items = units if by_item else length
        source = self._context.request(t)
        target = TensorBuffer.flat(f"{t.name} packed", directions * gates * units * items, "f32")
        item = gates * LANES if by_item else LANES
        distances = {"y_item": item, "y_gate": LANES if by_item else units * items}
        numbers = {"gates": gates, "hidden": hidden, "length": length, "padded": items, "y_block": items * item}

        def make(part: Part) -> list[Call]:
            calls = []
            for d in range(part.first, part.end):
                places = {
                    "x": part.inputs[0] + d * (4 * gates * hidden * length),
                    "y": part.outputs[0] + d * (4 * gates * units * items),
                }
                calls.append(Call(PackGates(), {**places, **numbers, **distances}))
            return calls

        work = 4.0 * directions * gates * units * items
        self.ops.append(PlainCalls(self._context.isa, (source,), target, "pack_gates", make, directions, work))
        return target

    def _vector(self, t: Tensor, gates: int, skip: int, added: int, more: int) -> TensorBuffer:
        """Return numbers of `gates` gates, plus, for the first `added`, those `more` elements later."""
        node, (directions, length) = self._node, t.shape
        hidden, units = node.sizes.hidden, node.units
        if t.value is not None:
            numbers = t.value[:, skip : skip + gates * hidden].copy()
            numbers[:, : added * hidden] += t.value[:, more + skip : more + skip + added * hidden]
            return constant_buffer(np.stack([padded_gates(one, gates) for one in numbers]))
        source = self._context.request(t)
        target = TensorBuffer.flat(f"{t.name} packed", directions * gates * units, "f32")

        def make(part: Part) -> list[Call]:
            calls = []
            for d in range(directions):
                x = part.inputs[0] + 4 * (d * length + skip)
                y = part.outputs[0] + 4 * d * gates * units
                places = {"x": x, "more": x + 4 * more, "y": y}
                calls.append(Call(PadGates(), {**places, "gates": gates, "hidden": hidden, "added": added}))
            return calls

        self.ops.append(PlainCalls(self._context.isa, (source,), target, "pad_gates", make))
        return target
