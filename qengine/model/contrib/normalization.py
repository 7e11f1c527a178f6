"""Normalizations over the last axis or over groups of channels, with the additions before them."""

from qengine.errors import ModelError
from qengine.model.contrib.activations import activated
from qengine.model.contrib.expansion import Builder, expansion
from qengine.model.contrib.fused import channels_first, channels_last
from qengine.model.graph import Attribute


@expansion("SkipLayerNormalization")
def skip_layer_normalization(
    builder: Builder,
    x: str,
    skip: str,
    gamma: str,
    beta: str | None = None,
    bias: str | None = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[str, ...]:
    """LayerNormalization of x + skip + bias over the last axis, and the sum."""
    total = _sum(builder, x, skip, bias)
    y = builder.op("LayerNormalization", total, gamma, beta or "", since=17, axis=-1, epsilon=epsilon)
    return y, *_statistics(builder, total, epsilon, centered=True), total


@expansion("SkipSimplifiedLayerNormalization")
def skip_simplified_layer_normalization(
    builder: Builder, x: str, skip: str, gamma: str, bias: str | None = None, *, epsilon: float = 1e-12
) -> tuple[str, ...]:
    """RMSNormalization of x + skip + bias over the last axis, and the sum."""
    total = _sum(builder, x, skip, bias)
    y = builder.op("RMSNormalization", total, gamma, since=23, axis=-1, epsilon=epsilon)
    return y, *_statistics(builder, total, epsilon, centered=False), total


def _sum(builder: Builder, x: str, skip: str, bias: str | None) -> str:
    total = builder.op("Add", x, skip)
    return builder.op("Add", total, bias) if bias else total


def _statistics(builder: Builder, x: str, epsilon: float, *, centered: bool) -> tuple[str, str]:
    """Add the mean, 0 where it is not subtracted, and the inverse deviation over the last axis, where they are read."""
    mean = deviation = x
    if builder.wants(1):
        mean = _mean(builder, x)
        mean = mean if centered else builder.op("Sub", mean, mean)
    if builder.wants(2):
        rest = builder.op("Sub", x, _mean(builder, x)) if centered else x
        deviation = _inverse_deviation(builder, rest, epsilon, axes=(-1,))
    return mean, deviation


def _mean(builder: Builder, x: str, axes: tuple[int, ...] = (-1,)) -> str:
    return builder.op("ReduceMean", x, builder.ints(*axes), since=18)


def _inverse_deviation(builder: Builder, x: str, epsilon: float, axes: tuple[int, ...]) -> str:
    """Add 1 / sqrt(mean of x² + epsilon)."""
    variance = _mean(builder, builder.op("Mul", x, x), axes)
    return builder.op("Reciprocal", builder.op("Sqrt", builder.op("Add", variance, builder.number(epsilon, x))))


@expansion("LayerNormalization", domain="")
def layer_normalization(
    builder: Builder,
    x: str,
    scale: str,
    b: str | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[str, ...]:
    """LayerNormalization, which ONNX Runtime writes at opsets too at which ONNX does not have it."""
    count = max((i + 1 for i in range(3) if builder.wants(i)), default=1)
    attributes: dict[str, Attribute] = {"axis": axis, "epsilon": epsilon, "stash_type": stash_type}
    return builder.ops(count, "LayerNormalization", x, scale, b, since=17, **attributes)


@expansion("SimplifiedLayerNormalization")
@expansion("SimplifiedLayerNormalization", domain="")
def simplified_layer_normalization(
    builder: Builder, x: str, scale: str, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[str, ...]:
    """RMSNormalization, and the inverse deviation."""
    shape = builder.shape(x)
    if shape is not None and not -len(shape) <= axis < len(shape):
        raise ModelError(f"has no axis {axis}: '{x}' has {len(shape)} axes")
    y = builder.op("RMSNormalization", x, scale, since=23, axis=axis, epsilon=epsilon, stash_type=stash_type)
    if not builder.wants(1):
        return (y,)
    rank = builder.rank(x)
    real = builder.op("Cast", x, to=1)
    return y, _inverse_deviation(builder, real, epsilon, tuple(range(axis % rank, rank)))


@expansion("GroupNorm")
def group_norm(
    builder: Builder,
    x: str,
    gamma: str,
    beta: str,
    *,
    activation: int,
    groups: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
) -> str:
    """GroupNormalization of an image, by default with the channels last, then x * Sigmoid(x) if asked for."""
    inner = channels_first(builder, x, 4) if channels_last else x
    y = builder.op("GroupNormalization", inner, gamma, beta, since=21, num_groups=groups, epsilon=epsilon)
    y = builder.op("Swish", y, since=24) if activation else activated(builder, y, "", ())
    return _back(builder, y) if channels_last else y


@expansion("SkipGroupNorm")
def skip_group_norm(
    builder: Builder,
    x: str,
    gamma: str,
    beta: str,
    skip: str,
    bias: str | None = None,
    *,
    activation: int,
    groups: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
) -> tuple[str, str]:
    """GroupNorm of x + skip + bias, and the sum; a skip of two axes has a number for each image and channel."""
    if builder.rank(skip) == 2:
        axes = (1, 2) if channels_last else (2, 3)
        skip = builder.op("Unsqueeze", skip, builder.ints(*axes))
    if bias and not channels_last:
        bias = builder.op("Unsqueeze", bias, builder.ints(1, 2))
    total = _sum(builder, x, skip, bias)
    y = group_norm(
        builder, total, gamma, beta, activation=activation, groups=groups, channels_last=channels_last, epsilon=epsilon
    )
    return y, total


def _back(builder: Builder, x: str) -> str:
    return channels_last(builder, x, 4)


@expansion("EmbedLayerNormalization")
def embed_layer_normalization(
    builder: Builder,
    input_ids: str,
    segment_ids: str | None = None,
    word_embedding: str | None = None,
    position_embedding: str | None = None,
    segment_embedding: str | None = None,
    gamma: str | None = None,
    beta: str | None = None,
    mask: str | None = None,
    position_ids: str | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
) -> tuple[str, str, str]:
    """LayerNormalization of the sum of embeddings of words, positions and segments; the number of words; the sum."""
    del mask_index_type  # of shape inference
    builder.needs(word_embedding=word_embedding, position_embedding=position_embedding, gamma=gamma, beta=beta)
    if not position_ids:
        length = builder.op("Shape", input_ids, since=15, start=1, end=2)
        rows = builder.op("Slice", position_embedding, builder.ints(0), length, builder.ints(0))
    else:
        rows = builder.op("Gather", position_embedding, position_ids)
    total = builder.op("Add", builder.op("Gather", word_embedding, input_ids), rows)
    if segment_embedding and segment_ids:
        total = builder.op("Add", total, builder.op("Gather", segment_embedding, segment_ids))
    y = builder.op("LayerNormalization", total, gamma, beta, since=17, axis=-1, epsilon=epsilon)
    return y, _word_count(builder, input_ids, mask) if builder.wants(1) else y, total


def _word_count(builder: Builder, input_ids: str, mask: str | None) -> str:
    """Add the number of ones in each row of a mask; 0 for each row without a mask."""
    if mask:
        ones = builder.op("Cast", builder.op("Equal", mask, builder.number(1, mask)), to=6)
    else:
        ones = builder.op("Sub", input_ids, input_ids)
    return builder.op("ReduceSum", ones, builder.ints(1), keepdims=0)


@expansion("QEmbedLayerNormalization")
def q_embed_layer_normalization(
    builder: Builder, input_ids: str, segment_ids: str | None = None, *rest: str, epsilon: float = 1e-12
) -> tuple[str, str, str]:
    """EmbedLayerNormalization of quantized tables: five, a mask, then the five scales and the five zero points."""
    if len(rest) != 16:
        raise ModelError(f"has {2 + len(rest)} inputs; it has 18, some of which may be empty")
    tables = [
        builder.op("DequantizeLinear", stored, scale, zero) if stored else ""
        for stored, scale, zero in zip(rest[:5], rest[6:11], rest[11:], strict=True)
    ]
    word, position, segment, gamma, beta = tables
    return embed_layer_normalization(
        builder, input_ids, segment_ids, word, position, segment, gamma, beta, rest[5], epsilon=epsilon
    )
