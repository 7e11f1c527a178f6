"""Folding of constant factors and addends, and of BatchNormalization, into adjacent linear operators.

A node that computes x * scale + shift with constants (`affine_terms`) goes into the linear operator that computes x:
the weights of each output channel are multiplied, and the shift is added to the bias. If there is none, it goes into
the linear operator that reads its result: a factor always may, an addend only where that operator pads nothing.
`linear_weights` has the arithmetic. Both need constant weights, and the tensor in between must have no other reader.

All is computed in float64, for as many nodes as follow each other, and rounded once to the element type of the weights.
A BatchNormalization that goes into no operator becomes a linear operator of its own, ScaleShift. So does the first of a
run of several nodes that are left (`affine_runs`), or a RowScaleShift, and the others of the run go into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.model.passes.affine_runs import first_of_runs
from qengine.model.passes.affine_terms import Affine, Reals, affine_of
from qengine.model.passes.linear_weights import LinearWeights, NoFold, linear_weights
from qengine.model.passes.row_recognition import spelled_nodes

_LARGE_ADDEND = 1 << 13
_LARGEST_RATIO = 1 << 14
"""An addend larger than both, the second relative to the sum of the weights of a filter, stands for infinity, as in a
mask: in fixed point such a bias leaves no fraction bits to the weights."""


def fold_affine(graph: Graph, *, merge: bool = True) -> Graph:
    """Fold constant factors and addends into linear operators, in float64, and round the result once.

    Operators that are a part of a function, a Softmax or a normalization in several operators are left to it.

    Parameters
    ----------
    graph
        The graph to rewrite.
    merge
        Whether anything may go into other operators; otherwise every BatchNormalization with constant statistics
        becomes a linear operator of its own, and nothing else changes.
    """
    return _Folding(graph, merge).folded()


def join_affine(graph: Graph) -> Graph:
    """Make one linear operator of several constant factors and addends in a row, some of which differ by channel.

    In fixed point each of them would round, and the operator rounds once. The pass is for what `fold_affine` leaves.
    """
    first = first_of_runs(graph)
    return _Folding(graph, first=first).folded() if first else graph


@dataclass
class _Folding:
    """The rewrite of one graph.

    Attributes
    ----------
    graph, merge : see `fold_affine`.
    first : nodes that become a linear operator each, by position, and the name of the operator.
    arrays, derived : constants of the new graph, and what they are derived from.
    exact : constants that were folded before they were rounded.
    nodes : nodes of the new graph, by position in the old one.
    places : position of the node that computes a tensor.
    pending : nodes that did not go into the operator before them, by the name of their output.
    """

    graph: Graph
    merge: bool = True
    first: Mapping[int, tuple[Affine, str]] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(init=False)
    derived: dict[str, str] = field(init=False)
    exact: dict[str, Reals] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    pending: dict[str, Affine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.arrays, self.derived = dict(self.graph.constants), dict(self.graph.derived)
        self.read_once = self.graph.tensors_read_once()
        self.spelled = spelled_nodes(self.graph) if self.merge else set()

    def folded(self) -> Graph:
        """Return the new graph."""
        for i, node in enumerate(self.graph.nodes):
            self.nodes[i] = node
            affine = None if id(node) in self.spelled else affine_of(node, self.arrays)
            if i in self.first:
                self.nodes[i] = self._scale_shift(*self.first[i])
            elif affine is None:
                self._take_in(i)
            elif not (self.merge and self._folds_back(i, affine)):
                self._leave(i, affine)
            self.places.update(dict.fromkeys(node.outputs, i))
        return replace(self.graph, nodes=tuple(self.nodes.values()), constants=self.arrays, derived=self.derived)

    def _leave(self, i: int, affine: Affine) -> None:
        """Keep a node that went into no operator before it, for one after it; a BatchNormalization is rewritten."""
        if affine.by_channel:
            self.nodes[i] = self._scale_shift(affine)
            self._take_in(i)
            _, scale, shift = self.nodes[i].inputs
            affine = replace(affine, x=self.nodes[i].inputs[0], scale=self.exact[scale], shift=self.exact[shift])
        self.pending[affine.y] = affine

    def _folds_back(self, i: int, affine: Affine) -> bool:
        """Fold a node into the linear operator before it; return whether it did."""
        place = self.places.get(affine.x)
        if place is None or affine.x not in self.read_once:
            return False
        linear = linear_weights(self.nodes[place], self.graph, self.arrays)
        if linear is None:
            return False
        try:
            node = self._after(linear, affine)
        except NoFold:
            return False
        del self.nodes[place]
        self.nodes[i] = replace(node, outputs=affine.node.outputs[:1])
        return True

    def _take_in(self, i: int) -> None:
        """Fold the nodes before a linear operator into it, as far as they go."""
        while self.merge:
            node = self.nodes[i]
            affine = next((self.pending[x] for x in node.inputs[:2] if x in self.pending), None)
            if affine is None or affine.y not in self.read_once:
                return
            linear = linear_weights(node, self.graph, self.arrays, source=affine.x)
            if linear is None or linear.source != affine.y:
                return
            try:
                node = self._before(linear, affine)
            except NoFold:
                return
            inputs = tuple(affine.x if name == affine.y else name for name in node.inputs)
            self.nodes[i] = replace(node, inputs=inputs)
            del self.nodes[self.places[affine.y]]

    def _after(self, linear: LinearWeights, affine: Affine) -> Node:
        """Return a linear operator that computes its output times the factors plus the addends."""
        self._check(linear, affine)
        by = {"by_channel": affine.by_channel}
        factors = None if affine.only_adds else linear.after(affine.scale, **by)
        bias = self._bias(linear)
        if bias is not None and factors is not None:
            bias = bias * linear.added(affine.scale, **by)
        if not affine.only_multiplies or (affine.by_channel and bias is None):
            shift = linear.added(affine.shift, **by)
            bias = shift if bias is None else bias + shift
        return self._with(linear, affine, factors, bias)

    def _before(self, linear: LinearWeights, affine: Affine) -> Node:
        """Return a linear operator that reads its input times the factors plus the addends."""
        self._check(linear, affine)
        by = {"by_channel": affine.by_channel}
        factors = None if affine.only_adds else linear.before(affine.scale, **by)
        if affine.only_multiplies:
            return self._with(linear, affine, factors, None)
        bias, shift = self._bias(linear), linear.response(affine.shift, self._exact(linear.weights), **by)
        return self._with(linear, affine, factors, shift if bias is None else bias + shift)

    def _check(self, linear: LinearWeights, affine: Affine) -> None:
        """Raise NoFold where constants are infinite or integers of a quantized model, or their types differ."""
        own = self.arrays[linear.weights].dtype
        if not affine.is_finite or (not affine.by_channel and affine.dtype not in (None, own)):
            raise NoFold
        names = (linear.weights, linear.bias, affine.factor, affine.addend)
        if not affine.only_adds and any(map(self._is_stored, names)):
            raise NoFold
        if not affine.only_multiplies and self._is_stored(linear.bias):
            raise NoFold

    def _is_stored(self, name: str) -> bool:
        """Whether a constant is one of integers that a quantized model stores."""
        return bool(name) and (name in (self.graph.formats or {}) or name in self.graph.stored)

    def _exact(self, name: str) -> Reals:
        exact = self.exact.get(name)
        return self.arrays[name].astype(np.float64) if exact is None else exact

    def _bias(self, linear: LinearWeights) -> Reals | None:
        """Return the bias, or None without one; raise NoFold unless it is a constant that fits the operator."""
        if not linear.bias:
            return None
        array = self.arrays.get(linear.bias)
        if array is None or array.dtype.kind != "f" or not linear.takes_bias(array.shape):
            raise NoFold
        return self._exact(linear.bias)

    def _with(self, linear: LinearWeights, affine: Affine, factors: Reals | None, bias: Reals | None) -> Node:
        """Return the operator with its weights times the factors and with a bias, where these are not None.

        Raises
        ------
        NoFold
            If the numbers do not fit the element type, or the bias leaves nothing of the weights.
        """
        if bias is not None and not linear.may_have_bias:
            raise NoFold
        weights, dtype = self._exact(linear.weights), self.arrays[linear.weights].dtype
        name = linear.weights
        with np.errstate(all="ignore"):
            scaled = weights if factors is None else weights * factors
        _check_range(weights, scaled, bias, dtype, linear.summed)
        if factors is not None:
            name = self._add((linear.weights, affine.factor), affine.y, scaled, dtype)
        return linear.with_constants(name, linear.bias if bias is None else self._new_bias(linear, affine, bias))

    def _new_bias(self, linear: LinearWeights, affine: Affine, bias: Reals) -> str:
        """Return the name of a bias: that of a constant which has its elements, or of a new one."""
        for name in filter(None, (linear.bias, affine.addend)):
            array = self.arrays[name]
            if name not in self.exact and array.shape == bias.shape and np.array_equal(array, bias):
                return name
        sources = (linear.bias, affine.addend, linear.weights)
        return self._add(sources, affine.y, bias, self.arrays[linear.weights].dtype)

    def _add(self, sources: tuple[str, ...], result: str, values: Reals, dtype: np.dtype[Any]) -> str:
        """Add the values that folding gave a constant, the first of the model among `sources`; return their name."""
        known = (name for name in sources if name in self.graph.constants or name in self.derived)
        source = next(known, "")
        name = self.graph.fresh_name(f"{source} with {result}" if source else f"numbers of {result}", self.arrays)
        with np.errstate(over="ignore"):
            self.arrays[name] = np.asarray(values.astype(dtype))
        self.exact[name] = np.asarray(values)
        if source:
            self.derived[name] = self.derived.get(source, source)
        return name

    def _scale_shift(self, affine: Affine, operator: str = "ScaleShift") -> Node:
        """Return a node as a linear operator of its own, its constants in the element type of x."""
        node, values = affine.node, self.graph.values
        declared = values.get(affine.x) or values.get(affine.y)
        # From opset 14 on the constants of a BatchNormalization may have another element type than x.
        dtype = declared.dtype if declared is not None else None
        dtype = dtype or self.graph.constants[affine.factor or affine.addend].dtype
        names = (
            self._add((affine.factor,), affine.y, affine.scale, dtype),
            self._add((affine.addend,), affine.y, affine.shift, dtype),
        )
        return Node(operator, (affine.x, *names), node.outputs[:1], {}, node.name, "qengine", 1)


def _check_range(old: Reals, new: Reals, bias: Reals | None, dtype: np.dtype[Any], filters: tuple[int, ...]) -> None:
    """Raise NoFold where new weights or a new bias do not fit an element type, or a filter loses its digits.

    Parameters
    ----------
    old, new
        Weights before and after.
    bias
        New bias; None for none.
    dtype
        Element type.
    filters
        Axes of the weights along which a filter lies.
    """
    limits = np.finfo(dtype)
    largest, tiny = float(limits.max), float(limits.tiny)
    if not (np.abs(new) <= largest).all():
        raise NoFold
    sizes, before = (np.abs(w).max(axis=filters, initial=0.0) for w in (new, old))
    if ((sizes > 0.0) & (sizes < tiny) & (before >= tiny)).any():
        raise NoFold
    if bias is not None:
        sums = float(np.abs(new).sum(axis=filters).max(initial=0.0))
        if not np.abs(bias).max(initial=0.0) <= min(largest, max(_LARGE_ADDEND, _LARGEST_RATIO * sums)):
            raise NoFold
