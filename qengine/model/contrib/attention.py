"""Attention with several heads, as the products, sums and Softmax that it means."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod, sqrt

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.contrib.expansion import Builder, expansion
from qengine.model.contrib.masks import causal_mask, padding_mask
from qengine.model.graph import Dim
from qengine.model.ops.operator import Ints


@dataclass(frozen=True)
class _Settings:
    """Attributes of every kind of attention.

    Attributes
    ----------
    num_heads : number of heads.
    unidirectional : whether a token attends to none after it.
    mask_filter_value : number that is added to a masked score.
    scale : factor of the products; None or 0 for the root of the length of a head, inverted.
    """

    num_heads: int
    unidirectional: int = 0
    mask_filter_value: float = -10000.0
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.num_heads < 1:
            raise ModelError(f"num_heads is {self.num_heads}, which must be positive")


@dataclass(frozen=True)
class _OfDevices:
    """Attributes that only other devices than a CPU have."""

    do_rotary: int = 0
    rotary_embedding_dim: int = 0
    past_present_share_buffer: int = 0


@expansion("Attention")
def attention(
    builder: Builder,
    x: str,
    weights: str,
    bias: str | None = None,
    mask_index: str | None = None,
    past: str | None = None,
    attention_bias: str | None = None,
    past_sequence_length: str | None = None,
    *,
    qkv_hidden_sizes: Ints | None = None,
    settings: _Settings,
    of_devices: _OfDevices,
) -> tuple[str, str]:
    """Attention of x to itself: projection by weights of queries, keys and values side by side, then attention."""
    _check_plain(**asdict(of_devices), past_sequence_length=bool(past_sequence_length))
    projected = builder.op("MatMul", x, weights)
    if bias:
        projected = builder.op("Add", projected, bias)
    return _self_attention(builder, projected, settings, qkv_hidden_sizes, (mask_index, attention_bias, past))


@expansion("QAttention")
def q_attention(
    builder: Builder,
    x: str,
    weight: str,
    bias: str,
    input_scale: str,
    weight_scale: str,
    mask_index: str | None = None,
    input_zero_point: str | None = None,
    weight_zero_point: str | None = None,
    past: str | None = None,
    *,
    settings: _Settings,
    of_devices: _OfDevices,
) -> tuple[str, str]:
    """Attention of quantized x and weights, whose projection is a sum of integers."""
    _check_plain(**asdict(of_devices))
    sums = builder.op("MatMulInteger", x, weight, input_zero_point or "", weight_zero_point or "")
    factor = builder.op("Mul", input_scale, weight_scale)
    real = builder.op("Mul", builder.op("Cast", sums, to=1), factor)
    return _self_attention(builder, builder.op("Add", real, bias), settings, None, (mask_index, None, past))


def _check_plain(**features: int) -> None:
    """Raise UnsupportedError for features that only other devices than a CPU have."""
    used = [name for name, value in features.items() if value]
    if used:
        raise UnsupportedError(f"uses {used[0]}, which is not supported; export the model for a CPU, without it")


def _self_attention(
    builder: Builder,
    projected: str,
    settings: _Settings,
    sizes: Ints | None,
    optional: tuple[str | None, str | None, str | None],
) -> tuple[str, str]:
    """Add attention to the projections of queries, keys and values; `optional` are mask, bias and past."""
    mask, bias, past = optional
    if sizes is None:
        parts = builder.ops(3, "Split", projected, since=18, axis=-1, num_outputs=3)
    else:
        if len(sizes) != 3 or min(sizes) < 1 or any(size % settings.num_heads for size in sizes):
            raise ModelError(f"qkv_hidden_sizes {list(sizes)} are not three multiples of {settings.num_heads} heads")
        parts = builder.ops(3, "Split", projected, builder.ints(*sizes), axis=-1)
    q, k, v = (_heads(builder, part, settings.num_heads) for part in parts)
    if past:
        k = builder.op("Concat", builder.op("Gather", past, builder.constant(np.array(0)), axis=0), k, axis=2)
        v = builder.op("Concat", builder.op("Gather", past, builder.constant(np.array(1)), axis=0), v, axis=2)
    length = builder.op("Shape", past, since=15, start=3, end=4) if past else None
    present = k
    if builder.wants(1):
        both = [builder.op("Unsqueeze", one, builder.ints(0)) for one in (k, v)]
        present = builder.op("Concat", *both, axis=0)
    return _attended(builder, (q, k, v), settings, (mask, bias, length))[0], present


@expansion("MultiHeadAttention")
def multi_head_attention(
    builder: Builder,
    query: str,
    key: str | None = None,
    value: str | None = None,
    bias: str | None = None,
    key_padding_mask: str | None = None,
    attention_bias: str | None = None,
    past_key: str | None = None,
    past_value: str | None = None,
    past_sequence_length: str | None = None,
    cache_indirection: str | None = None,
    *,
    settings: _Settings,
) -> tuple[str, ...]:
    """Attention of queries to keys and values, which are projected already; the present keys and values; the scores."""
    _check_plain(past_sequence_length=bool(past_sequence_length), cache_indirection=bool(cache_indirection))
    parts = _separated(builder, query, key, value)
    if bias:
        parts = _biased(builder, parts, bias)
    q, k, v = (part if builder.rank(part) == 4 else _heads(builder, part, settings.num_heads) for part in parts)
    if bool(past_key) != bool(past_value):
        raise ModelError("has past keys or past values, and not both; give both")
    if past_key and past_value:
        k = builder.op("Concat", past_key, k, axis=2)
        v = builder.op("Concat", past_value, v, axis=2)
    length = builder.op("Shape", past_key, since=15, start=2, end=3) if past_key else None
    y, scores = _attended(builder, (q, k, v), settings, (key_padding_mask, attention_bias, length))
    return y, k, v, scores


def _separated(builder: Builder, query: str, key: str | None, value: str | None) -> list[str]:
    """Return queries, keys and values as tensors of their own, which the model may pack into one or two."""
    if key and value:
        return [query, key, value]
    packed, count = (key, 2) if key else (query, 3)
    if builder.rank(packed) != 5:
        raise ModelError(f"'{packed}' has {builder.rank(packed)} axes; where the values are packed in it, it has 5")
    # [batch, length, heads, count, size of a head] -> count tensors of [batch, length, hidden size]
    split = builder.ops(count, "Split", packed, since=18, axis=3, num_outputs=count)
    parts = [builder.op("Reshape", part, builder.ints(0, 0, -1)) for part in split]
    return parts if count == 3 else [query, *parts]


def _biased(builder: Builder, parts: list[str], bias: str) -> list[str]:
    """Add the parts of a bias to queries, keys and values; keys and values in heads have theirs already."""
    sizes = [_hidden_size(builder.shape(part)) for part in parts]
    whole = builder.shape(bias)
    total = whole[0] if whole else None
    if None in sizes and isinstance(total, int):
        # Queries and keys have the same size; without another hint the values have it too.
        first = next((size for size in sizes[:2] if size is not None), total // 3)
        sizes = [first, first, total - 2 * first]
    known = [size for size in sizes if size is not None]
    if len(known) < 3:
        raise UnsupportedError(f"the sizes of the parts of '{bias}' are not known; declare shapes in value_info")
    split = builder.ops(3, "Split", bias, builder.ints(*known), axis=0)
    return [
        builder.op("Add", part, own) if builder.rank(part) == 3 else part
        for part, own in zip(parts, split, strict=True)
    ]


def _hidden_size(shape: tuple[Dim, ...] | None) -> int | None:
    """Return the size of all heads together, of [batch, length, size] or [batch, heads, length, size of a head]."""
    if shape is None or len(shape) not in (3, 4):
        return None
    lengths = [shape[2]] if len(shape) == 3 else [shape[1], shape[3]]
    numbers = [length for length in lengths if isinstance(length, int)]
    return prod(numbers) if len(numbers) == len(lengths) else None


def _heads(builder: Builder, x: str, num_heads: int) -> str:
    """Add [batch, length, hidden size] -> [batch, heads, length, size of a head]."""
    hidden = _hidden_size(builder.shape(x))
    if hidden is not None and hidden % num_heads:
        raise ModelError(f"'{x}' has {hidden} numbers for each token, which {num_heads} heads do not divide")
    # -1 would not do for a tensor without elements.
    split = builder.op("Reshape", x, builder.ints(0, 0, num_heads, -1 if hidden is None else hidden // num_heads))
    return builder.op("Transpose", split, perm=(0, 2, 1, 3))


def _attended(
    builder: Builder,
    qkv: tuple[str, str, str],
    settings: _Settings,
    optional: tuple[str | None, str | None, str | None],
) -> tuple[str, str]:
    """Add softmax(scale * q @ transposed k + masks) @ v, with the heads side by side, and the scores before softmax.

    `optional` are a mask of padding, a bias of the scores, and the number of keys before that of the first query.
    """
    q, k, v = qkv
    mask, bias, past = optional
    scores = builder.op("MatMul", q, builder.op("Transpose", k, perm=(0, 1, 3, 2)))
    scores = _scaled(builder, scores, q, settings.scale)
    if mask:
        scores = builder.op("Add", scores, padding_mask(builder, mask, q, k, settings.mask_filter_value))
    if settings.unidirectional == 1:
        scores = causal_mask(builder, scores, past or builder.ints(0))
    if bias:
        scores = builder.op("Add", scores, bias)
    weights = builder.op("Softmax", scores, axis=-1)
    y = builder.op("Transpose", builder.op("MatMul", weights, v), perm=(0, 2, 1, 3))
    hidden = _hidden_size(builder.shape(v))
    return builder.op("Reshape", y, builder.ints(0, 0, -1 if hidden is None else hidden)), scores


def _scaled(builder: Builder, scores: str, q: str, scale: float | None) -> str:
    """Add the product of scores and the scale, by default 1 / sqrt(size of a head)."""
    if scale:
        return builder.op("Mul", scores, builder.number(scale, q))
    shape = builder.shape(q)
    size = shape[3] if shape is not None and len(shape) == 4 else None
    if isinstance(size, int) and size > 0:
        return builder.op("Mul", scores, builder.number(1.0 / sqrt(size), q))
    length = builder.op("CastLike", builder.op("Shape", q, since=15, start=3, end=4), q, since=15)
    return builder.op("Div", scores, builder.op("Sqrt", length))


@expansion("RotaryEmbedding")
def rotary_embedding(
    builder: Builder,
    x: str,
    position_ids: str,
    cos_cache: str,
    sin_cache: str,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    is_packed_batching: int = 0,
    scale: float = 1.0,
) -> str:
    """Rotation of pairs of elements by angles that grow with the position; of one position, it is the first."""
    _check_plain(is_packed_batching=is_packed_batching)
    del scale  # ONNX Runtime does not read it
    rank = builder.rank(x)
    if builder.rank(position_ids) < 2:
        axis = 2 if rank == 4 else 1
        length = builder.op("Squeeze", builder.op("Shape", x, since=15, start=axis, end=axis + 1))
        steps = builder.op("Range", builder.constant(np.array(0)), length, builder.constant(np.array(1)))
        row = builder.op("Unsqueeze", builder.op("Add", steps, position_ids), builder.ints(0))
        batch = builder.op("Concat", builder.op("Shape", x, since=15, start=0, end=1), builder.ints(1), axis=0)
        position_ids = builder.op("Expand", row, batch)
    if rank == 3 and not num_heads:
        cache = builder.shape(cos_cache)
        hidden = (builder.shape(x) or (None, None, None))[2]
        half = cache[1] if cache is not None and len(cache) == 2 else None
        if not isinstance(hidden, int) or not isinstance(half, int) or not half:
            raise UnsupportedError("the size of its heads is not known; set num_heads and rotary_embedding_dim")
        num_heads = hidden // (2 * half)
    return builder.op(
        "RotaryEmbedding",
        x,
        cos_cache,
        sin_cache,
        position_ids,
        since=23,
        interleaved=int(interleaved == 1),
        num_heads=num_heads or None,
        rotary_embedding_dim=rotary_embedding_dim or None,
    )
