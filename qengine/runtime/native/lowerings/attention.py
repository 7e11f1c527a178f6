"""Lowering of Attention of float32: two products of matrices with a softmax between them.

Heads need not be moved: in a tensor of three axes the matrix of a head has its rows as far apart as the tensor has
columns, and a product reads and writes it there. The mask is added where the scores are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from qengine.kernels.rows import Softmax
from qengine.model.eager.evaluators.attention import BIASED, CAPPED, PROBABILITIES, RAW
from qengine.model.steps import Evaluated, Tensor
from qengine.model.steps.forms import Curve
from qengine.model.steps.moves import Strided
from qengine.runtime.native.broadcast_op import broadcast_op
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.functions import function_op
from qengine.runtime.native.matrix_product import Added, Stack, product_ops, stack_of
from qengine.runtime.native.op import Op
from qengine.runtime.native.row_op import row_op
from qengine.runtime.native.strided_copies import CopyOp, Piece, copy_view
from qengine.runtime.native.tensor_buffer import TensorBuffer, constant_buffer

_FLOAT = 1  # ONNX's number of float32


@dataclass(frozen=True)
class _Heads:
    """Queries, keys or values.

    Attributes
    ----------
    buffer : buffer.
    view : view of it as (batch, heads, positions, size).
    """

    buffer: TensorBuffer
    view: Strided

    def stack(self, heads: int, *, is_transposed: bool = False) -> Stack:
        """Return the matrices of all heads of queries: consecutive ones share keys and values."""
        batch, own, positions, size = self.view.shape
        strides = self.view.strides
        shared = Strided((batch, own, heads // own, positions, size), (*strides[:2], 0, *strides[2:]), self.view.offset)
        order = (0, 1, 2, 4, 3) if is_transposed else (0, 1, 2, 3, 4)
        found = stack_of(self.buffer, shared.transposed(order), (3, 1))
        assert found is not None  # rows and columns are one axis each
        return found


class _Attention:
    """Lowering of one node.

    Attributes
    ----------
    context : context.
    ops : ops so far.
    """

    def __init__(self, context: PlainContext[Evaluated]) -> None:
        self.context = context
        self.node = context.step.evaluation.node
        self.inputs = [*context.step.evaluation.inputs, *[None] * 7][:7]
        self.ops: list[Op] = []

    def lowered(self) -> Lowered:
        """Return the ops."""
        context, outputs = self.context, [TensorBuffer.plain(t) for t in self.context.outputs]
        mode = int(self.node.number("qk_matmul_output_mode", 0))
        reals = [t for i, t in enumerate(self.inputs) if t is not None and i not in (3, 6)]
        if any(t.dtype != np.float32 for t in reals) or self.inputs[6] is not None:
            raise NotLowered(f"Attention of {reals[0].dtype}, or with a number of keys of each sample")
        if self.node.number("softmax_precision", _FLOAT) != _FLOAT or not RAW <= mode <= PROBABILITIES:
            raise NotLowered("Attention in another precision than float32")
        q, k, v = (self._heads(i) for i in range(3))
        k, v = self._with_past(k, 4, outputs, 1), self._with_past(v, 5, outputs, 2)
        batch, heads, queries, size = q.view.shape
        keys = k.view.shape[2]
        scale = self.node.attributes.get("scale")
        factor: Any = (1.0 / sqrt(size) if size else 1.0) if scale is None else scale
        if not 0 <= factor < np.inf:
            raise NotLowered(f"scale {factor}")
        shape = batch, heads, queries, keys
        debug = outputs[3] if len(outputs) > 3 else None
        factors = q.stack(heads), k.stack(heads, is_transposed=True)
        scores = self._scores(factors, shape, size, float(factor), (mode, debug))
        weights = self._between("weights", shape)
        if debug is not None and mode == PROBABILITIES:
            weights = debug
        extent = (batch * heads * queries, keys, 1)
        spec = Softmax(strided=False, gives_zeros=True)
        self.ops.append(row_op(context.isa, spec, scores, weights, extent, element_cycles=2.0))
        rows = _Heads(weights, Strided.whole(shape)).stack(heads)
        y = outputs[0]
        target = self._view(context.outputs[0], heads)
        out = _Heads(y, target).stack(heads)
        self.ops += product_ops(context.isa, rows, v.stack(heads), out, (queries, keys, v.view.shape[3]))
        return Lowered(tuple(self.ops), tuple(outputs))

    def _between(self, name: str, shape: tuple[int, ...]) -> TensorBuffer:
        return TensorBuffer.flat(f"{self.context.out.name} ({name})", prod(shape), "f32")

    def _view(self, t: Tensor, heads: int) -> Strided:
        """Return a tensor of three or four axes as (batch, heads, positions, size)."""
        if t.ndim == 4:
            return Strided.whole(t.shape)
        batch, positions, width = t.shape
        return Strided.whole((batch, positions, heads, width // heads)).transposed((0, 2, 1, 3))

    def _heads(self, index: int) -> _Heads:
        t = self.inputs[index]
        assert t is not None
        heads = self.node.number("q_num_heads" if index == 0 else "kv_num_heads", 0)
        return _Heads(self.context.request(t), self._view(t, int(heads)))

    def _with_past(self, new: _Heads, index: int, outputs: list[TensorBuffer], place: int) -> _Heads:
        """Return keys or values with those of the cache before them, in the output that has them if there is one."""
        context, past = self.context, self.inputs[index]
        asked = len(outputs) > place and bool(context.outputs[place].name)
        if past is None and not asked:
            return new
        batch, heads, positions, size = new.view.shape
        if past is None:
            whole = Strided.whole(new.view.shape)
            self.ops.append(copy_view(context.isa, new.buffer, new.view, outputs[place]))
            return _Heads(outputs[place], whole)
        before = past.shape[2] if past.ndim == 4 else 0
        shape = batch, heads, before + positions, size
        if past.shape != (batch, heads, before, size):
            raise NotLowered(f"'{past.name}' {list(past.shape)} before {list(new.view.shape)}")
        whole = Strided.whole(shape)
        target = outputs[place] if asked else self._between(f"{index}", shape)
        parts = [whole.cut((*[slice(None)] * 2, s, slice(None))) for s in (slice(0, before), slice(before, None))]
        pieces = Piece(0, Strided.whole(past.shape), parts[0]), Piece(1, new.view, parts[1])
        self.ops.append(CopyOp(context.isa, (context.request(past), new.buffer), target, pieces))
        return _Heads(target, whole)

    def _scores(
        self,
        factors: tuple[Stack, Stack],
        shape: tuple[int, int, int, int],
        inner: int,
        factor: float,
        debug: tuple[int, TensorBuffer | None],
    ) -> TensorBuffer:
        """Return Q K' factor, capped, with the mask added.

        Parameters
        ----------
        factors, shape, inner, factor
            Queries and keys, shape of the scores, size of a head, and the factor.
        debug
            Mode of the last output, and its buffer.
        """
        mode, asked = debug
        size, isa = (shape[2], inner, shape[3]), self.context.isa
        softcap = float(self.node.number("softcap", 0.0))
        if softcap < 0:
            raise NotLowered(f"softcap {softcap}")
        added = self._mask(shape)
        scores = asked if asked is not None and mode == BIASED else self._between("scores", shape)
        if asked is not None and (mode == RAW or (mode == CAPPED and not softcap)):
            self.ops += product_ops(isa, *factors, asked, size, factor=factor)
        if not softcap:
            addend = None if added is None else added[0]
            self.ops += product_ops(isa, *factors, scores, size, factor=factor, added=addend)
            return scores
        capped = asked if asked is not None and mode == CAPPED else self._between("capped scores", shape)
        if added is None and mode == BIASED and asked is not None:
            capped = asked
        quotients, bounded = self._between("quotients", shape), self._between("bounded quotients", shape)
        self.ops += product_ops(isa, *factors, quotients, size, factor=factor / softcap)
        self.ops.append(function_op(isa, Curve("tanh", np.tanh), quotients, bounded, prod(shape)))
        cap = constant_buffer(np.array([softcap], np.float32), "cap")
        self.ops.append(broadcast_op(isa, "multiply", [(bounded, shape), (cap, (1,))], capped, shape))
        if added is None:
            return capped
        self._append_mask(capped, added[1:], scores, shape)
        return scores

    def _append_mask(
        self,
        x: TensorBuffer,
        mask: tuple[TensorBuffer, tuple[int, ...]],
        out: TensorBuffer,
        shape: tuple[int, ...],
    ) -> None:
        """Add x + mask; where the mask is -infinity the result is, also for NaN."""
        isa, total = self.context.isa, self._between("sums", shape)
        is_masked = TensorBuffer.flat(f"{out.name} (masked)", prod(mask[1]), "b8")
        lowest = constant_buffer(np.array([-np.inf], np.float32), "lowest")
        self.ops += [
            broadcast_op(isa, "add", [(x, shape), mask], total, shape),
            broadcast_op(isa, "equal", [mask, (lowest, (1,))], is_masked, mask[1]),
        ]
        types = ("b8", "i32", "i32", "i32")
        chosen = [(is_masked, mask[1]), mask, (total, shape)]
        self.ops.append(broadcast_op(isa, "where", chosen, out, shape, types=types))

    def _mask(self, shape: tuple[int, int, int, int]) -> tuple[Added, TensorBuffer, tuple[int, ...]] | None:
        """Return what is added to the scores, its buffer and shape; None for nothing."""
        context, mask = self.context, self.inputs[3]
        limit = self._limit(shape)
        if mask is None:
            if limit is None:
                return None
            buffer = constant_buffer(limit, "limit")
            return Added(buffer, shape[3], masks=True), buffer, limit.shape
        pads = self.node.version >= 24 and mask.ndim > 0 and mask.shape[-1] < shape[3]
        if mask.ndim > 4 or (mask.ndim and mask.shape[-1] not in (1, shape[3]) and not pads):
            raise NotLowered(f"a mask {list(mask.shape)} for scores {list(shape)}")
        wanted = (*(1,) * (4 - mask.ndim), *mask.shape)
        buffer = context.request(mask)
        if buffer.stored not in ("f32", "b8"):
            raise NotLowered(f"a mask of {mask.dtype}")
        full = (wanted[0], wanted[1], shape[2] if limit is not None else wanted[2], shape[3])
        if buffer.stored == "b8":
            numbers = [(constant_buffer(np.array([n], np.float32), str(n)), (1,)) for n in (0.0, -np.inf)]
            real = self._between("mask", wanted)
            types = ("b8", "i32", "i32", "i32")
            op = broadcast_op(context.isa, "where", [(buffer, wanted), *numbers], real, wanted, types=types)
            self.ops.append(op)
            buffer = real
        if pads:
            buffer, wanted = self._padded_mask(buffer, wanted, shape[3])
        if limit is not None or full != wanted:
            other = np.zeros((1, shape[3]), np.float32) if limit is None else limit
            operands = [(buffer, wanted), (constant_buffer(other, "limit"), other.shape)]
            whole = self._between("whole mask", full)
            self.ops.append(broadcast_op(context.isa, "add", operands, whole, full))
            buffer = whole
        view = Strided.whole(full).broadcast(shape)
        stack = stack_of(buffer, view, (2, 1))
        assert stack is not None
        return Added(buffer, stack.row, offsets=stack.offsets, masks=True), buffer, full

    def _padded_mask(
        self, mask: TensorBuffer, shape: tuple[int, ...], keys: int
    ) -> tuple[TensorBuffer, tuple[int, ...]]:
        """Return a mask that leaves out the keys that it does not reach, and its shape."""
        whole = Strided.whole((*shape[:3], keys))
        inner, outer = (whole.cut((*[slice(None)] * 3, s)) for s in (slice(0, shape[3]), slice(shape[3], None)))
        lowest = constant_buffer(np.array([-np.inf], np.float32), "lowest")
        pieces = Piece(0, Strided.whole(shape), inner), Piece(1, Strided(outer.shape, (0,) * 4), outer)
        target = self._between("padded mask", whole.shape)
        self.ops.append(CopyOp(self.context.isa, (mask, lowest), target, pieces))
        return target, whole.shape

    def _limit(self, shape: tuple[int, int, int, int]) -> np.ndarray[Any, Any] | None:
        """Return what is added for a causal mask or a window, (queries, keys); None without either."""
        node, past = self.node, self.inputs[4]
        first = past.shape[2] if past is not None else 0
        position, key = first + np.arange(shape[2])[:, None], np.arange(shape[3])
        left, right = (int(node.number(f"{side}_window_size", -1)) for side in ("left", "right"))
        if min(left, right) < -1:
            raise NotLowered(f"windows {left} and {right}")
        masked = np.zeros((shape[2], shape[3]), bool)
        if node.number("is_causal", 0):
            masked |= key > position
        if left >= 0:
            masked |= position - key > left
        if right >= 0:
            masked |= key - position > right
        return np.where(masked, np.float32(-np.inf), np.float32(0)) if masked.any() else None


@lowers_plain(Evaluated, "Attention")
def lower_attention(context: PlainContext[Evaluated]) -> Lowered:
    """Lower Attention of real numbers with masks, a cache, and heads that share keys and values."""
    if not context.is_float:
        raise NotLowered("an Attention of codes")
    return _Attention(context).lowered()
