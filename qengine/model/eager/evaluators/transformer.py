"""Rotary embedding, gated activation, caches, and recurrent forms of attention."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import axis_of, checked_shape, working_dtype
from qengine.model.eager.evaluator import evaluator
from qengine.model.eager.evaluators.attention import split_heads

Array = NDArray[Any]

_GATED, _DELTA = ("gated", "gated_delta"), ("delta", "gated_delta")
_UPDATE_RULES = ("linear", "gated", "delta", "gated_delta")


@evaluator("RotaryEmbedding", since=23)
def rotary_embedding(
    x: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Array:
    """Pairs of elements rotated by an angle that depends on the position."""
    if x.ndim == 3:
        if num_heads is None:
            raise ModelError("an input of 3 axes needs the attribute num_heads")
        heads = split_heads(x, num_heads, "X")
    elif x.ndim == 4:
        heads = x
    else:
        raise ModelError(f"X {list(x.shape)} must have 3 or 4 axes")
    batch, _, positions, size = heads.shape
    rotated = rotary_embedding_dim or size
    if not 0 <= rotated <= size or rotated % 2:
        raise ModelError(f"{rotated} elements of the head size {size} cannot be rotated: an even number up to it can")
    wide = working_dtype(x.dtype)
    cos = _angles(cos_cache, position_ids, (batch, positions, rotated // 2), "cos_cache").astype(wide)
    sin = _angles(sin_cache, position_ids, (batch, positions, rotated // 2), "sin_cache").astype(wide)
    y = heads.astype(wide)
    if interleaved:
        first, second = slice(0, rotated, 2), slice(1, rotated, 2)
    else:
        first, second = slice(0, rotated // 2), slice(rotated // 2, rotated)
    a, b = y[..., first].copy(), y[..., second].copy()
    y[..., first] = cos * a - sin * b
    y[..., second] = sin * a + cos * b
    return (y if x.ndim == 4 else y.transpose(0, 2, 1, 3).reshape(x.shape)).astype(x.dtype)


def _angles(cache: Array, positions: Array | None, wanted: tuple[int, ...], name: str) -> Array:
    """Return a cache of cosines or sines as (batch, 1, positions, pairs)."""
    if positions is None:
        if cache.shape != wanted:
            raise ModelError(f"{name} {list(cache.shape)} without position_ids must be {list(wanted)}")
        return cache[:, None]
    if positions.shape != wanted[:2]:
        raise ModelError(f"position_ids {list(positions.shape)} must be {list(wanted[:2])}")
    if cache.ndim != 2 or cache.shape[1] != wanted[2]:
        raise ModelError(f"{name} {list(cache.shape)} with position_ids must be [positions, {wanted[2]}]")
    if positions.size and not (positions.min() >= 0 and positions.max() < len(cache)):
        raise ModelError(
            f"position_ids from {positions.min()} to {positions.max()} are out of range for {len(cache)} rows of {name}"
        )
    return np.asarray(cache[positions][:, None])


@evaluator("SwiGLU", since=28)
def swiglu(a: Array, b: Array, *, alpha: float = 1.0) -> Array:
    """a sigmoid(alpha a) b."""
    if a.shape != b.shape:
        raise ModelError(f"A {list(a.shape)} and B {list(b.shape)} must have the same shape")
    wide = working_dtype(a.dtype)
    return np.asarray(_swish(a.astype(wide), alpha) * b.astype(wide)).astype(a.dtype)


def _swish(x: Array, alpha: float = 1.0) -> Array:
    scaled = x.dtype.type(alpha) * x
    e = np.exp(-np.abs(scaled))
    return np.asarray(x * (np.where(scaled < 0, e, x.dtype.type(1)) / (1 + e)))


@evaluator("TensorScatter", since=24)
def tensor_scatter(
    past_cache: Array, update: Array, write_indices: Array | None = None, *, axis: int = -2, mode: str = "linear"
) -> Array:
    """The cache with an update written at a position of its own in each sample."""
    if mode not in ("linear", "circular"):
        raise ModelError(f"mode '{mode}' is not linear or circular")
    shape = past_cache.shape
    along = axis_of(axis, past_cache.ndim)
    if not along:
        raise ModelError(f"axis {axis} is the batch; another axis is needed")
    length = update.shape[along] if update.ndim == past_cache.ndim else -1
    if update.shape != (*shape[:along], length, *shape[along + 1 :]) or length > shape[along]:
        raise ModelError(
            f"update {list(update.shape)} does not fit the cache {list(shape)}: only axis {along} may be shorter"
        )
    starts = np.zeros(shape[0], np.int64) if write_indices is None else write_indices
    if starts.shape != shape[:1]:
        raise ModelError(f"write_indices {list(starts.shape)} must be [{shape[0]}], one for each sample")
    last = shape[along] - length
    if starts.size and (starts.min() < 0 or (mode == "linear" and starts.max() > last)):
        raise ModelError(
            f"write_indices from {starts.min()} to {starts.max()} are out of range: 0 to {last}, or more in mode "
            "circular"
        )
    present = past_cache.copy()
    if length:
        places = (starts[:, None] % shape[along] + np.arange(length)) % shape[along]
        # Advanced indices over batch and positions, with the axes between them moved to the end.
        np.moveaxis(present, along, 1)[np.arange(shape[0])[:, None], places] = np.moveaxis(update, along, 1)
    return present


@evaluator("LinearAttention", since=27)
def linear_attention(
    query: Array,
    key: Array,
    value: Array,
    past_state: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> tuple[Array, Array]:
    """Attention by a state that each position updates; it is read by the query of that position."""
    del chunk_size  # a hint for speed
    if update_rule not in _UPDATE_RULES:
        raise ModelError(f"update_rule '{update_rule}' is not {', '.join(_UPDATE_RULES)}")
    for name, given, rules in (("decay", decay, _GATED), ("beta", beta, _DELTA)):
        if (given is not None) != (update_rule in rules):
            raise ModelError(f"input '{name}' must be given for update_rule {' and '.join(rules)}, and for no other")
    for name, one in (("query", query), ("key", key), ("value", value), ("decay", decay), ("beta", beta)):
        if one is not None and (one.ndim != 3 or one.shape[:2] != query.shape[:2]):
            raise ModelError(f"{name} {list(one.shape)} must have 3 axes, of which batch and length are those of query")
    if kv_num_heads < 1 or q_num_heads < 1 or q_num_heads % kv_num_heads:
        raise ModelError(f"q_num_heads {q_num_heads} must be a positive multiple of kv_num_heads {kv_num_heads}")
    wide = working_dtype()
    q, k, v = (
        split_heads(one, heads, name).astype(wide)
        for one, heads, name in (
            (query, q_num_heads, "query"),
            (key, kv_num_heads, "key"),
            (value, kv_num_heads, "value"),
        )
    )
    batch, _, length, size = q.shape
    if k.shape[3] != size:
        raise ModelError(f"query has {size} elements a head, key {k.shape[3]}")
    shape = (batch, kv_num_heads, size, v.shape[3])
    checked_shape(shape, 8, "the state")
    if past_state is not None and past_state.shape != shape:
        raise ModelError(f"past_state {list(past_state.shape)} must be {list(shape)}")
    state = np.zeros(shape, wide) if past_state is None else past_state.astype(wide)
    gains = None if decay is None else np.exp(_per_key(decay, kv_num_heads, size).astype(wide))
    rates = None if beta is None else _rates(beta, kv_num_heads).astype(wide)
    factor = wide.type(scale or (1.0 / sqrt(size) if size else 1.0))

    outputs = np.zeros((batch, q_num_heads, length, v.shape[3]), wide)
    checked_shape(outputs.shape, 8, "the output")
    groups = q_num_heads // kv_num_heads
    for t in range(length):
        if gains is not None:
            state = state * gains[:, :, t, :, None]
        new = v[:, :, t]
        if rates is not None:
            new = rates[:, :, t] * (new - (k[:, :, t, None] @ state)[:, :, 0])
        state = state + k[:, :, t, :, None] * new[:, :, None]
        read = q[:, :, t].reshape(batch, kv_num_heads, groups, size) @ state
        outputs[:, :, t] = factor * read.reshape(batch, q_num_heads, v.shape[3])
    output = outputs.transpose(0, 2, 1, 3).reshape(batch, length, q_num_heads * v.shape[3])
    return output.astype(query.dtype), state.astype(query.dtype if past_state is None else past_state.dtype)


def _per_key(decay: Array, heads: int, size: int) -> Array:
    """Return the decay as (batch, heads, length, size or 1)."""
    if decay.shape[2] not in (heads, heads * size):
        raise ModelError(f"decay {list(decay.shape)} must have {heads} or {heads * size} elements in the last axis")
    return split_heads(decay, heads, "decay")


def _rates(beta: Array, heads: int) -> Array:
    """Return the update rate as (batch, heads or 1, length, 1)."""
    if beta.shape[2] not in (heads, 1):
        raise ModelError(f"beta {list(beta.shape)} must have {heads} or 1 elements in the last axis")
    return split_heads(beta, beta.shape[2], "beta")


@evaluator("CausalConvWithState", since=27)
def causal_conv_with_state(
    x: Array, weight: Array, bias: Array | None = None, past_state: Array | None = None, *, activation: str = "none"
) -> tuple[Array, Array]:
    """Convolution of each channel over this and earlier positions."""
    if activation not in ("none", "silu", "swish"):
        raise ModelError(f"activation '{activation}' is not none, silu or swish")
    if x.ndim != 3 or weight.ndim != 3 or weight.shape[:2] != (x.shape[1], 1) or weight.shape[2] < 1:
        raise ModelError(
            f"input {list(x.shape)} and weight {list(weight.shape)} must be [batch, channels, length] and "
            "[channels, 1, taps]"
        )
    batch, channels, length = x.shape
    taps = weight.shape[2]
    if bias is not None and bias.shape != (channels,):
        raise ModelError(f"bias {list(bias.shape)} must be [{channels}]")
    earlier = np.zeros((batch, channels, taps - 1), x.dtype) if past_state is None else past_state
    if earlier.shape != (batch, channels, taps - 1):
        raise ModelError(f"past_state {list(earlier.shape)} must be {[batch, channels, taps - 1]}")
    padded = np.concatenate((earlier, x), axis=2)
    wide = working_dtype(x.dtype)
    y = np.zeros(x.shape, wide)
    for tap in range(taps):
        y += padded[:, :, tap : tap + length].astype(wide) * weight[:, 0, tap].astype(wide)[:, None]
    if bias is not None:
        y = y + bias.astype(wide)[:, None]
    if activation != "none":
        y = _swish(y)
    return y.astype(x.dtype), padded[:, :, length:]
