"""Evaluators of ai.onnx.ml that select, scale and encode features."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import OutputType, evaluator, same_type
from qengine.model.eager.ml.features import DOMAIN, floats, rows_of, tensor_of
from qengine.model.eager.ml.lookup import positions_in
from qengine.model.steps import Tensor

_NORMS = ("MAX", "L1", "L2")


def _extractor_types(x: Tensor, indices: Tensor) -> tuple[OutputType]:
    return (((*(x.shape[:-1] if x.ndim > 1 else (1,)), prod(indices.shape)), x.dtype),)


@evaluator("ArrayFeatureExtractor", domain=DOMAIN, outputs=_extractor_types)
def array_feature_extractor(x: NDArray[Any], indices: NDArray[Any]) -> NDArray[Any]:
    """Return the columns of the last axis at the indices; of a vector, as a matrix of one row."""
    if x.ndim == 0:
        raise ModelError("its data is a scalar, and it selects along the last axis")
    chosen, length = indices.reshape(-1), x.shape[-1]
    if not chosen.size:
        raise ModelError("selects nothing: it has no indices")
    if chosen.min() < 0 or chosen.max() >= length:
        wrong = chosen[(chosen < 0) | (chosen >= length)][0]
        raise ModelError(f"index {wrong} is outside 0..{length - 1} of the last axis")
    checked_shape((*x.shape[:-1], chosen.size))
    result = x[..., chosen]
    return result[None] if x.ndim == 1 else result


@evaluator("Binarizer", domain=DOMAIN, outputs=same_type)
def binarizer(x: NDArray[Any], *, threshold: float = 0.0) -> NDArray[Any]:
    """Return 1 where an element is above the threshold, else 0."""
    return (x > np.float64(threshold)).astype(x.dtype)


def _vectorizer_types(*inputs: Tensor, inputdimensions: tuple[int, ...] = ()) -> tuple[OutputType]:
    rows = inputs[0].shape[0] if inputs and inputs[0].ndim > 1 else 1
    return (((rows, sum(inputdimensions)), np.dtype(np.float32)),)


@evaluator("FeatureVectorizer", domain=DOMAIN, outputs=_vectorizer_types)
def feature_vectorizer(*inputs: NDArray[Any], inputdimensions: tuple[int, ...] = ()) -> NDArray[Any]:
    """Return the inputs side by side, each cut or filled with zeros to its number of columns."""
    if not inputs or len(inputs) != len(inputdimensions):
        raise ModelError(f"has {len(inputs)} inputs and {len(inputdimensions)} inputdimensions")
    if min(inputdimensions) < 0:
        raise ModelError(f"inputdimensions are {list(inputdimensions)}; a length cannot be negative")
    parts = [_flat_rows(tensor_of(one)) for one in inputs]
    if len({len(part) for part in parts}) > 1:
        raise ModelError(f"its inputs have different numbers of rows: {[len(part) for part in parts]}")
    checked_shape((len(parts[0]), sum(inputdimensions)))
    result = np.zeros((len(parts[0]), sum(inputdimensions)), np.float32)
    start = 0
    for part, width in zip(parts, inputdimensions, strict=True):
        count = min(width, part.shape[1])
        result[:, start : start + count] = part[:, :count]
        start += width
    return result


def _flat_rows(x: NDArray[Any]) -> NDArray[Any]:
    """Return [N, C] of an input: a vector is one row, and further axes are flattened."""
    if x.ndim == 0:
        raise ModelError("has a scalar input; features are [N, C] or [C]")
    return x.reshape(len(x), int(np.prod(x.shape[1:]))) if x.ndim > 1 else x[None]


@evaluator("Imputer", domain=DOMAIN, outputs=same_type)
def imputer(
    x: NDArray[Any],
    *,
    imputed_value_floats: tuple[float, ...] = (),
    imputed_value_int64s: tuple[int, ...] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> NDArray[Any]:
    """Return the features with another value, of the column or of all, wherever they equal the replaced value."""
    if bool(imputed_value_floats) == bool(imputed_value_int64s):
        raise ModelError("must have imputed_value_floats or imputed_value_int64s, and not both")
    is_real = x.dtype.kind == "f"
    if is_real != bool(imputed_value_floats):
        raise ModelError(f"its imputed values are {'integers' if is_real else 'real'}, and its input is {x.dtype}")
    imputed: NDArray[Any] = floats(imputed_value_floats) if is_real else np.array(imputed_value_int64s, np.int64)
    replaced = replaced_value_float if is_real else replaced_value_int64
    found = np.isnan(x) if is_real and np.isnan(replaced) else x == replaced
    values = _per_feature(x, imputed, "imputed values")
    if not is_real and (values != values.astype(x.dtype)).any():
        raise ModelError(f"its imputed values are outside {x.dtype}")
    return np.where(found, values.astype(x.dtype), x)


def _float_types(x: Tensor, **_: Any) -> tuple[OutputType]:
    return ((x.shape, np.dtype(np.float32)),)


@evaluator("Scaler", domain=DOMAIN, outputs=_float_types)
def scaler(x: NDArray[Any], *, offset: tuple[float, ...] = (), scale: tuple[float, ...] = ()) -> NDArray[Any]:
    """Return (x - offset) * scale, with a number for each column or for all, as float32."""
    if not scale or len(scale) != len(offset):
        raise ModelError(f"has {len(offset)} offsets and {len(scale)} scales; it needs as many of both")
    wide = x if x.dtype == np.float64 else x.astype(np.float32)
    offsets, scales = _per_feature(x, floats(offset), "offsets"), _per_feature(x, floats(scale), "scales")
    result: NDArray[Any] = (wide - offsets) * scales
    return result.astype(np.float32)


def _per_feature(x: NDArray[Any], values: NDArray[Any], what: str) -> NDArray[Any]:
    """Return values that broadcast to `x`: a number for each index of axis 1 (of axis 0 of a vector), or for all."""
    if x.ndim == 0:
        raise ModelError("its input is a scalar; features are [N, C] or [C]")
    axis = min(1, x.ndim - 1)
    if len(values) == 1:
        return values
    if len(values) != x.shape[axis] or x.ndim > 2:
        raise ModelError(f"has {len(values)} {what} for features {list(x.shape)}; it needs 1 or {x.shape[axis]}")
    return values


@evaluator("Normalizer", domain=DOMAIN, outputs=_float_types)
def normalizer(x: NDArray[Any], *, norm: str = "MAX") -> NDArray[Any]:
    """Return each row divided by its norm, as float32; a row whose norm is 0 stays."""
    if norm not in _NORMS:
        raise ModelError(f"norm is '{norm}'; it must be one of {', '.join(_NORMS)}")
    rows = rows_of(x)
    if not rows.size:
        return x.astype(np.float32)
    real = rows.astype(np.float32)
    if norm == "MAX":  # the largest element, not the largest magnitude
        size = real.max(axis=1, keepdims=True)
    elif norm == "L1":
        size = np.abs(real).sum(axis=1, keepdims=True, dtype=np.float32)
    else:
        size = np.sqrt((real * real).sum(axis=1, keepdims=True, dtype=np.float32))
    result: NDArray[Any] = real / np.where(size == 0, np.float32(1), size)
    return result.reshape(x.shape)


def _encoder_types(
    x: Tensor, *, cats_int64s: tuple[int, ...] = (), cats_strings: tuple[str, ...] = (), **_: Any
) -> tuple[OutputType]:
    return (((*x.shape, len(cats_int64s or cats_strings)), np.dtype(np.float32)),)


@evaluator("OneHotEncoder", domain=DOMAIN, outputs=_encoder_types)
def one_hot_encoder(
    x: NDArray[Any], *, cats_int64s: tuple[int, ...] = (), cats_strings: tuple[str, ...] = (), zeros: int = 1
) -> NDArray[Any]:
    """Return a new last axis with a 1 at the category of each element."""
    if bool(cats_int64s) == bool(cats_strings):
        raise ModelError("must have cats_int64s or cats_strings, and not both")
    if bool(cats_strings) != (x.dtype == object):
        raise ModelError(f"its categories are {'text' if cats_strings else 'integers'}, and its input is {x.dtype}")
    count = len(cats_int64s or cats_strings)
    checked_shape((*x.shape, count))
    if x.dtype.kind == "f":  # as a cast to int64, without undefined results
        x = np.where(np.isfinite(x) & (np.abs(x) < 2.0**63), np.trunc(x), np.nan)
    found = positions_in(x.reshape(-1), cats_int64s or cats_strings)
    if not zeros and (found < 0).any():
        raise ModelError(f"{x.reshape(-1)[found < 0].tolist()[0]!r} is none of its categories, and zeros is 0")
    result = np.zeros((x.size, count), np.float32)
    known = found >= 0
    result[known.nonzero()[0], found[known]] = 1
    return result.reshape(*x.shape, count)
