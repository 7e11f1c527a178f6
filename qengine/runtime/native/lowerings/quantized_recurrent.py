"""Lowering of DynamicQuantizeLSTM: all steps of time are calls of kernels that other operators have, too.

The part of the gates that comes from x is one product of integers, for all steps. A step then finds the range of the
states h of all sequences, quantizes them, multiplies them by R, and applies the gates. Sequences depend on each other
by that range, so that threads share only the directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES, Sums
from qengine.kernels.integer_product import StartReals
from qengine.kernels.program import Call
from qengine.kernels.quantization import Quantize, Range, RangeScale
from qengine.kernels.recurrent import PadGates, Recurrence, padded_gates, padded_units, scratch_bytes
from qengine.model.eager.evaluator import find_evaluator
from qengine.model.eager.recurrent_sizes import RecurrentOptions
from qengine.model.steps import Evaluated, Tensor
from qengine.runtime.native.byte_weights import TAP, ByteWeights, packed_rows
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.quantize import CHUNK, dynamic_ops
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainCalls
from qengine.runtime.native.recurrent_weights import gate_functions
from qengine.runtime.native.row_product import Places, RowProduct
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, constant_buffer

_GATES = 4
_MOST_ROWS = 4  # sequences of which the gates are computed at once
_NAMES = (
    *("x", "w", "r", "b", "sequence_lens", "initial_h", "initial_c", "p"),
    *("w_scale", "w_zero_point", "r_scale", "r_zero_point"),
)


@lowers_plain(Evaluated, "DynamicQuantizeLSTM")
def lower_dynamic_quantize_lstm(context: PlainContext[Evaluated]) -> Lowered:
    """Lower DynamicQuantizeLSTM with constant weights, of sequences of one length."""
    inputs = dict(zip(_NAMES, context.step.evaluation.inputs, strict=True))
    if inputs["sequence_lens"] is not None:
        raise NotLowered("DynamicQuantizeLSTM with sequence_lens")
    lowering = _QuantizedLstm(context, inputs)
    outputs = tuple(TensorBuffer.plain(t) for t in context.outputs)
    return Lowered((*lowering.input_ops(), lowering.steps_op(outputs)), outputs)


@dataclass(frozen=True)
class _Product:
    """Weights of one of the two products, and the numbers of their columns.

    Attributes
    ----------
    weights : packed weights of each direction; the columns are gates of whole blocks.
    factors, addends : scale of each column, and the number that is added to it, of each direction.
    """

    weights: ByteWeights
    factors: TensorBuffer
    addends: TensorBuffer


class _QuantizedLstm:
    """The ops of a node."""

    def __init__(self, context: PlainContext[Evaluated], inputs: dict[str, Tensor | None]) -> None:
        node = context.step.evaluation.node
        evaluator = find_evaluator(node)
        assert evaluator is not None
        keywords = evaluator.keywords(node)
        self.context, self.isa, self.inputs = context, context.isa, inputs
        self.options: RecurrentOptions = keywords["options"]
        self.is_coupled = bool(keywords.get("input_forget", 0))
        x, r = inputs["x"], inputs["r"]
        assert x is not None
        assert r is not None
        self.time, self.batch, self.size = x.shape
        self.directions, self.hidden = r.shape[:2]
        self.units = padded_units(self.hidden)
        self.columns = _GATES * self.units
        self.gate_bytes = 4 * self.columns
        bias = np.zeros((self.directions, 2, _GATES * self.hidden), np.float32)
        if inputs["b"] is not None:
            bias += self._known("b").reshape(bias.shape)
        self.of_x = self._product("w", bias.sum(1, dtype=np.float32), -(-self.size // TAP) * TAP)
        self.of_h = self._product("r", np.zeros_like(bias[:, 0]), self.units)
        p = np.zeros((self.directions, 3 * self.hidden), np.float32) if inputs["p"] is None else self._known("p")
        self.peepholes = constant_buffer(np.stack([padded_gates(one, 3) for one in p]))
        self.rows = TensorBuffer.flat("gates", self.directions * self.time * self.batch * self.columns, "f32")

    def _known(self, name: str) -> NDArray[np.float32]:
        tensor = self.inputs[name]
        if tensor is None or tensor.value is None:
            raise NotLowered(f"{name} of a DynamicQuantizeLSTM that is computed during the run")
        return tensor.value

    def _product(self, name: str, addends: NDArray[np.float32], length: int) -> _Product:
        """Return packed weights of rows of some bytes."""
        stored = self._known(name).astype(np.int32)
        n, items, columns = stored.shape

        def spread(parameter: str) -> NDArray[np.float32]:
            return np.broadcast_to(self._known(parameter).reshape(n, -1), (n, columns))

        centred = np.zeros((n, length, _GATES, self.units), np.int32)
        zero = spread(f"{name}_zero_point").astype(np.int32)[:, None]
        centred[:, :items, :, : self.hidden] = (stored - zero).reshape(n, items, _GATES, self.hidden)
        factors, added = (
            constant_buffer(np.stack([padded_gates(one, _GATES) for one in numbers]))
            for numbers in (spread(f"{name}_scale"), addends)
        )
        return _Product(ByteWeights.of(centred.reshape(n, length, self.columns), self.isa), factors, added)

    def _row_product(self, product: _Product) -> RowProduct:
        offsets = product.weights.offsets
        return RowProduct(self.isa, "s8", int(offsets.ctypes.data), len(offsets), self.columns, Sums(real=True))

    @property
    def _number_bytes(self) -> int:
        return self.columns // LANES * Sums(real=True).number_bytes

    def _start(self, inputs: tuple[Address, ...], d: int, y: Address) -> Call:
        """Return the call that makes the numbers of the columns, from (scale, zero, sums, factors, addends)."""
        scale, zero, sums, factors, addends = inputs
        more = d * self.gate_bytes
        places = {"sums": sums + more, "factors": factors + more, "addends": addends + more}
        return Call(StartReals(), {"scale": scale, "zero": zero, **places, "y": y, "vectors": self.columns // LANES})

    def input_ops(self) -> tuple[Op, ...]:
        """Return the ops of the part of the gates that comes from x."""
        tensor = self.inputs["x"]
        assert tensor is not None
        x, product, rows = self.context.request(tensor), self._row_product(self.of_x), self.time * self.batch
        length = -(-self.size // TAP) * TAP
        codes = TensorBuffer.flat(f"codes of {x.name}", rows * self.size, "u8")
        scale, zero = (TensorBuffer.flat(f"{what} of {x.name}", 1, t) for what, t in (("scale", "f32"), ("zero", "u8")))
        numbers = TensorBuffer.flat("numbers", self.directions * self._number_bytes // 4, "f32")
        ignored = constant_buffer(np.zeros(1, np.int64))
        assert ignored.elements is not None
        quantize = dynamic_ops(self.isa, x, (codes, scale, zero), int(ignored.elements.ctypes.data))
        quantize[0].address_of(ignored.elements)
        ops: list[Op] = [*quantize]
        if self.size % TAP:
            codes, packing = packed_rows(self.isa, codes, (rows, self.size), is_signed=False)
            ops.append(packing)
        weights = self.of_x.weights

        def start(part: Part) -> list[Call]:
            y = part.outputs[0]
            return [self._start(part.inputs, d, y + d * self._number_bytes) for d in range(self.directions)]

        grid = product.grid(rows, self.directions)

        def multiply(part: Part) -> list[Call]:
            source, w, n = part.inputs
            places = Places(source, length, w, n, part.outputs[0], self.gate_bytes)
            return product.grid_calls(grid, places, self._number_bytes, part.first, part.end)

        inputs = (scale, zero, weights.sums, self.of_x.factors, self.of_x.addends)
        ops.append(PlainCalls(self.isa, inputs, numbers, "start_reals", start))
        work = product.cycles * rows * self.directions
        ops.append(PlainCalls(self.isa, (codes, weights.packed, numbers), self.rows, "dot", multiply, grid.parts, work))
        ops[-1].address_of(weights.offsets)
        return tuple(ops)

    def steps_op(self, outputs: tuple[TensorBuffer, ...]) -> Op:
        """Return the op of the steps of time: parts are directions."""
        states = [
            None if (t := self.inputs[n]) is None else self.context.request(t) for n in ("initial_h", "initial_c")
        ]
        nothing = constant_buffer(np.zeros(self.batch * self.hidden, np.float32))
        weights = self.of_h.weights
        inputs = (
            *(self.rows, weights.packed, weights.sums, self.of_h.factors, self.of_h.addends, self.peepholes),
            *(nothing if state is None else state for state in states),
        )
        gates = self._gates()
        room = _Room.of(self.batch * self.units, self._number_bytes, self.batch * self.gate_bytes)
        size = room.size + scratch_bytes(self.hidden, gates[0][0].rows)

        def make(part: Part) -> list[Call]:
            return [call for d in range(part.first, part.end) for call in self._direction(d, part, room, gates[d])]

        work = self.directions * self.time * self.batch * self.columns * (self.units / 64 + 8.0)
        op = PlainCalls(self.isa, inputs, outputs[0], "lstm", make, self.directions, work, outputs[1:], scratch=size)
        op.address_of(weights.offsets)
        for _, numbers in gates:
            op.address_of(numbers)
        return op

    def _gates(self) -> list[tuple[Recurrence, NDArray[np.float32]]]:
        """Return the kernel of a step, and the numbers of its functions, for each direction."""
        tiles = -(-self.batch // _MOST_ROWS)
        gates = []
        for functions in gate_functions(self.options, "lstm"):
            spec = Recurrence(
                "lstm",
                -(-self.batch // tiles),
                functions.names,
                clips=self.options.bound is not None,
                peepholes=self.inputs["p"] is not None,
                coupled=self.is_coupled,
                has_products=True,
            )
            gates.append((spec, functions.numbers))
        return gates

    def _direction(self, d: int, part: Part, room: _Room, gates: tuple[Recurrence, NDArray[np.float32]]) -> list[Call]:
        """Return the calls of all steps of a direction."""
        x, w, sums, factors, addends, peepholes, first_h, first_c = part.inputs
        at, product = room.at(part.scratch), self._row_product(self.of_h)
        spec, numbers = gates
        state = self.batch * self.hidden * 4
        calls = [
            Call(PadGates(), {"x": first + d * state, "more": first, "y": y, **self._padding})
            for first, places in ((first_h, at.h), (first_c, at.c))
            for y in places
        ]
        size, chunks = self.batch * self.units, -(-self.batch * self.units // CHUNK)
        last: list[Address] = [*part.outputs[1:], 0, 0]
        y = part.outputs[0]
        names = [*(t.name for t in self.context.outputs), "", ""]
        for step in range(self.time):
            t = self.time - 1 - step if self.options.is_reverse(d) else step
            (h, c), (new_h, new_c) = ((at.h[i], at.c[i]) for i in (step % 2, 1 - step % 2))
            span = {"first": 0, "end": chunks, "chunk": CHUNK, "size": size, "fault": at.fault}
            calls.append(Call(Range(), {"x": h, "y": at.ranges, **span}))
            calls.append(Call(RangeScale(), {"ranges": at.ranges, "count": chunks, "scale": at.scale, "zero": at.zero}))
            row = {"first": 0, "end": 1, "inner": size, "count": 1}
            calls.append(Call(Quantize("u8"), {"x": h, "y": at.codes, "scale": at.scale, "zero": at.zero, **row}))
            calls.append(self._start((at.scale, at.zero, sums, factors, addends), d, at.numbers))
            packed = w + d * product.vectors * product.vector_bytes
            places = Places(at.codes, self.units, packed, at.numbers, at.products, self.gate_bytes)
            calls += product.calls(places, self.batch)
            is_last, row_bytes = step == self.time - 1, 4 * self.units
            targets: list[tuple[Address, int]] = [(new_h, row_bytes), (new_c, row_bytes)]
            if is_last:
                targets = [
                    (address + d * state, 4 * self.hidden) if name else target
                    for address, name, target in zip(last[:2], names[1:3], targets, strict=True)
                ]
            place = (t * self.directions + d) * state
            calls.append(
                Call(
                    spec,
                    {
                        **{"x": x + (d * self.time + t) * self.batch * self.gate_bytes, "x_step": 0},
                        **{"x_row": self.gate_bytes, "r": at.products, "own_bias": 0},
                        **{"peephole": peepholes + d * 3 * row_bytes, "numbers": int(numbers.ctypes.data)},
                        **{"lengths": 0, "fault": 0, "h": h, "h_row": row_bytes, "c": c, "c_row": row_bytes},
                        **({"y": y + place, "y_row": 4 * self.hidden} if names[0] else {"y": at.unread, "y_row": 0}),
                        **{"y_step": 0, "last_h": targets[0][0], "last_h_row": targets[0][1]},
                        **{"last_c": targets[1][0], "last_c_row": targets[1][1], "time": 1, "batch": self.batch},
                        **{"hidden": self.hidden, "blocks": self.units // LANES, "reverse": 0, "first": 0},
                        **{"end": -(-self.batch // spec.rows), "scratch": at.rest},
                    },
                )
            )
        return calls

    @property
    def _padding(self) -> dict[str, int]:
        return {"gates": self.batch, "hidden": self.hidden, "added": 0}


@dataclass(frozen=True)
class _Room:
    """Addresses in the memory of a thread, or distances from its begin.

    Attributes
    ----------
    h, c : states before and after a step, in turns.
    ranges, scale, zero, fault : range of h, and what follows from it.
    codes, numbers, products : codes of h, numbers of the columns, products of h.
    unread : an output that nobody reads.
    rest : memory of the kernel of a step.
    """

    h: tuple[int, int]
    c: tuple[int, int]
    ranges: int
    scale: int
    zero: int
    fault: int
    codes: int
    numbers: int
    products: int
    unread: int
    rest: int

    @classmethod
    def of(cls, state: int, numbers: int, products: int) -> _Room:
        """Return distances, for a number of elements of a state, and for bytes of numbers and of products."""
        sizes = [4 * state] * 4 + [8 * (-(-state // CHUNK)), 8, 8, 8, state, numbers, products, 4 * state]
        begins = [0]
        for size in sizes:
            begins.append(begins[-1] + -(-size // 64) * 64)
        return cls((begins[0], begins[1]), (begins[2], begins[3]), *begins[4:])

    @property
    def size(self) -> int:
        """The bytes before the rest."""
        return self.rest

    def at(self, base: int) -> _Room:
        """Return addresses from a base on."""
        (h, other_h), (c, other_c) = self.h, self.c
        more = (self.ranges, self.scale, self.zero, self.fault, self.codes, self.numbers, self.products)
        return _Room(
            (base + h, base + other_h),
            (base + c, base + other_c),
            *(base + n for n in (*more, self.unread, self.rest)),
        )
