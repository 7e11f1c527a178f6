"""Tensors of a model that have a format: groups of activations that share one, and constants.

A format cannot be chosen tensor by tensor. Operators that only move elements (Reshape, MaxPool, Slice, ...) or cut
them off (Relu, Clip) give codes of the format that they read, so that the tensors around them form a *group* with one
format. `quantized_tensors` joins names into groups by union-find (Tarjan, "Efficiency of a Good But Not Linear Set
Union Algorithm", J. ACM 22(2), 1975): every name is a node of a forest, a group is a tree, and to join two names is to
hang one root under the other. Constants have formats of their own, unless their elements are looked up (Gather on a
table): then they belong to the group of the result.

Formats are named by the model's own tensors, but a run computes the graph after the passes; both are read here. Graphs
inside of nodes (If, Loop, Scan) count like the model itself, with what they capture as further inputs and constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.formats.constants import Readers, biases_of, finite, nan_error, readers_of
from qengine.model.formats.groups import format_groups, is_real
from qengine.model.formats.parts import joins_in_parts
from qengine.model.graph import Graph, Value
from qengine.model.ops.operator import Role, find
from qengine.model.passes import optimize
from qengine.model.static_values import known_tensors, real_inner_data, value_inputs
from qengine.qformat import QFormat
from qengine.quantization.calibration.signs import never_negative
from qengine.quantization.calibration.ties import Ties

_QUANTIZED = (Role.DATA, Role.WEIGHTS)
_NO_TIES = Ties()


@dataclass(frozen=True)
class Constant:
    """Constant that a run quantizes.

    Attributes
    ----------
    values : arrays that the passes computed from the constant and operators read; finite.
    axis : axis that counts output channels; None where there is none.
    places : operators that read the arrays, with all constants of the graph that they are in; for each such graph.
    """

    values: tuple[NDArray[np.floating], ...]
    axis: int | None
    places: tuple[tuple[Readers, Mapping[str, NDArray[Any]]], ...]

    @property
    def channels(self) -> int:
        """The number of output channels; 1 where no axis counts them."""
        return 1 if self.axis is None else self.values[0].shape[self.axis]

    @property
    def holds_infinity(self) -> bool:
        """Whether what operators read holds an infinity, as a mask does."""
        return any(readers.holds_infinity(constants) for readers, constants in self.places)

    def merged(self, other: Constant) -> Constant:
        """Return the constant as two graphs read it, which may have folded other factors into it."""
        channels = [None if one.axis is None else (one.axis, one.channels) for one in (self, other)]
        axis = self.axis if channels[0] == channels[1] else None
        return Constant((*self.values, *other.values), axis, (*self.places, *other.places))

    def max_fraction_bits(self, activations: Mapping[str, QFormat], bits: int) -> NDArray[np.int64]:
        """Return for each channel the largest number of fraction bits that all readers allow in a word length."""
        found = [one.max_fraction_bits(activations, constants, self.channels, bits) for one, constants in self.places]
        least: NDArray[np.int64] = np.array(found, np.int64).min(axis=0)
        return least

    def rows(self) -> NDArray[np.floating]:
        """Return the values, (channels, number of values of a channel); one row where no axis counts channels."""
        if self.axis is None:
            return np.concatenate([value.ravel() for value in self.values])[None]
        rows = [np.moveaxis(v, self.axis, 0).reshape(self.channels, -1) for v in self.values]
        return np.concatenate(rows, axis=1)


@dataclass(frozen=True)
class QuantizedTensors:
    """The tensors that a run in fixed point quantizes, by the model's own names.

    Attributes
    ----------
    order : names of the tensors of a formats file in the order of the model, constants before the first operator that
        reads them.
    groups : names of the activations that share one format, group by group, in the same order; with those that a pass
        added.
    constants : constants that are in no group.
    tables : values of the constants that are in a group: a Gather looks up elements of them, or they are tied.
    never_negative : activations that are never negative, for any inputs.
    real_activations : activations that the model declares as floating-point numbers.
    joins : parts of the joined tensors that have a format for each part, by name.
    """

    order: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    constants: Mapping[str, Constant]
    tables: Mapping[str, NDArray[Any]]
    never_negative: frozenset[str]
    real_activations: frozenset[str]
    joins: Mapping[str, tuple[str, ...]]


def quantized_tensors(model: Graph, optimized: Graph, tied: Ties = _NO_TIES) -> QuantizedTensors:
    """Return the tensors that a run of a model in fixed point quantizes.

    Parameters
    ----------
    model, optimized
        The graph before and after the passes.
    tied
        Operators around which tensors share a format; a constant among them counts as a table.
    """
    known_before = known_tensors(model)
    joins = {} if tied.whole_concats else joins_in_parts(model, known_before)
    order: dict[str, None] = {}
    union, ties = _UnionFind(), list[list[str]]()
    constants: dict[str, Constant] = {}
    tables: dict[str, NDArray[Any]] = {}
    never, real = set[str](), set[str]()
    for graph, after, known in each_graph(model, optimized, known_before):
        groups = format_groups(graph, known)
        if graph is model:
            groups = {name: group for name, group in groups.items() if name not in joins}
        for name, group in groups.items():
            for member in group.members:
                union.join(name, member)
        for names in tied.of(after):
            own = {after.derived.get(name, name): after.constants[name] for name in names if name in after.constants}
            own = {name: array for name, array in own.items() if array.dtype.kind == "f" and name not in groups}
            if computed := [name for name in names if name in groups]:
                tables |= {name: finite(array) for name, array in own.items()}
                ties.append([*computed, *own])
        tables |= {name: graph.constants[name] for name in groups if name in graph.constants}
        for name, constant in _constants(graph, after, known, groups).items():
            constants[name] = constants[name].merged(constant) if name in constants else constant
        never |= never_negative(after)
        real |= {name for name in groups if is_real(name, graph)}
        order |= dict.fromkeys(value.name for value in graph.inputs)
        for node in graph.nodes:
            order |= dict.fromkeys(name for name in (*node.inputs, *node.outputs) if name)
    constants = {name: constant for name, constant in constants.items() if name not in tables}
    found = [name for name in order if name in union.parents or name in constants or name in joins or name in tables]
    # Tensors that a pass added are in no formats file, unless nothing else stands for them in a run.
    hidden = {n for group in union.groups(found) if not model.added.issuperset(group) for n in group} & model.added
    for names in ties:
        for name in names[1:]:
            union.join(names[0], name)
    shared = union.groups(found)
    named = [name for name in found if name not in hidden]
    parts = {name: node.inputs for name, node in joins.items()}
    return QuantizedTensors(tuple(named), shared, constants, tables, frozenset(never), frozenset(real), parts)


class _UnionFind:
    """Forest of names in which each tree is a group."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}

    def find(self, name: str) -> str:
        """Return the root of the tree of a name; a new name is a tree of its own."""
        self.parents.setdefault(name, name)
        while self.parents[name] != name:
            self.parents[name] = self.parents[self.parents[name]]
            name = self.parents[name]
        return name

    def join(self, a: str, b: str) -> None:
        """Make one group of the groups of two names."""
        self.parents[self.find(b)] = self.find(a)

    def groups(self, order: list[str]) -> tuple[tuple[str, ...], ...]:
        """Return the groups, and the names in each, in a given order."""
        by_root: dict[str, list[str]] = {}
        for name in order:
            if name in self.parents:
                by_root.setdefault(self.find(name), []).append(name)
        return tuple(map(tuple, by_root.values()))


def each_graph(model: Graph, optimized: Graph, known: frozenset[str]) -> Iterator[tuple[Graph, Graph, frozenset[str]]]:
    """Yield a graph and the graphs inside of its nodes at any depth, each before and after the passes.

    The third item has the tensors of the graph that are known before a run.
    """
    yield model, optimized, known
    for node in optimized.nodes:
        for graph in node.graphs.values():
            captured = {name: optimized.constants[name] for name in node.captures if name in optimized.constants}
            inputs = {value.name: value for value in graph.inputs}
            declared = {**optimized.values, **{value.name: value for value in optimized.inputs}}
            inputs |= {n: declared.get(n, Value(n)) for n in node.captures if n not in captured}
            closed = replace(
                graph,
                inputs=tuple(inputs.values()),
                constants={**captured, **graph.constants},
                values={**{n: declared[n] for n in node.captures if n in declared}, **graph.values},
                fuses=optimized.fuses,
            )
            decide = value_inputs(closed) - real_inner_data(graph, closed.inputs)
            inside = known_tensors(closed, decide | (known & set(node.captures)))
            yield from each_graph(closed, optimize(closed)[-1], inside)


def _constants(model: Graph, optimized: Graph, known: frozenset[str], groups: Mapping[str, Any]) -> dict[str, Constant]:
    """Return the constants in no group that operators of a run quantize, by the model's own names."""
    named = {name for node in model.nodes for name, role in find(node).roles(node) if role in _QUANTIZED}
    constants = {}
    every = readers_of(optimized, known)
    for name, copies in biases_of(optimized, known, every).items():
        # A run finds no code for these either; the node that reads one may be what became of a BatchNormalization.
        if any(np.isnan(optimized.constants[copy]).any() for copy in copies):
            raise nan_error(name, ())
    for name, readers in every.items():
        arrays = [optimized.constants[n] for n in sorted(readers.names) if n in optimized.constants]
        arrays = [array for array in arrays if array.dtype.kind == "f"]
        if not arrays or name in groups or name not in named:
            continue
        if any(np.isnan(array).any() for array in arrays):
            raise nan_error(name, readers.places)
        axis = readers.channel_axis(arrays[0])
        if axis is not None and any(a.ndim <= axis or a.shape[axis] != arrays[0].shape[axis] for a in arrays):
            axis = None  # a scalar that was folded into factors of several lengths
        is_short = all(array.dtype.itemsize <= np.dtype(np.float32).itemsize for array in arrays)
        dtype: Any = np.float32 if is_short else np.float64
        values = tuple(finite(array).astype(dtype) for array in arrays)
        constants[name] = Constant(values, axis, ((readers, optimized.constants),))
    return constants
