"""Word lengths of the outputs of a model.

An output is real numbers for whoever reads it, and most outputs are small. So its word may be longer than those of the
tensors that the next layer reads. By default (`AUTO`) it has 16 bits where a part or a channel of it would *lose its
signal*: its largest magnitude is less than 4 steps of the format, and a 32nd or less of the largest magnitude of all
that shares the format. Channels that one function bounds alike, as a Sigmoid does, lose nothing: a score that stays
near 0 in the data is near 0.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find
from qengine.qformat import QFormat
from qengine.quantization.calibration.channels import FACTOR
from qengine.quantization.calibration.histogram import Histogram

WIDE = 16
"""Word length of an output that would lose its signal."""

STEPS = 4
"""A range of fewer steps of its format has lost its signal."""

_BOUNDED = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "LogSoftmax", "Tanh"})


def has_lost(range_: float, whole: float, fmt: QFormat) -> bool:
    """Whether values up to `range_` lose their signal in a format that was chosen for values up to `whole`."""
    return 0 < range_ < STEPS * fmt.step and range_ * FACTOR <= whole


def lost_channels(most: NDArray[np.float64], fmt: QFormat) -> NDArray[np.int64]:
    """Return the channels that lose their signal in a format, by the largest magnitude of each."""
    return np.flatnonzero((most > 0) & (most < STEPS * fmt.step) & (most * FACTOR <= most.max(initial=0)))


def listed(channels: NDArray[np.int64], count: int) -> str:
    """Return the numbers of some of `count` channels as text: runs of them, of many the first few."""
    ends = np.flatnonzero(np.diff(channels) != 1)
    starts = channels[np.concatenate([[0], ends + 1])].tolist()
    stops = channels[np.concatenate([ends, [len(channels) - 1]])].tolist()
    runs = [str(a) if a == b else f"{a}..{b}" for a, b in zip(starts, stops, strict=True)]
    word = "channel" if len(channels) == 1 else "channels"
    return f"{word} {', '.join(runs[:3])}{', ...' if runs[3:] else ''} of {count}"


class Sources:
    """The nodes that compute tensors, looked for through nodes that only move elements."""

    def __init__(self, graph: Graph) -> None:
        self._producers: Mapping[str, Node] = graph.producers()

    def is_bounded(self, name: str) -> bool:
        """Whether one function bounds all channels of a tensor alike."""
        while (node := self._producers.get(name)) is not None:
            if node.operator in _BOUNDED and not node.domain:
                return True
            if node.operator == "Concat" and not node.domain:
                return all(self.is_bounded(part) for part in node.inputs)
            if not node.inputs or not find(node).preserves_format(node):
                return False
            name = node.inputs[0]
        return False

    def named(self, name: str, names: Container[str]) -> str | None:
        """Return the tensor of some names that a tensor is, but for its order; None where it is none of them."""
        while name not in names:
            node = self._producers.get(name)
            if node is None or not node.inputs or not find(node).preserves_format(node):
                return None
            name = node.inputs[0]
        return name


def largest(histogram: Histogram) -> float:
    """Return the largest finite magnitude of a histogram; 0 where it has none."""
    return max(abs(histogram.least), abs(histogram.most)) if histogram.finite else 0.0
