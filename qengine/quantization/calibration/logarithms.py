"""Notes on logarithms of values that a format holds in a few steps: no format of that word length can do better.

A format has one step for all values, so that the relative error of a value v is about step / v, and that is the
absolute error of its logarithm. Values that range over several powers of ten need a word of that many more bits: a
spectrum of powers, squares of amplitudes, ranges twice as far as the amplitudes do. What would help is another model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from qengine.model.graph import Graph, Node
from qengine.qformat import QFormat
from qengine.quantization.calibration.activations import Groups
from qengine.quantization.calibration.histogram import Histogram

_ENOUGH_DB = {True: 50.0, False: 20.0}
"""Least SQNR of a logarithm that needs no note: in words of 16 bits, and in shorter ones."""

_LIMITS = ("Max", "Clip", "Add")
_SUMS = ("MatMul", "Conv", "Gemm", "Mul", "Div", "Add", "Max", "Clip", "ReduceSum", "ReduceMean")
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice")
_LONG = 16


def logarithm_notes(groups: Groups, formats: Mapping[str, QFormat]) -> list[str]:
    """Return a note on each logarithm of values that their format holds in a few steps."""
    graph = groups.observation.model
    notes = []
    for one, node in _logarithms(graph):
        names, least = _operands(node, one)
        name = next((n for n in names if n in formats and n in groups.observation.histograms), None)
        if name is None:
            continue
        fmt = formats[name]
        sqnr = _sqnr_db(groups.observation.histograms[name], least, fmt)
        is_long = fmt.bits >= _LONG
        if sqnr >= _ENOUGH_DB[is_long]:
            continue
        squared = _squared(names[-1], one)
        cause = f", sums of squares of '{squared}'" if squared else ""
        remedies = [] if is_long else [f"give it {_LONG} bits"]
        remedies += ["take the logarithm of magnitudes instead of squares"] if squared else []
        remedies.append("compute this part in float32, outside of the model")
        notes.append(
            f"{node} reads '{name}'{cause}: of steps of {fmt.step:.2g} in {fmt} a logarithm has about {sqnr:.0f} dB; "
            f"{', or '.join(remedies)}"
        )
    return notes


def _logarithms(graph: Graph) -> Iterator[tuple[Graph, Node]]:
    for node in graph.nodes:
        if node.operator == "Log" and not node.domain:
            yield graph, node
        for inner in node.graphs.values():
            yield from _logarithms(inner)


def _operands(node: Node, graph: Graph) -> tuple[list[str], float]:
    """Return the tensors that a logarithm reads through limits, and the least value that these let pass."""
    producers, name, least = graph.producers(), node.inputs[0], 0.0
    names = [name]
    while (before := producers.get(name)) is not None and before.operator in _LIMITS:
        limited, limits = before.inputs[:1], before.inputs[1:2]  # of a Clip the lower limit
        if before.operator != "Clip" and limited[0] in graph.constants:
            limited, limits = limits, limited
        limit = graph.constants.get(limits[0]) if limits else None
        if limit is None or limit.size != 1 or limit.dtype.kind != "f" or limited[0] in graph.constants:
            break
        least, name = max(least, float(limit.item())), limited[0]
        names.append(name)
    return names, least


def _sqnr_db(histogram: Histogram, least: float, fmt: QFormat) -> float:
    """Return about the SQNR of the logarithms of the positive values in a format; no value counts as below `least`."""
    signal = noise = 0.0
    for exponent, (count, _) in histogram.octaves().items():
        value = max(float(np.ldexp(1.5, exponent)), least)
        signal += count * np.log(value) ** 2
        if value < fmt.step / 2:
            noise += count * np.log(value / (least or 1.0)) ** 2  # the logarithm of 0 is 0
        elif value > least:
            noise += count * (fmt.step / value) ** 2 / 12
    return 10 * float(np.log10(signal / noise)) if noise and signal else np.inf


def _squared(name: str, graph: Graph) -> str | None:
    """Return the tensor whose squares a tensor sums up; None where it does not."""
    producers = graph.producers()
    while (node := producers.get(name)) is not None:
        if node.operator == "ReduceSumSquare" or (node.operator == "Mul" and node.inputs[0] == node.inputs[1]):
            return node.inputs[0]
        if node.operator == "Pow" and (power := graph.constants.get(node.inputs[1])) is not None:
            return node.inputs[0] if power.size == 1 and power.item() == 2 else None
        following = [n for n in node.inputs if n and n not in graph.constants]
        if node.operator not in (*_SUMS, *_MOVES) or not following:
            return None
        name = following[0]
    return None
