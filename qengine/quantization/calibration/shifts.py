"""Shifts: fraction bits within the shifts that a target has after the sums of linear operators.

Sums have n_x + n_w fraction bits, and a result with n_y of them is shifted right by n_x + n_w - n_y. A device that only
shifts right cannot give a result more fraction bits than its sums have. So results are made coarser, one operator
after the other, as each is the operand of the next; their weights may then be finer where a bias limited them. A
device whose shift has an upper bound gets coarser weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from qengine.model.formats.constants import NO_LIMIT
from qengine.model.graph import Graph
from qengine.model.ops.operator import find
from qengine.model.steps import Linear
from qengine.qformat import Format, QFormat
from qengine.quantization.calibration.joined import graphs_of

_MAX_ROUNDS = 32


class Product(NamedTuple):
    """Names of the operand, the weights and the result of a linear operator, in the model."""

    x: str
    w: str
    y: str


class Limited(Protocol):
    """Formats of activations that can be made coarser."""

    @property
    def formats(self) -> Mapping[str, QFormat]:
        """The formats by tensor."""

    def limit(self, name: str, fraction_bits: int) -> bool:
        """Give a tensor no more than some fraction bits; return whether that changed anything."""


def products_of(optimized: Graph) -> tuple[Product, ...]:
    """Return the linear operators of a graph after the passes, and of those inside of its nodes."""
    found = []
    for graph in graphs_of(optimized):
        for node in graph.nodes:
            if Linear in find(node).kinds and len(node.inputs) > 1 and node.outputs:
                x, w = (graph.derived.get(name, name) for name in node.inputs[:2])
                found.append(Product(x, w, node.outputs[0]))
    return tuple(found)


def least_fraction_bits(fmt: Format | None) -> int | None:
    """Return the fewest fraction bits of the channels of a format; None for no format."""
    if fmt is None:
        return None
    return fmt.fraction_bits if isinstance(fmt, QFormat) else min(one.fraction_bits for one in fmt.formats)


def limit_results(
    products: tuple[Product, ...], activations: Limited, constants: Callable[[], Mapping[str, Format]], least: int
) -> None:
    """Make results coarser until no sum is shifted by less than `least`.

    Parameters
    ----------
    products
        Linear operators of the model.
    activations
        Formats of activations, which are changed.
    constants
        Function that returns the formats of the constants for these activations.
    least
        Least shift to the right.
    """
    for _ in range(_MAX_ROUNDS):
        weights, is_changed = constants(), False
        for one in products:
            formats: Mapping[str, Format] = {**weights, **activations.formats}
            n_x, n_w = (least_fraction_bits(formats.get(name)) for name in (one.x, one.w))
            y = activations.formats.get(one.y)
            if n_x is not None and n_w is not None and y is not None and y.fraction_bits > n_x + n_w - least:
                is_changed |= activations.limit(one.y, n_x + n_w - least)
        if not is_changed:
            return


def weight_limits(products: tuple[Product, ...], activations: Mapping[str, QFormat], most: int) -> dict[str, int]:
    """Return the most fraction bits of weights with which no sum is shifted by more than `most`."""
    found: dict[str, int] = {}
    for x, w, y in products:
        if x in activations and y in activations:
            limit = activations[y].fraction_bits - activations[x].fraction_bits + most
            found[w] = min(found.get(w, NO_LIMIT), limit)
    return found
