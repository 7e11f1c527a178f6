"""Attention: softmax(Q K' scale + bias) V over heads."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.evaluator import evaluator
from qengine.model.eager.numbers import REALS, check_size, element_dtype, working_dtype
from qengine.model.graph import Node

Array = NDArray[Any]

_RAW, _CAPPED, _BIASED, _PROBABILITIES = range(4)
"""Values of qk_matmul_output_mode."""


@dataclass(frozen=True)
class _Options:
    """The attributes of Attention."""

    is_causal: int
    kv_num_heads: int | None
    q_num_heads: int | None
    qk_matmul_output_mode: int
    scale: float | None
    softcap: float
    softmax_precision: int | None
    left_window_size: int = -1
    right_window_size: int = -1


@evaluator("Attention", since=23)
def attention(
    *inputs: Array | None,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    node: Node,
) -> tuple[Array, ...]:
    """Attention, with a mask, a causal mask and a cache of keys and values."""
    options = _Options(is_causal, kv_num_heads, q_num_heads, qk_matmul_output_mode, scale, softcap, softmax_precision)
    return _attention(_padded(inputs, 6 if node.version < 24 else 7), options)


@evaluator("Attention", since=25)
def attention_25(
    *inputs: Array | None,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> tuple[Array, ...]:
    """Attention whose queries may also be limited to a window of keys."""
    options = _Options(
        is_causal,
        kv_num_heads,
        q_num_heads,
        qk_matmul_output_mode,
        scale,
        softcap,
        softmax_precision,
        left_window_size,
        right_window_size,
    )
    return _attention(_padded(inputs, 7), options)


@evaluator("FlexAttention", domain="ai.onnx.preview")
def flex_attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    prob_mod: None = None,
    scale: float | None = None,
    score_mod: None = None,
    softmax_precision: int | None = None,
) -> Array:
    """Attention without masks; the graphs `score_mod` and `prob_mod` are refused before it is called."""
    del score_mod, prob_mod
    if {q.ndim, k.ndim, v.ndim} != {4}:
        raise ModelError(f"Q {list(q.shape)}, K {list(k.shape)} and V {list(v.shape)} must have 4 axes")
    _check_heads(q, k, v)
    precise = working_dtype(q.dtype)
    if softmax_precision is not None:
        precise = element_dtype(softmax_precision, REALS, "softmax_precision")
    scores = _scores(q, k, _scale(scale, q)).astype(precise)
    return _weighted(_softmax(scores), v, working_dtype(q.dtype, precise)).astype(q.dtype)


def _padded(inputs: tuple[Array | None, ...], most: int) -> list[Array | None]:
    """Return the inputs with None for those that are left out at the end."""
    if len(inputs) > most:
        raise ModelError(f"takes at most {most} inputs at this opset, {len(inputs)} given")
    padded = [*inputs, *[None] * (7 - len(inputs))]
    for name, array in zip("QKV", padded, strict=False):
        if array is None:
            raise ModelError(f"input '{name}' is missing")
    return padded


def _attention(inputs: list[Array | None], options: _Options) -> tuple[Array, ...]:
    q, k, v, mask, past_key, past_value, lengths = inputs
    assert q is not None
    assert k is not None
    assert v is not None
    packed = q.ndim == 3
    q, k, v = _by_heads(q, k, v, options)
    past = 0
    if (past_key is None) != (past_value is None):
        raise ModelError("past_key and past_value must be given together")
    if past_key is not None and past_value is not None:
        if lengths is not None:
            raise ModelError("nonpad_kv_seqlen must not be given together with past_key and past_value")
        k, v = _appended(past_key, k, "past_key"), _appended(past_value, v, "past_value")
        past = past_key.shape[2]
    _check_heads(q, k, v)
    scores = _scores(q, k, _scale(options.scale, q))
    bias = _bias(q, k, mask, past, lengths, options)
    biased, debug = _with_bias(scores, bias, options)

    if options.softmax_precision is not None:
        biased = biased.astype(element_dtype(options.softmax_precision, REALS, "softmax_precision"))
    weights = _softmax(biased)
    if options.qk_matmul_output_mode == _PROBABILITIES:
        debug = weights
    y = _weighted(weights, v, working_dtype(q.dtype)).astype(q.dtype)
    if packed:
        y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], y.shape[1] * y.shape[3])
    return y, k, v, debug.astype(q.dtype)


def _by_heads(q: Array, k: Array, v: Array, options: _Options) -> tuple[Array, Array, Array]:
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
    check_size((*q.shape[:3], k.shape[2]), 8, "the product of Q and K")
    wide = working_dtype(q.dtype)
    groups = _grouped(q.astype(wide), k.shape[1])
    product = groups @ np.swapaxes(k.astype(wide), -1, -2)[:, :, None] * wide.type(scale)
    return np.asarray(product.reshape(*q.shape[:3], k.shape[2]))


def _grouped(x: Array, heads: int) -> Array:
    """Return (batch, heads, groups, ...): consecutive query heads share a head of K and V."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads if heads else 0, *x.shape[2:])


def _weighted(weights: Array, v: Array, wide: np.dtype[Any]) -> Array:
    """Return the sums of V over keys, as (batch, heads, queries, size)."""
    check_size((*weights.shape[:3], v.shape[3]), 8, "the output")
    y = _grouped(weights.astype(wide), v.shape[1]) @ v.astype(wide)[:, :, None]
    return np.asarray(y.reshape(*weights.shape[:3], v.shape[3]))


def _softmax(x: Array) -> Array:
    """Return softmax over the last axis in the type of x; zeros where every element is -inf."""
    wide = x.astype(working_dtype(x.dtype))
    top = wide.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = np.exp(wide - np.where(np.isneginf(top), wide.dtype.type(0), top))
    total = powers.sum(axis=-1, keepdims=True)
    return np.asarray(powers / np.where(total == 0, wide.dtype.type(1), total)).astype(x.dtype)


def _with_bias(scores: Array, bias: Array, options: _Options) -> tuple[Array, Array]:
    """Return the scores that softmax gets, and the output of qk_matmul_output_mode 0, 1 or 2."""
    if options.softcap < 0:
        raise ModelError(f"softcap {options.softcap} must be 0 or more")
    if not _RAW <= options.qk_matmul_output_mode <= _PROBABILITIES:
        raise ModelError(f"qk_matmul_output_mode {options.qk_matmul_output_mode} is not 0, 1, 2 or 3")
    capped = scores
    if options.softcap:
        cap = scores.dtype.type(options.softcap)
        capped = np.tanh(scores / cap) * cap
    # A key that is masked does not take part, also where its score is infinite.
    biased = np.where(np.isneginf(bias), bias, capped + bias)
    return biased, {_RAW: scores, _CAPPED: capped}.get(options.qk_matmul_output_mode, biased)


def _bias(q: Array, k: Array, mask: Array | None, past: int, lengths: Array | None, options: _Options) -> Array:
    """Return the number that is added to each score, in a shape that broadcasts: -inf for a key that is masked."""
    batch, queries, keys = q.shape[0], q.shape[2], k.shape[2]
    wide = working_dtype(q.dtype)
    bias = np.zeros((1, 1, queries, keys), wide) if mask is None else _of_mask(mask, q, keys, wide)
    # Position of the first query among the keys.
    first = np.full((1, 1, 1, 1), past, np.int64)
    key = np.arange(keys)
    masked = np.zeros((1, 1, 1, 1), bool)
    if lengths is not None:
        if lengths.shape != (batch,) or (lengths < 0).any() or (lengths > keys).any():
            raise ModelError(
                f"nonpad_kv_seqlen {lengths.ravel()[:8].tolist()} must hold a number from 0 to {keys} "
                f"for each of the {batch} samples"
            )
        column = lengths.reshape(batch, 1, 1, 1)
        masked = key >= column
        first = column - queries
    position = first + np.arange(queries)[:, None]
    if options.is_causal:
        masked = masked | (key > position)
    for name, size in (
        ("left_window_size", options.left_window_size),
        ("right_window_size", options.right_window_size),
    ):
        if size < -1:
            raise ModelError(f"{name} {size} must be -1 or more")
    if options.left_window_size >= 0:
        masked = masked | (position - key > options.left_window_size)
    if options.right_window_size >= 0:
        masked = masked | (key - position > options.right_window_size)
    return np.where(masked, wide.type(-np.inf), bias)


def _of_mask(mask: Array, q: Array, keys: int, wide: np.dtype[Any]) -> Array:
    """Return an attention mask as numbers to add, (batch or 1, heads or 1, queries or 1, keys)."""
    wanted = (*q.shape[:3], keys)
    if mask.ndim > 4:
        raise ModelError(f"attn_mask {list(mask.shape)} has more than 4 axes")
    bias: Array = np.where(mask, wide.type(0), wide.type(-np.inf)) if mask.dtype == bool else mask.astype(wide)
    bias = bias[(None,) * (4 - mask.ndim)]
    if mask.ndim and bias.shape[3] < keys:
        bias = np.pad(bias, [(0, 0)] * 3 + [(0, keys - bias.shape[3])], constant_values=-np.inf)
    if any(n not in (1, most) for n, most in zip(bias.shape, wanted, strict=True)):
        raise ModelError(f"attn_mask {list(mask.shape)} does not broadcast to {list(wanted)}")
    return bias
