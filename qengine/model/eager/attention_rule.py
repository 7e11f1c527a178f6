"""The rule of Attention in fixed point: from a planned node to the numbers of `attention_fixed`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.attention_fixed import (
    FACTOR_BITS,
    MAX_SCORE_BITS,
    SCORE_BITS,
    ScoreNumbers,
    attention_fixed,
    mask_of_codes,
    score_numbers,
)
from qengine.kernels.reference.requantize import Tally
from qengine.kernels.reference.word import Integers
from qengine.model.rules import Arithmetic
from qengine.model.steps import Evaluation, Tensor

_LARGEST = 1 << 40  # of a constant mask, with the fraction bits of scores


class AttentionRule:
    """Rule by which an Attention without a cache computes codes.

    Parameters
    ----------
    evaluation
        The node, which the rule serves.
    arithmetic
        Rounding and overflow of the run.

    Attributes
    ----------
    numbers : numbers of the scores.
    """

    def __init__(self, evaluation: Evaluation, arithmetic: Arithmetic) -> None:
        self._evaluation, self._arithmetic = evaluation, arithmetic
        numbers = _numbers(evaluation)
        assert numbers is not None
        self.numbers = numbers

    @staticmethod
    def serves(evaluation: Evaluation) -> bool:
        """Whether the node has a rule: its first output alone, no cache, no cap or window, and formats."""
        node, inputs = evaluation.node, (*evaluation.inputs, *[None] * 4)
        if any(t is not None for t in inputs[4:]) or any(t.name for t in evaluation.outputs[1:]) or node.activation:
            return False
        if node.number("softcap", 0.0) or any(
            node.number(f"{side}_window_size", -1) != -1 for side in ("left", "right")
        ):
            return False
        tensors = (*inputs[:3], evaluation.outputs[0])
        if any(t is None or t.format is None or 0 in t.shape for t in tensors):
            return False
        mask = inputs[3]
        if mask is not None:
            keys = inputs[1].shape[-2] if inputs[1] is not None else 0
            is_known = mask.dtype.kind == "b" or mask.format is not None or mask.value is not None
            if not mask.ndim or mask.shape[-1] != keys or not is_known:
                return False
        return _numbers(evaluation) is not None

    def output(self, index: int, arrays: Sequence[NDArray[Any]], tally: Tally | None) -> NDArray[Any]:
        """Return the codes of the output; see `FixedRule`."""
        del index
        node, y = self._evaluation.node, self._evaluation.outputs[0]
        q, k, v = (self._by_heads(x, f"{which}_num_heads") for x, which in zip(arrays, ("q", "kv", "kv"), strict=False))
        groups = q.shape[1] // k.shape[1]
        grouped = q.reshape(q.shape[0], k.shape[1], groups, *q.shape[2:])
        added, taken = self.mask(arrays[3] if len(arrays) > 3 else None)
        if node.number("is_causal", 0):
            causal = np.tri(q.shape[2], k.shape[2], dtype=bool)
            taken = causal if taken is None else taken & causal
        masks = tuple(None if one is None else self._as_groups(one, k.shape[1], groups) for one in (added, taken))
        third = self._evaluation.inputs[2]
        assert third is not None
        codes = attention_fixed(
            grouped,
            k[:, :, None],
            v[:, :, None],
            self.numbers,
            masks,  # type: ignore[arg-type]
            y.fraction_bits - third.fraction_bits,
            self._arithmetic.word(y.one_format),
            tally=tally,
        )
        found = codes.reshape(*q.shape[:3], v.shape[3])
        return found if arrays[0].ndim == 4 else found.transpose(0, 2, 1, 3).reshape(y.shape)

    def saturated_bias(self) -> tuple[int, Tensor] | None:
        """Return None: there is no bias."""
        return None

    def _by_heads(self, x: NDArray[Any], attribute: str) -> NDArray[Any]:
        """Return (batch, positions, heads * size) as (batch, heads, positions, size)."""
        if x.ndim == 4:
            return x
        heads = int(self._evaluation.node.number(attribute, 1))
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    def mask(self, array: NDArray[Any] | None) -> tuple[Integers | None, NDArray[np.bool_] | None]:
        """Return what a mask adds to scores, and which keys take part."""
        if array is None:
            return None, None
        if array.dtype == bool:
            return None, array
        mask = self._evaluation.inputs[3]
        assert mask is not None
        if mask.format is not None:
            least = mask.one_format.word().least
            taken = array != least if least < 0 else np.ones_like(array, bool)
            return mask_of_codes(array, mask.fraction_bits), taken
        wide = np.rint(np.ldexp(array.astype(np.float64), SCORE_BITS))
        return np.clip(wide, -_LARGEST, _LARGEST).astype(np.int64), array > np.finfo(array.dtype).min

    @staticmethod
    def _as_groups(mask: NDArray[Any], heads: int, groups: int) -> NDArray[Any]:
        """Return a mask of (batch, heads, queries, keys) with an axis for the groups of heads."""
        full = mask[(None,) * (4 - mask.ndim)]
        return full[:, :, None] if full.shape[1] == 1 else full.reshape(len(full), heads, groups, *full.shape[2:])


def _numbers(evaluation: Evaluation) -> ScoreNumbers | None:
    """Return the numbers of the scores; None where 60 bits do not hold them."""
    node, (q, k, *_) = evaluation.node, evaluation.inputs
    assert q is not None
    assert k is not None
    heads = int(node.number("q_num_heads", 1)) if q.ndim == 3 else 1
    size = q.shape[-1] // max(heads, 1)
    scale = float(node.number("scale", 1.0 / sqrt(size) if size else 1.0))
    words = [t.one_format.word() for t in (q, k)]
    largest = size * prod(max(word.most, -word.least) for word in words) << FACTOR_BITS
    if not (isfinite(scale) and scale >= 0) or largest > 1 << MAX_SCORE_BITS:
        return None
    return score_numbers(scale, q.fraction_bits + k.fraction_bits)
