"""Sums before an activation: where results wrap, the format of a Relu or Clip must hold what it bounds.

A Relu that is fused into a convolution bounds codes that are already in the word of its result. Where that word wraps,
a sum far below zero has become a large code by then, and the Relu keeps it. So the format holds the smallest and the
largest sum of the data, with any method. Sums in fixed point differ a little from those in float32 that were
observed, and one that wraps costs more than all rounding: there is a margin.
"""

from __future__ import annotations

from collections.abc import Mapping

from qengine.model.graph import Graph
from qengine.model.passes import activations_of
from qengine.model.static_values import known_tensors
from qengine.qformat import FRACTION_BITS, QFormat, largest_scale
from qengine.quantization.calibration.tensors import each_graph

_MARGIN = 1 + 2**-5  # a few steps in a word of 8 bits

Range = tuple[float, float]
"""The smallest and the largest value."""


def before_activations(model: Graph, optimized: Graph) -> dict[str, str]:
    """Return what fused activations bound, by the name of their result, in the graphs of nodes too.

    Parameters
    ----------
    model, optimized
        The graph before and after the passes.
    """
    return {
        name: node.inputs[0]
        for graph, after, _ in each_graph(model, optimized, known_tensors(model))
        for name, node in activations_of(graph, after).items()
    }


class Sums:
    """The ranges before activations, by the number of the group whose format must hold them.

    Parameters
    ----------
    ranges
        Range before each activation, by the name of its result.
    place
        Number of the group of each activation.
    headroom
        Factor by which later sums may exceed those of the data.
    """

    def __init__(self, ranges: Mapping[str, Range], place: Mapping[str, int], headroom: float) -> None:
        self._factor = _MARGIN * headroom
        self._ranges: dict[int, Range] = {}
        self._cut: dict[int, tuple[str, QFormat, int]] = {}
        self._names: dict[int, str] = {}
        for name, (least, most) in ranges.items():
            if name in place:
                known = self._ranges.get(place[name], (0.0, 0.0))
                self._ranges[place[name]] = min(least, known[0]), max(most, known[1])
                self._names.setdefault(place[name], name)

    def held_by(self, place: int, fmt: QFormat) -> QFormat:
        """Return the format of a group with as few fraction bits as it must have for its sums to fit."""
        self._cut.pop(place, None)
        least, most = (limit * self._factor for limit in self._ranges.get(place, (0.0, 0.0)))
        if least == most:
            return fmt
        n = max(largest_scale(least, most, fmt.bits), FRACTION_BITS[0])
        if n >= fmt.fraction_bits:
            return fmt
        self._cut[place] = self._names[place], fmt, fmt.fraction_bits - n
        return fmt.with_fraction_bits(n)

    def wanted(self, place: int, fmt: QFormat) -> QFormat:
        """Return the format that a group would have if its sums were no matter; the given one where they are none."""
        return self._cut[place][1] if place in self._cut else fmt

    def notes(self) -> list[str]:
        """Return a note on the formats that have more integer bits."""
        if not self._cut:
            return []
        first = ", ".join(f"'{name}' by {count}" for name, _, count in list(self._cut.values())[:3])
        more = f" and {len(self._cut) - 3} more" if len(self._cut) > 3 else ""
        return [f"more integer bits: {first}{more}; results wrap, so what a Relu or Clip bounds must fit too"]


def missing_note(model: Graph, optimized: Graph, ranges: Mapping[str, Range], place: Mapping[str, int]) -> list[str]:
    """Return a note on activations for which there is no range before them."""
    missing = [name for name in before_activations(model, optimized) if name in place and name not in ranges]
    if not missing:
        return []
    more = f" and {len(missing) - 1} more" if missing[1:] else ""
    return [f"results wrap, and the sums before '{missing[0]}'{more} were not observed: give more data, or headroom"]


__all__ = ["Range", "Sums", "before_activations", "missing_note"]
