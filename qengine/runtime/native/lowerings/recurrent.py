"""Lowering of LSTM, GRU and RNN: a matrix product for all steps of time, then the steps; see `kernels.recurrent`."""

from __future__ import annotations

import numpy as np

from qengine.kernels.epilogue import LANES
from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.kernels.recurrent import GATES, Cell, Recurrence, scratch_bytes
from qengine.model.eager.evaluator import find_evaluator
from qengine.model.eager.recurrent_sizes import LENGTH_MESSAGE, RecurrentOptions, RecurrentSizes
from qengine.model.steps import Evaluated, Tensor
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.recurrent_codes import lower_codes
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainCalls
from qengine.runtime.native.recurrent_weights import RecurrentNode, RecurrentWeights, gate_functions
from qengine.runtime.native.row_product import Places, RowProduct, tap_offsets
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer

_INPUTS = 8  # of an LSTM: X, W, R, B, sequence_lens, initial_h, initial_c, P


@lowers_plain(Evaluated, "LSTM")
def lower_lstm(context: PlainContext[Evaluated]) -> Lowered:
    """Lower an LSTM."""
    return _lower(context, "lstm")


@lowers_plain(Evaluated, "GRU")
def lower_gru(context: PlainContext[Evaluated]) -> Lowered:
    """Lower a GRU."""
    return _lower(context, "gru")


@lowers_plain(Evaluated, "RNN")
def lower_rnn(context: PlainContext[Evaluated]) -> Lowered:
    """Lower an RNN."""
    return _lower(context, "rnn")


def _lower(context: PlainContext[Evaluated], cell: Cell) -> Lowered:
    evaluation = context.step.evaluation
    if not context.is_float:
        return lower_codes(context)
    evaluator = find_evaluator(evaluation.node)
    assert evaluator is not None
    keywords = evaluator.keywords(evaluation.node)
    options: RecurrentOptions = keywords.pop("options")
    inputs: list[Tensor | None] = [*evaluation.inputs, *[None] * (_INPUTS - len(evaluation.inputs))]
    x, w, r, b, lengths, h, c, p = inputs
    assert x is not None
    assert w is not None
    assert r is not None
    if len(context.outputs) > 2 + (cell == "lstm"):
        raise NotLowered(f"the gates of {evaluation.node.operator}")
    if x.dtype != np.float32:
        raise NotLowered(f"{evaluation.node.operator} of {x.dtype}")
    node = RecurrentNode(cell, options, keywords, RecurrentSizes.of(GATES[cell], options, (x, w, r), b, []))
    weights = RecurrentWeights(context, node, w, r, b, p)
    product = TensorBuffer.flat(f"gates of {context.out.name}", weights.rows * node.gate_bytes // 4, "f32")
    outputs = tuple(TensorBuffer.plain(t) for t in context.outputs)
    first = _InputProduct(node, weights, context.isa)
    given = _Given(context, lengths, h, c)
    ops: tuple[Op, ...] = (
        *weights.ops,
        first.op(context.request(x), product),
        _recurrence(context, node, weights, given, product, outputs),
    )
    return Lowered(ops, outputs)


class _InputProduct:
    """The part of the gates that comes from x, for all steps of time."""

    def __init__(self, node: RecurrentNode, weights: RecurrentWeights, isa: Isa) -> None:
        self._node, self._weights, self._isa = node, weights, isa

    def op(self, x: TensorBuffer, out: TensorBuffer) -> Op:
        """Return the op: parts are some rows of a direction."""
        node, sizes, weights = self._node, self._node.sizes, self._weights
        rows, offsets = sizes.time * sizes.batch, tap_offsets(sizes.size)
        columns = node.gates * node.units
        product = RowProduct(self._isa, "f32", int(offsets.ctypes.data), sizes.size, columns)
        grid = product.grid(rows, sizes.directions)

        def make(part: Part) -> list[Call]:
            x_place, w, bias = part.inputs
            places = Places(x_place, 4 * sizes.size, w, bias, part.outputs[0], node.gate_bytes)
            return product.grid_calls(grid, places, 4 * columns, part.first, part.end)

        work = product.cycles * rows * sizes.directions
        op = PlainCalls(self._isa, (x, weights.w, weights.bias), out, "dot", make, grid.parts, work)
        op.address_of(offsets)
        return op


class _Given:
    """Optional inputs of a run: lengths and first states.

    Attributes
    ----------
    buffers : buffers of those that are given, in order.
    """

    def __init__(self, context: PlainContext[Evaluated], *tensors: Tensor | None) -> None:
        self.places = [None if t is None else i for i, t in enumerate(tensors)]
        given = [t for t in tensors if t is not None]
        self.buffers = tuple(context.request(t) for t in given)
        if tensors[0] is not None and self.buffers[0].stored != "i32":
            raise NotLowered(f"sequence_lens of {tensors[0].dtype}")
        self._order = [None if t is None else given.index(t) for t in tensors]

    def address(self, index: int, inputs: tuple[Address, ...]) -> Address | None:
        """Return the address of an input of a call; None where it is left out."""
        place = self._order[index]
        return None if place is None else inputs[place]


def _tile_rows(node: RecurrentNode, isa: Isa) -> int:
    """Return the number of sequences of a tile, whose sums fit the registers: nearly equal tiles."""
    batch, most = node.sizes.batch, min(24 // node.gates, 8) if isa.has_vnni else 1
    return -(-batch // -(-batch // most))


def _recurrence(
    context: PlainContext[Evaluated],
    node: RecurrentNode,
    weights: RecurrentWeights,
    given: _Given,
    product: TensorBuffer,
    outputs: tuple[TensorBuffer, ...],
) -> Op:
    """Return the op of the steps of time: parts are tiles of rows of a direction."""
    options, sizes = node.options, node.sizes
    rows = _tile_rows(node, context.isa)
    tiles = -(-sizes.batch // rows)
    functions = gate_functions(options, node.cell)
    is_lstm, ragged = node.cell == "lstm", given.places[0] is not None
    fault: Address = 0
    if ragged:
        fault = context.fault(LENGTH_MESSAGE.format("{}", sizes.time))
    strides = _Strides(node)
    spare = scratch_bytes(sizes.hidden, rows)
    names = [t.name for t in context.outputs]
    specs = [
        Recurrence(
            node.cell,
            rows,
            one.names,
            clips=options.bound is not None,
            peepholes=weights.has_peephole,
            coupled=bool(node.keywords.get("input_forget", 0)),
            resets_after=node.resets_after,
            ragged=ragged,
        )
        for one in functions
    ]
    nothing = np.zeros(node.units, np.float32)

    def arguments(d: int, first: int, end: int, part: Part) -> dict[str, Address]:
        x, r, own_bias, peephole, *others = part.inputs
        h, c = (given.address(i, tuple(others)) for i in (1, 2))
        unread = part.scratch + spare - 4 * node.units
        places = [
            (out + d * strides.y_direction, strides.y_step, strides.y_row)
            if i == 0
            else (out + d * strides.state_direction, 0, strides.state_row)
            for i, out in enumerate(part.outputs)
        ]
        places = [place if name else (unread, 0, 0) for place, name in zip(places, names, strict=True)]
        places += [(unread, 0, 0)] * (3 - len(places))
        zero = int(nothing.ctypes.data)
        return {
            "x": x + d * sizes.time * sizes.batch * node.gate_bytes,
            "x_step": strides.x_step,
            "x_row": strides.x_row,
            "r": r + d * node.gate_bytes * node.units,
            "own_bias": own_bias + (d * 4 * node.units if node.resets_after else 0),
            "peephole": peephole + d * (3 if weights.has_peephole else 0) * 4 * node.units,
            "numbers": int(functions[d].numbers.ctypes.data),
            "lengths": (given.address(0, tuple(others)) or 0) if ragged else 0,
            "fault": fault,
            "h": zero if h is None else h + d * strides.state_direction,
            "h_row": 0 if h is None else strides.state_row,
            "c": zero if c is None else c + d * strides.state_direction,
            "c_row": 0 if c is None else strides.state_row,
            **dict(zip(("y", "y_step", "y_row"), places[0], strict=True)),
            **{"last_h": places[1][0], "last_h_row": places[1][2]},
            **{"last_c": places[2][0], "last_c_row": places[2][2]},
            **{"time": sizes.time, "batch": sizes.batch, "hidden": sizes.hidden, "blocks": node.units // LANES},
            **{"reverse": int(options.is_reverse(d)), "first": first, "end": end, "scratch": part.scratch},
        }

    def make(part: Part) -> list[Call]:
        calls = []
        for d in range(sizes.directions):
            first, end = (min(max(n - d * tiles, 0), tiles) for n in (part.first, part.end))
            if first < end:
                calls.append(Call(specs[d], arguments(d, first, end, part)))
        return calls

    inputs = (product, weights.r, weights.own_bias, weights.peephole, *given.buffers)
    work = sizes.directions * sizes.time * sizes.batch * node.gates * node.units * (node.units / 16 + 20.0 * is_lstm)
    op = PlainCalls(
        context.isa,
        inputs,
        outputs[0],
        node.cell,
        make,
        tiles * sizes.directions,
        work,
        outputs[1:],
        scratch=spare,
    )
    for array in (*(one.numbers for one in functions), nothing):
        op.address_of(array)
    return op


class _Strides:
    """Distances in bytes between steps, rows and directions, which depend on the attribute layout."""

    def __init__(self, node: RecurrentNode) -> None:
        sizes, state = node.sizes, 4 * node.sizes.hidden
        if node.options.layout:
            self.x_step, self.x_row = node.gate_bytes, sizes.time * node.gate_bytes
            self.y_step, self.y_direction = sizes.directions * state, state
            self.y_row = sizes.time * self.y_step
            self.state_row, self.state_direction = sizes.directions * state, state
        else:
            self.x_step, self.x_row = sizes.batch * node.gate_bytes, node.gate_bytes
            self.y_direction, self.y_row = sizes.batch * state, state
            self.y_step = sizes.directions * self.y_direction
            self.state_row, self.state_direction = state, sizes.batch * state
