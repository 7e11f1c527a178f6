"""Elements and weights that each output of a linear operator sums, for all kinds of linear operators.

An operator is asked where its own windows lie: it unfolds an array of element numbers instead of elements. What comes
out is the same for a convolution, a transposed one and a product of matrices: for each group and position the
elements of the input that meet the filters, and the filters as a matrix. Sums can then be steered: the largest one of
an output follows from the signs of its weights, and a remainder from one odd weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.ops.filters import ConvFilters, Filters, TransposedConvFilters
from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import ChannelScale, Convolution, LinearForm, MatrixProduct, TransposedConvolution
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

NOWHERE = -1
"""The number of an element of the padding."""

_SPREAD, _NEIGHBOURS = 24, 8
"""Positions that are looked at: evenly spread ones, and neighbours in the middle, for every phase of a stride."""


@dataclass(frozen=True)
class Taps:
    """Taps of some outputs of a linear operator.

    Attributes
    ----------
    elements : number of the input's element at each tap, (groups, positions, taps); `NOWHERE` in the padding.
    weights : codes of the weights, (groups, outputs, taps).
    bias, shift : bias and bits to drop of each output, (groups, outputs, positions).
    orders : orders in which a device may sum the taps.
    """

    elements: NDArray[np.int64]
    weights: NDArray[np.int64]
    bias: NDArray[np.int64]
    shift: NDArray[np.int64]
    orders: tuple[NDArray[np.intp], ...]


def taps_of(bound_step: BoundStep) -> Taps | None:
    """Return the taps of some positions of a linear operator with constant weights and exact sums, else None."""
    step, arithmetic = bound_step.step, bound_step.arithmetic
    if not isinstance(step, Linear) or step.w.value is None or arithmetic is None:
        return None
    if not isinstance(step.x.format, QFormat) or not isinstance(bound_step.output.format, QFormat):
        return None
    if step.b is not None and step.b.value is None:
        return None
    if not prod(step.shape) or not prod(step.x.shape) or not isinstance(step.product, LinearForm):
        return None
    weights = _blocks(step)
    if weights is None:
        return None
    groups, outputs, _ = weights.shape
    places = _places(step, groups)
    elements = _elements(step, groups, places)
    flat = _outputs(step, groups, outputs, places, elements)
    rules = Accumulation(step, bound_step.output, arithmetic)
    if rules.in_order:
        return None
    biases = np.zeros((), np.int64) if rules.bias is None else np.asarray(rules.bias)
    if isinstance(step.product, MatrixProduct) and biases.ndim > 1 and prod(biases.shape[:-1]) > len(places):
        return None  # the rows that are not looked at have other biases
    shift = rules.shift

    def of_outputs(array: Any) -> NDArray[np.int64]:
        return np.broadcast_to(np.asarray(array, np.int64), step.shape).reshape(-1)[flat]

    stored = np.arange(weights.shape[2])
    last = step.product.channels_last(step.w.shape)
    orders = (stored,) if last is None or len(last) != len(stored) else (stored, last)
    return Taps(elements, weights, of_outputs(biases), of_outputs(shift), orders)


def _blocks(step: Linear) -> NDArray[np.int64] | None:
    """Return the weights as (groups, outputs, taps)."""
    form, w = step.product, step.w.codes.astype(np.int64)
    layout: Filters
    if isinstance(form, Convolution | TransposedConvolution):
        layout = ConvFilters() if isinstance(form, Convolution) else TransposedConvFilters()
        blocks = layout.blocks(None, w, form.group)  # type: ignore[arg-type] # neither reads the node
        return blocks.reshape(*blocks.shape[:2], -1)
    if isinstance(form, MatrixProduct) and w.ndim <= 2:
        matrix = w[:, None] if w.ndim == 1 else w.T if form.transposed_w else w
        return matrix.T[None]
    if isinstance(form, ChannelScale):
        return w.reshape(-1, 1, 1)
    return None


def _count(step: Linear, groups: int) -> int:
    """Return the number of positions."""
    if isinstance(step.product, Convolution | TransposedConvolution):
        return step.shape[0] * prod(step.shape[2:])
    if isinstance(step.product, ChannelScale):
        return prod(step.shape) // groups
    inner = step.w.shape[-1 if step.product.transposed_w else 0]  # type: ignore[attr-defined]
    return prod(step.x.shape) // inner


def _places(step: Linear, groups: int) -> NDArray[np.int64]:
    count = _count(step, groups)
    spread = np.linspace(0, count - 1, min(count, _SPREAD)).astype(np.int64)
    middle = count // 2 + np.arange(min(count, _NEIGHBOURS)) - min(count, _NEIGHBOURS) // 2
    return np.unique(np.concatenate([spread, np.clip(middle, 0, count - 1)]))


def _elements(step: Linear, groups: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of the elements at some positions."""
    numbers = np.arange(1, prod(step.x.shape) + 1, dtype=np.float64).reshape(step.x.shape)
    found, start = [], 0
    assert isinstance(step.product, LinearForm)
    for strip in step.product.patches(numbers, step.w.shape, groups):
        inside = places[(places >= start) & (places < start + strip.shape[1])]
        found.append(strip[:, inside - start].astype(np.int64) - 1)
        start += strip.shape[1]
    return np.concatenate(found, axis=1)


def _outputs(
    step: Linear, groups: int, outputs: int, places: NDArray[np.int64], elements: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the number of the output's element of each group, output and position."""
    group, output = np.arange(groups)[:, None, None], np.arange(outputs)[None, :, None]
    if isinstance(step.product, Convolution | TransposedConvolution):
        plane = prod(step.shape[2:])
        image, pixel = places // plane, places % plane
        return (image * step.shape[1] + group * outputs + output) * plane + pixel
    if isinstance(step.product, ChannelScale):
        return elements.transpose(0, 2, 1)
    return np.broadcast_to(places * outputs + output, (groups, outputs, len(places)))
