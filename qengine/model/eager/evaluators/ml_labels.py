"""Evaluators of ai.onnx.ml that map labels: CategoryMapper and LabelEncoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.evaluator import evaluator
from qengine.model.eager.ml.features import DOMAIN, floats, text
from qengine.model.eager.ml.lookup import positions_in
from qengine.model.graph import Node

_KINDS = {"f": "real", "i": "integers", "O": "text"}


@evaluator("CategoryMapper", domain=DOMAIN)
def category_mapper(
    x: NDArray[Any],
    *,
    cats_int64s: tuple[int, ...] = (),
    cats_strings: tuple[str, ...] = (),
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> NDArray[Any]:
    """Return the integer of each text, or the text of each integer."""
    if len(cats_int64s) != len(cats_strings):
        raise ModelError(f"has {len(cats_int64s)} cats_int64s for {len(cats_strings)} cats_strings")
    integers, texts = np.array(cats_int64s, np.int64), text(cats_strings)
    if x.dtype == object:
        return _mapped(x, texts, integers, default_int64)
    return _mapped(x, integers, texts, default_string)


@evaluator("LabelEncoder", domain=DOMAIN)
def label_encoder(
    x: NDArray[Any],
    *,
    classes_strings: tuple[str, ...] = (),
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> NDArray[Any]:
    """Return the position of each text in the list of classes, or the class at each position."""
    numbers, texts = np.arange(len(classes_strings), dtype=np.int64), text(classes_strings)
    if x.dtype == object:
        return _mapped(x, texts, numbers, default_int64)
    return _mapped(x, numbers, texts, default_string)


@dataclass(frozen=True)
class Labels:
    """Attributes of LabelEncoder since version 2; keys and values are given in one type each."""

    keys_floats: tuple[float, ...] = ()
    keys_int64s: tuple[int, ...] = ()
    keys_strings: tuple[str, ...] = ()
    keys_tensor: Any = None
    values_floats: tuple[float, ...] = ()
    values_int64s: tuple[int, ...] = ()
    values_strings: tuple[str, ...] = ()
    values_tensor: Any = None
    default_float: float = -0.0
    default_int64: int = -1
    default_string: str = "_Unused"
    default_tensor: Any = None

    def vector(self, which: str) -> NDArray[Any]:
        """Return the keys or the values, of which one attribute must be given.

        Raises
        ------
        ModelError
            If none or several are given, or the tensor is not a vector.
        """
        numbers, integers, texts, tensor = (
            getattr(self, f"{which}_{kind}") for kind in ("floats", "int64s", "strings", "tensor")
        )
        if bool(numbers) + bool(integers) + bool(texts) + (tensor is not None) != 1:
            raise ModelError(f"must have exactly one of {which}_floats, _int64s, _strings and _tensor")
        if tensor is not None:
            if not isinstance(tensor, np.ndarray) or tensor.ndim != 1:
                raise ModelError(f"{which}_tensor is not a vector")
            return tensor
        if texts:
            return text(texts)
        return floats(numbers) if numbers else np.array(integers, np.int64)

    def default(self, dtype: np.dtype[Any]) -> Any:
        """Return the value for elements that are none of the keys."""
        tensor = self.default_tensor
        if tensor is None:
            return {"f": self.default_float, "i": self.default_int64, "O": self.default_string}[dtype.kind]
        if not isinstance(tensor, np.ndarray) or tensor.size != 1 or tensor.dtype != dtype:
            raise ModelError(f"default_tensor must hold one element of {dtype}, the type of the values")
        return tensor.reshape(())[()]


@evaluator("LabelEncoder", domain=DOMAIN, since=2)
def label_encoder_2(x: NDArray[Any], *, labels: Labels, node: Node) -> NDArray[Any]:
    """Return the value of each key, in the type of the values.

    Since version 4 the last of equal keys counts. Before, the first does, as in ONNX Runtime: nothing else says it.
    """
    keys, values = labels.vector("keys"), labels.vector("values")
    if len(keys) != len(values):
        raise ModelError(f"has {len(keys)} keys and {len(values)} values")
    if keys.dtype.kind not in _KINDS or values.dtype.kind not in _KINDS:
        raise ModelError(f"maps {keys.dtype} to {values.dtype}; keys and values are real, integers or text")
    if keys.dtype.kind != x.dtype.kind:
        raise ModelError(f"its keys are {_KINDS[keys.dtype.kind]}, and its input is {x.dtype}")
    return _mapped(x, keys, values, labels.default(values.dtype), prefers_first=node.version < 4)


def _mapped(
    x: NDArray[Any], keys: NDArray[Any], values: NDArray[Any], default: Any, *, prefers_first: bool = False
) -> NDArray[Any]:
    """Return the value of each key in `x`, the default for other elements."""
    found = positions_in(x.reshape(-1), keys, prefers_first=prefers_first)
    known = found >= 0
    if values.dtype.kind == "i" and not known.all() and not np.can_cast(np.min_scalar_type(default), values.dtype):
        raise ModelError(f"its default {default} is outside {values.dtype}")
    result = np.empty(x.size, values.dtype)
    result[known] = values[found[known]]
    result[~known] = default
    return result.reshape(x.shape)
