"""Attention on codes: scores, the powers of their distances, and a quotient that is rounded once."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Call, Constant, CTensor, Operation, Parameters, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.rows.powers import power_numbers, power_words
from qengine.kernels.reference.attention_fixed import SCORE_BITS
from qengine.kernels.reference.softmax_fixed import power_table
from qengine.model.eager.attention_rule import AttentionRule
from qengine.model.steps import Evaluated, Tensor

Array = NDArray[Any]

_DISTANCE_BITS = 17
_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)
_EXCLUDED = {_INT32: -(1 << 31), _INT64: -(1 << 62)}
_MOST_BITS = 62


def _is_attention(context: Context) -> bool:
    step = context.step
    return step.kind == "rule" and isinstance(step.evaluation.fixed_rule(context.arithmetic), AttentionRule)


@lowers(Evaluated, _is_attention)
def lower_attention(context: Context) -> Operation:
    """Return an attention."""
    evaluation, y = context.step.evaluation, context.y
    rule = evaluation.fixed_rule(context.arithmetic)
    q, k, v, mask = (*evaluation.inputs, None)[:4]
    node, numbers = evaluation.node, rule.numbers
    heads = {name: int(node.number(f"{name}_num_heads", 1)) for name in ("q", "kv")}
    inputs = [_Operand(context, t, heads[name]) for t, name in ((q, "q"), (k, "kv"), (v, "kv"))]
    of_q, of_k, of_v = inputs
    of_y = _strides(y.shape, y.strides, of_q.heads)
    masks = _Mask(context, mask)
    dot = of_q.size * of_q.largest * of_k.largest
    score = ((dot * numbers.factor) >> numbers.shift) + 1 + masks.largest
    kind = _INT32 if score < 1 << 30 else _INT64
    powers = power_table(SCORE_BITS, _DISTANCE_BITS)[: min(2 * score, 1 << _DISTANCE_BITS) + 1]
    table = context.constant("powers", power_words(powers, SCORE_BITS), f"e^-(d 2^-{SCORE_BITS}) 2^30 for distances d")
    sums = Scratch(_INT64, of_v.size)
    scores = Scratch(kind, of_k.positions, sums.end)
    own = {
        **{"batch": of_q.batch, "heads": of_q.heads, "groups": of_q.heads // of_k.heads, "queries": of_q.positions},
        **{"keys": of_k.positions, "size": of_q.size, "value_size": of_v.size},
        **{"q": of_q.strides, "k": of_k.strides, "v": of_v.strides, "y": of_y, **masks.numbers},
        **{
            "factor": numbers.factor,
            "drop": min(numbers.shift, _MOST_BITS),
            "causal": bool(node.number("is_causal", 0)),
        },
        **{"excluded": _EXCLUDED[kind], "power": power_numbers(powers, SCORE_BITS)},
        **_quotient(context, of_v, of_k.positions),
    }
    types = {"q": of_q.dtype, "k": of_k.dtype, "v": of_v.dtype, "n": masks.dtype, "y": y.dtype}
    types |= {"d": _INT32 if dot < 1 << 31 else _INT64, "e": kind}
    call = Call("attention", types, (*(one.source for one in inputs), masks.source, table, scores, sums, y), own)
    macs = of_q.batch * of_q.heads * of_q.positions * of_k.positions * (of_q.size + of_v.size)
    return context.operation(call, macs=macs, comments=(f"dots are at most {dot}, scores {score}",))


def _quotient(context: Context, v: _Operand, keys: int) -> dict[str, Any]:
    """Return the numbers of the quotient of a sum of values and the sum of their weights."""
    third = context.step.evaluation.inputs[2]
    bits = context.out.fraction_bits - third.fraction_bits
    width = 30 + keys.bit_length()
    value = v.largest.bit_length()
    up, down = max(bits, 0), max(-bits, 0)
    now = min(up, _MOST_BITS - width - value)
    if now < 0 or width + down > _MOST_BITS or value + up > _MOST_BITS - 4:
        raise NotExportable(
            f"its output has {bits} fraction bits beyond those of V, of {keys} keys: more than 64 bits hold; give both "
            "formats whose fraction bits are closer"
        )
    word = context.arithmetic.word(context.out.one_format).unshifted
    return {"up": now, "more": up - now, "down": down, "epilogue": epilogue(word, 2)}


class _Operand:
    """Queries, keys or values, which are computed.

    Attributes
    ----------
    source, dtype, largest : array, its type, and the largest magnitude of its codes.
    batch, heads, positions, size : lengths.
    strides : fields of `struct net_heads`.
    """

    def __init__(self, context: Context, t: Tensor, heads: int) -> None:
        # Constants have no format here, and with one of them the node has no rule.
        self.source = source = context.tensors[t.name]
        self.dtype, self.largest = source.dtype, max(map(abs, source.ends))
        if t.ndim == 3:
            self.batch, self.positions, width = t.shape
            self.heads, self.size = heads, width // heads
        else:
            self.batch, self.heads, self.positions, self.size = t.shape
        self.strides = _strides(t.shape, source.strides, self.heads)


def _strides(shape: tuple[int, ...], strides: tuple[int, ...], heads: int) -> Parameters:
    """Return the fields of `struct net_heads` of four axes, or of three with heads side by side."""
    if len(shape) == 4:
        of_batch, head, position, unit = strides
    else:
        of_batch, position, unit = strides
        head = unit * (shape[2] // heads)
    return {"batch": of_batch, "head": head, "position": position, "unit": unit}


class _Mask:
    """A mask: numbers that are added to scores, and keys that take no part.

    Attributes
    ----------
    source, dtype : array, or None without one, and its type.
    largest : largest magnitude of what is added to a score.
    numbers : fields of `struct net_attention`.
    """

    def __init__(self, context: Context, t: Tensor | None) -> None:
        self.source: CTensor | Constant | None = None
        self.dtype, self.largest = np.dtype(np.int8), 0
        kind, least, drop = 0, None, 0
        strides: tuple[int, ...] = ()
        if t is not None and t.value is None:
            self.source = context.tensors[t.name]
            self.dtype, strides = self.source.dtype, self.source.strides
            kind = 1 if self.dtype.kind == "b" else 2
            if kind == 2:
                drop = max(t.fraction_bits - SCORE_BITS, -40)
                least = t.one_format.word().least or None
                most = max(map(abs, self.source.ends))
                self.largest = (most >> drop) + 1 if drop > 0 else most << -drop
                drop = min(drop, _MOST_BITS)
        elif t is not None:
            kind, strides = 2, _plain(t.shape)
            array, least = self._known(context, t)
            self.source, self.dtype = context.constant("mask", array, f"'{t.name}' times 2^{SCORE_BITS}"), array.dtype
        self.numbers: Mapping[str, Any] = {
            **{"mask": self._places(t, strides), "mask_kind": kind, "mask_excludes": least is not None},
            **{"mask_drop": drop, "mask_least": least or 0},
        }

    def _known(self, context: Context, t: Tensor) -> tuple[Array, int]:
        """Return what a known mask adds to scores, and the number of keys that take no part."""
        added, taken = context.step.evaluation.fixed_rule(context.arithmetic).mask(t.elements)
        added = np.zeros(t.shape, np.int64) if added is None else added
        taken = np.ones(t.shape, bool) if taken is None else taken
        self.largest = int(np.abs(added[taken]).max(initial=0))
        dtype = next(d for d in (np.int8, np.int16, np.int32, np.int64) if self.largest < np.iinfo(d).max)
        least = int(np.iinfo(dtype).min)
        return np.where(taken, added, least).astype(dtype), least

    @staticmethod
    def _places(t: Tensor | None, strides: tuple[int, ...]) -> Parameters:
        found = [0 if n == 1 else stride for n, stride in zip(() if t is None else t.shape, strides, strict=True)]
        return dict(zip(("batch", "head", "position", "unit"), [0] * (4 - len(found)) + found, strict=True))


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
