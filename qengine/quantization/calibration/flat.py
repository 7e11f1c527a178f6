"""Tensors that only functions read which are flat far from 0: Sigmoid, Tanh, HardSigmoid, and the gates of an LSTM.

A format that holds the argument 9 of a Tanh wastes its bits: Tanh(3.2) and Tanh(9) are the same code of 8 bits. So
where nothing but such functions reads a tensor, what lies beyond the point from which the result is within half a step
of its limit counts as that point when the least squared error is looked for. In fixed point it saturates there. No such
reader is a function in a chain: what follows it there reads more than a code of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import frexp, log

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find
from qengine.model.passes.hidden_tensors import is_recurrent
from qengine.quantization.calibration.histogram import Histogram
from qengine.quantization.calibration.joined import graphs_of

Flat = Callable[[int], float]
"""The magnitude from which a function is flat, by the word length of its result."""

_GATES = {"LSTM": ("Sigmoid", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_ALPHA, _BETA = 0.2, 0.5  # of a HardSigmoid without attributes


def _tanh(bits: int) -> float:
    """Return the x from which 1 - tanh(x) < 2 e^(-2 x) is at most half of 2^(1 - bits)."""
    return (bits + 1) * log(2) / 2


def _sigmoid(bits: int) -> float:
    """Return the x from which 1 - sigmoid(x) < e^-x is at most half of 2^-bits."""
    return (bits + 1) * log(2)


class FlatReaders:
    """The readers of the tensors of a graph, and of the graphs in its nodes.

    Parameters
    ----------
    graph
        The graph after the passes.
    histograms
        Histograms of tensors by name.
    """

    def __init__(self, graph: Graph, histograms: Mapping[str, Histogram]) -> None:
        self._histograms = histograms
        self._readers: dict[str, list[Node]] = {}
        self._gates: dict[str, Node] = {}
        self._outputs: set[str] = set()
        for one in graphs_of(graph):
            self._outputs.update(value.name for value in one.outputs)
            for name, nodes in one.readers().items():
                self._readers.setdefault(name, []).extend(nodes)
            self._gates |= {node.hidden[1]: node for node in one.nodes if is_recurrent(node) and node.hidden}

    def of(self, names: Iterable[str]) -> tuple[Flat, ...]:
        """Return the functions that read the tensors of a group; () where anything else does."""
        group, found = set(names), []
        for name in group:
            if name in self._outputs:
                return ()
            if name in self._gates:
                found += _of_gates(self._gates[name])
            for node in self._readers.get(name, ()):
                if (flat := self._of_reader(node)) is not None:
                    found.append(flat)
                elif name in node.captures or not group.intersection(node.outputs) or not _moves(node, name):
                    return ()
        return () if None in found else tuple(one for one in found if one is not None)

    def _of_reader(self, node: Node) -> Flat | None:
        if node.domain or (node.attributes and node.operator != "HardSigmoid"):
            return None
        if node.operator == "Tanh":
            return _tanh
        if node.operator == "Sigmoid":
            # Results that are all small have a format of finer steps.
            own = self._histograms.get(node.outputs[0])
            finer = 0 if own is None or own.is_zero else max(0, -frexp(own.most)[1])
            return lambda bits: _sigmoid(bits + finer)
        if node.operator == "HardSigmoid":
            alpha, beta = node.number("alpha", _ALPHA), node.number("beta", _BETA)
            return (lambda _bits: max(abs(beta), abs(1 - beta)) / abs(alpha)) if alpha else None
        return None


def _of_gates(node: Node) -> list[Flat | None]:
    """Return the functions of the gates of a recurrent node; None for one that is not flat."""
    spelled = node.attributes.get("activations") or _GATES[node.operator]
    assert isinstance(spelled, tuple)
    known = {"sigmoid": _sigmoid, "tanh": _tanh}
    return [known.get((one.decode() if isinstance(one, bytes) else str(one)).lower()) for one in spelled]


def _moves(node: Node, name: str) -> bool:
    """Whether a node only moves the elements of a tensor."""
    return bool(node.inputs) and node.inputs[0] == name and find(node).preserves_format(node)
