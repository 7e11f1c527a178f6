"""Attention: softmax(Q K' scale + bias) V over heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.attention_rule import AttentionRule
from qengine.model.eager.elements import REALS, checked_shape, element_dtype, working_dtype
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.steps import Tensor

Array = NDArray[Any]
Modifier = Callable[[Array], Array]

RAW, CAPPED, BIASED, PROBABILITIES = range(4)
"""Values of qk_matmul_output_mode."""


@dataclass(frozen=True)
class AttentionOptions:
    """The attributes of Attention."""

    is_causal: int = 0
    kv_num_heads: int | None = None
    q_num_heads: int | None = None
    qk_matmul_output_mode: int = RAW
    scale: float | None = None
    softcap: float = 0.0
    softmax_precision: int | None = None


@dataclass(frozen=True)
class _Window:
    """The keys that a query may attend, counted from its own position; -1 for no bound."""

    left_window_size: int = -1
    right_window_size: int = -1


def _types(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,  # noqa: ARG001 - what it may be is checked in the run
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    *_: Tensor | None,
    options: AttentionOptions,
    **__: Any,
) -> tuple[OutputType, ...]:
    empty = [np.broadcast_to(np.zeros((), t.dtype), t.shape) for t in (q, k, v)]  # without memory
    queries, keys, values = _by_heads(empty[0], empty[1], empty[2], options)
    _check_heads(queries, keys, values)
    if (past_key is None) != (past_value is None):
        raise ModelError("past_key and past_value must be given together")
    past = past_key.shape[2] if past_key is not None and past_key.ndim == 4 else 0
    batch, count, positions, _size = queries.shape
    total = past + keys.shape[2]
    y = (batch, positions, count * values.shape[3]) if q.ndim == 3 else (batch, count, positions, values.shape[3])
    present = [((*one.shape[:2], total, one.shape[3]), one.dtype) for one in (keys, values)]
    return (y, q.dtype), *present, ((batch, count, positions, total), q.dtype)


@evaluator("Attention", since=23, outputs=_types, rule=AttentionRule)
def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    *,
    options: AttentionOptions,
) -> tuple[Array, ...]:
    """Attention, with a mask, a causal mask and a cache of keys and values."""
    return _attention((q, k, v), (past_key, past_value), (mask, None), options, _Window(), pads_mask=False)


@evaluator("Attention", since=24, outputs=_types, rule=AttentionRule)
def attention_24(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    options: AttentionOptions,
) -> tuple[Array, ...]:
    """Attention that also takes the number of keys of each sample."""
    return _attention((q, k, v), (past_key, past_value), (mask, nonpad_kv_seqlen), options, _Window())


@evaluator("Attention", since=25, outputs=_types, rule=AttentionRule)
def attention_25(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    options: AttentionOptions,
    window: _Window,
) -> tuple[Array, ...]:
    """Attention whose queries may also be limited to a window of keys."""
    return _attention((q, k, v), (past_key, past_value), (mask, nonpad_kv_seqlen), options, window)


@evaluator("FlexAttention", domain="ai.onnx.preview")
def flex_attention(
    q: Array, k: Array, v: Array, *, scale: float | None = None, softmax_precision: int | None = None
) -> Array:
    """Attention without masks and without graphs that modify it."""
    return attend(q, k, v, scale, softmax_precision)


def attend(
    q: Array,
    k: Array,
    v: Array,
    scale: float | None,
    softmax_precision: int | None,
    score_mod: Modifier | None = None,
    prob_mod: Modifier | None = None,
) -> Array:
    """Return the output of FlexAttention.

    Parameters
    ----------
    q, k, v
        The inputs, (batch, heads, positions, size).
    scale, softmax_precision
        The attributes.
    score_mod, prob_mod
        Functions that change the scores before softmax, and the probabilities after it; None for none.
    """
    if {q.ndim, k.ndim, v.ndim} != {4}:
        raise ModelError(f"Q {list(q.shape)}, K {list(k.shape)} and V {list(v.shape)} must have 4 axes")
    _check_heads(q, k, v)
    precise = working_dtype(q.dtype)
    if softmax_precision is not None:
        precise = element_dtype(softmax_precision, REALS, "softmax_precision")
    scores = _modified(_scores(q, k, _scale(scale, q)).astype(precise), score_mod, "score_mod")
    weights = _modified(_softmax(scores), prob_mod, "prob_mod")
    return _weighted(weights, v, working_dtype(q.dtype, precise)).astype(q.dtype)


def _modified(x: Array, modifier: Modifier | None, name: str) -> Array:
    if modifier is None:
        return x
    y = modifier(x)
    if y.shape != x.shape or y.dtype != x.dtype:
        raise ModelError(
            f"{name} gives {y.dtype} {list(y.shape)}, and must give the type and shape of its input, {x.dtype} "
            f"{list(x.shape)}"
        )
    return y


def _attention(
    inputs: tuple[Array, Array, Array],
    cache: tuple[Array | None, Array | None],
    limits: tuple[Array | None, Array | None],
    options: AttentionOptions,
    window: _Window,
    *,
    pads_mask: bool = True,
) -> tuple[Array, ...]:
    """Return the outputs.

    Parameters
    ----------
    inputs
        Q, K and V.
    cache
        The keys and values before K and V.
    limits
        The mask, and the number of keys of each sample.
    options, window
        The attributes.
    pads_mask
        Whether a mask may have fewer keys, and masks the others; else it only broadcasts.
    """
    q, k, v = _by_heads(*inputs, options)
    mask, lengths = limits
    past_key, past_value = cache
    past = 0
    if (past_key is None) != (past_value is None):
        raise ModelError("past_key and past_value must be given together")
    if past_key is not None and past_value is not None:
        if lengths is not None:
            raise ModelError("nonpad_kv_seqlen must not be given together with past_key and past_value")
        k, v = _appended(past_key, k, "past_key"), _appended(past_value, v, "past_value")
        past = past_key.shape[2]
    _check_heads(q, k, v)
    if lengths is not None and lengths.shape != q.shape[:1]:
        raise ModelError(f"nonpad_kv_seqlen {list(lengths.shape)} must be [{len(q)}], a number for each sample")
    scores = _scores(q, k, _scale(options.scale, q))
    bias = _masked(_bias(mask, q, k.shape[2], pads_mask), past, lengths, bool(options.is_causal), window)
    biased, debug = _with_bias(scores, bias, options)
    if options.softmax_precision is not None:
        biased = biased.astype(element_dtype(options.softmax_precision, REALS, "softmax_precision"))
    weights = _softmax(biased)
    if options.qk_matmul_output_mode == PROBABILITIES:
        debug = weights
    y = _weighted(weights, v, working_dtype(q.dtype)).astype(q.dtype)
    if inputs[0].ndim == 3:
        y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], y.shape[1] * y.shape[3])
    return y, k, v, debug.astype(q.dtype)


def _by_heads(q: Array, k: Array, v: Array, options: AttentionOptions) -> tuple[Array, Array, Array]:
    """Return Q, K and V as (batch, heads, positions, size)."""
    if {q.ndim, k.ndim, v.ndim} == {3}:
        if options.q_num_heads is None or options.kv_num_heads is None:
            raise ModelError("inputs of 3 axes need the attributes q_num_heads and kv_num_heads")
        return (
            split_heads(q, options.q_num_heads, "Q"),
            split_heads(k, options.kv_num_heads, "K"),
            split_heads(v, options.kv_num_heads, "V"),
        )
    if {q.ndim, k.ndim, v.ndim} != {4}:
        raise ModelError(
            f"Q {list(q.shape)}, K {list(k.shape)} and V {list(v.shape)} must all have 3 axes, or all have 4"
        )
    for name, heads, array in (("q_num_heads", options.q_num_heads, q), ("kv_num_heads", options.kv_num_heads, k)):
        if heads is not None and heads != array.shape[1]:
            raise ModelError(f"{name} is {heads}, the input has {array.shape[1]} heads; leave the attribute out")
    return q, k, v


def split_heads(x: Array, heads: int, what: str) -> Array:
    """Return (batch, positions, heads * size) as (batch, heads, positions, size).

    Raises
    ------
    ModelError
        If the last axis cannot be split.
    """
    batch, positions, size = x.shape
    if heads < 1 or size % heads:
        raise ModelError(f"the last axis of {what} {list(x.shape)} does not split into {heads} heads")
    return x.reshape(batch, positions, heads, size // heads).transpose(0, 2, 1, 3)


def _appended(past: Array, new: Array, name: str) -> Array:
    """Return the cache with the new positions."""
    if past.ndim != 4 or past.dtype != new.dtype or past.shape[:2] != new.shape[:2] or past.shape[3] != new.shape[3]:
        raise ModelError(
            f"{name} {list(past.shape)} ({past.dtype}) does not fit the new positions {list(new.shape)} ({new.dtype})"
        )
    return np.concatenate((past, new), axis=2)


def _check_heads(q: Array, k: Array, v: Array) -> None:
    if k.shape[:3] != v.shape[:3] or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise ModelError(f"Q {list(q.shape)}, K {list(k.shape)} and V {list(v.shape)} do not fit, split into heads")
    if q.shape[1] != k.shape[1] and (k.shape[1] == 0 or q.shape[1] % k.shape[1]):
        raise ModelError(f"the {q.shape[1]} heads of Q must be a multiple of the {k.shape[1]} heads of K and V")


def _scale(scale: float | None, q: Array) -> float:
    if scale is not None and not 0 <= scale < np.inf:
        raise ModelError(f"scale {scale} must be 0 or more: Q and K are each multiplied by its square root")
    return 1.0 / sqrt(q.shape[3]) if scale is None and q.shape[3] else 1.0 if scale is None else scale


def _scores(q: Array, k: Array, scale: float) -> Array:
    """Return Q K' scale as (batch, heads, queries, keys)."""
    checked_shape((*q.shape[:3], k.shape[2]), 8, "the product of Q and K")
    wide = working_dtype(q.dtype)
    groups = _grouped(q.astype(wide), k.shape[1])
    product = groups @ np.swapaxes(k.astype(wide), -1, -2)[:, :, None] * wide.type(scale)
    return np.asarray(product.reshape(*q.shape[:3], k.shape[2]))


def _grouped(x: Array, heads: int) -> Array:
    """Return (batch, heads, groups, ...): consecutive query heads share a head of K and V."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads if heads else 0, *x.shape[2:])


def _weighted(weights: Array, v: Array, wide: np.dtype[Any]) -> Array:
    """Return the sums of V over keys, as (batch, heads, queries, size)."""
    checked_shape((*weights.shape[:3], v.shape[3]), 8, "the output")
    y = _grouped(weights.astype(wide), v.shape[1]) @ v.astype(wide)[:, :, None]
    return np.asarray(y.reshape(*weights.shape[:3], v.shape[3]))


def _softmax(x: Array) -> Array:
    """Return softmax over the last axis in the type of x; zeros where every element is -inf."""
    wide = x.astype(working_dtype(x.dtype))
    top = wide.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = np.exp(wide - np.where(np.isneginf(top), wide.dtype.type(0), top))
    total = powers.sum(axis=-1, keepdims=True)
    return np.asarray(powers / np.where(total == 0, wide.dtype.type(1), total)).astype(x.dtype)


def _with_bias(scores: Array, bias: Array, options: AttentionOptions) -> tuple[Array, Array]:
    """Return the scores that softmax gets, and the output of qk_matmul_output_mode 0, 1 or 2."""
    if options.softcap < 0:
        raise ModelError(f"softcap {options.softcap} must be 0 or more")
    if not RAW <= options.qk_matmul_output_mode <= PROBABILITIES:
        raise ModelError(f"qk_matmul_output_mode {options.qk_matmul_output_mode} is not 0, 1, 2 or 3")
    capped = scores
    if options.softcap:
        cap = scores.dtype.type(options.softcap)
        capped = np.tanh(scores / cap) * cap
    # A key that is masked does not take part, also where its score is infinite.
    biased = np.where(np.isneginf(bias), bias, capped + bias)
    return biased, {RAW: scores, CAPPED: capped}.get(options.qk_matmul_output_mode, biased)


def _bias(mask: Array | None, q: Array, keys: int, pads: bool) -> Array:
    """Return an attention mask as numbers to add, in a shape that broadcasts to (batch, heads, queries, keys)."""
    wide = working_dtype(q.dtype)
    if mask is None:
        return np.zeros((1, 1, q.shape[2], keys), wide)
    if mask.ndim > 4:
        raise ModelError(f"attn_mask {list(mask.shape)} has more than 4 axes")
    bias: Array = np.where(mask, wide.type(0), wide.type(-np.inf)) if mask.dtype == bool else mask.astype(wide)
    bias = bias[(None,) * (4 - mask.ndim)]
    if pads and mask.ndim and bias.shape[3] < keys:
        bias = np.pad(bias, [(0, 0)] * 3 + [(0, keys - bias.shape[3])], constant_values=-np.inf)
    wanted = (*q.shape[:3], keys)
    if any(n not in (1, most) for n, most in zip(bias.shape, wanted, strict=True)):
        raise ModelError(f"attn_mask {list(mask.shape)} does not broadcast to {list(wanted)}")
    return np.broadcast_to(bias, (*bias.shape[:2], *wanted[2:]))


def _masked(bias: Array, past: int, lengths: Array | None, is_causal: bool, window: _Window) -> Array:
    """Return the bias with -inf for the keys that a query does not attend."""
    queries, keys = bias.shape[2:]
    key = np.arange(keys)
    first = np.full((1, 1, 1, 1), past, np.int64)  # position of the first query among the keys
    masked = np.zeros((1, 1, 1, 1), bool)
    if lengths is not None:
        if (lengths < 0).any() or (lengths > keys).any():
            raise ModelError(
                f"nonpad_kv_seqlen {lengths.ravel()[:8].tolist()} must hold a number from 0 to {keys} for each sample"
            )
        column = lengths.reshape(-1, 1, 1, 1)
        masked = key >= column
        first = column - queries
    position = first + np.arange(queries)[:, None]
    if is_causal:
        masked = masked | (key > position)
    left, right = window.left_window_size, window.right_window_size
    if min(left, right) < -1:
        raise ModelError(f"left_window_size {left} and right_window_size {right} must be -1 or more")
    if left >= 0:
        masked = masked | (position - key > left)
    if right >= 0:
        masked = masked | (key - position > right)
    return np.where(masked, bias.dtype.type(-np.inf), bias)
