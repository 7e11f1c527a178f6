"""A model as frozen data without protobuf: nodes in an order in which they can run, constants, named values."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, QEngineError, UnsupportedError, first_line, printable
from qengine.model.rules import Modes
from qengine.qformat import Format

Dim = int | str | None
"""Length of an axis: a number, a symbol such as "N", or None where it is unknown."""

Attribute: TypeAlias = (
    "int | float | str | NDArray[Any] | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]"
    " | Graph | OpaqueAttribute | Chain"
)

RUNS_GRAPHS = ("If", "Loop", "Scan", "SequenceMap", "FlexAttention")
"""Operators that run the graphs in their attributes."""

_Number = TypeVar("_Number", int, float)

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class OpaqueAttribute:
    """An attribute that only onnx reads: a type, or a graph in a node that does not run it.

    Attributes
    ----------
    data : the serialized AttributeProto.
    """

    data: bytes


@dataclass(frozen=True)
class Chain:
    """Operators that compute one tensor from another one, element by element: a function of one variable.

    Attributes
    ----------
    variable : name of the tensor that the operators read; the last one computes the result.
    nodes : the operators, in an order in which they can run.
    constants : the single numbers that they read.
    """

    variable: str
    nodes: "tuple[Node, ...]"
    constants: Mapping[str, NDArray[Any]]


CHAIN_DOMAIN = "qengine.chain"
"""Domain of nodes that a pass makes of a chain, their attribute "chain"; they are named by its operators."""


@dataclass(frozen=True)
class Value:
    """Name, element type and shape of a tensor, as far as they are known before a run.

    Attributes
    ----------
    name : name in the model.
    dtype : element type; None where the model does not declare it.
    shape : lengths of the axes; None where even the number of axes is unknown.
    container : type of a sequence or optional as ONNX Runtime writes it, such as "seq(tensor(float))"; None for a
        tensor.
    """

    name: str
    dtype: np.dtype[Any] | None = None
    shape: tuple[Dim, ...] | None = None
    container: str | None = None

    def __str__(self) -> str:
        if self.container is not None:
            return f"{self.name} {self.container}"
        lengths = "" if self.shape is None else f" [{', '.join('?' if n is None else str(n) for n in self.shape)}]"
        return f"{self.name}{f' {self.dtype}' if self.dtype is not None else ''}{lengths}"


def whole(shape: tuple[Dim, ...] | None) -> tuple[int, ...] | None:
    """Return a shape if all its lengths are known, else None."""
    lengths = tuple(n for n in shape or () if isinstance(n, int))
    return None if shape is None or len(lengths) < len(shape) else lengths


def of_one_sample(shape: tuple[Dim, ...] | None) -> tuple[int, ...] | None:
    """Return a shape of which only the batch, its first of several lengths, is open, with one sample; else None."""
    rest = whole(shape[1:]) if shape is not None and len(shape) > 1 and not isinstance(shape[0], int) else None
    return None if rest is None else (1, *rest)


@dataclass(frozen=True)
class ActivationBounds:
    """Bounds of a Relu or Clip that is fused into the node before it.

    Attributes
    ----------
    low, high : least and greatest value; None for no bound.
    """

    low: float | None
    high: float | None


NO_ACTIVATION = ActivationBounds(None, None)


HIDDEN_FORMATS = "qengine.formats"
"""Key of the metadata of a node in a file that hold `Node.hidden_formats`, with spaces between them."""

RECORD = "qengine"
"""Key of the object that says which data formats come from, in formats files and in the metadata of a model."""


@dataclass(frozen=True)
class Node:
    """A call of an operator.

    Attributes
    ----------
    operator, domain : ONNX's operator type and its domain; the domain of ONNX itself is "".
    version : opset of the domain that the model imports.
    inputs, outputs : tensor names; "" for an optional one that is left out.
    attributes : attributes by ONNX's names.
    name : name of the node in the model, may be "".
    activation : bounds that the fusion pass adds; None in every other graph.
    captures : tensors of the surrounding graph that the graphs in the node's attributes read.
    hidden : tensors inside of the node that have formats; see `passes.hidden_tensors`.
    hidden_formats : formats of these tensors that a quantized model keeps, as text; () for none.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: _EMPTY)
    name: str = ""
    domain: str = ""
    version: int = 1
    activation: ActivationBounds | None = None
    captures: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    hidden_formats: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors that must exist before the node runs: its inputs and captures."""
        return (*filter(None, self.inputs), *self.captures)

    @cached_property
    def graphs(self) -> dict[str, "Graph"]:
        """The graphs in the node's attributes, by attribute name."""
        return {name: value for name, value in self.attributes.items() if isinstance(value, Graph)}

    def __str__(self) -> str:
        kind = f"{self.domain}.{self.operator}" if self.domain else self.operator
        label = self.name or next((name for name in self.outputs if name), "")
        return f"node '{label}' ({kind})"

    def number(self, attribute: str, default: _Number) -> _Number:
        """Return a numeric attribute, `default` where it is left out.

        Raises
        ------
        ModelError
            If its type is not that of the default.
        """
        value = self.attributes.get(attribute, default)
        if not isinstance(value, type(default)):
            raise ModelError(f"{self}: attribute '{attribute}' has the wrong type: {value!r}")
        return value

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Add the node's name to each error that is raised inside the `with` block.

        ValueError and OverflowError of NumPy (shapes that do not fit) become ModelError, MemoryError becomes
        UnsupportedError. NumPy's warnings about infinities and NaN are disabled: both are ordinary results.
        """
        try:
            with np.errstate(all="ignore"):
                yield
        except QEngineError as error:
            if str(error).startswith("node "):
                raise
            raise error.about(str(self)) from error.__cause__
        except MemoryError:
            raise UnsupportedError(f"{self}: not enough memory") from None
        except (ValueError, OverflowError) as error:
            raise ModelError(f"{self}: {first_line(error)}") from error


class Names:
    """Names of tensors that are taken, for code that adds many; `separator` stands before the number of a new name."""

    def __init__(self, taken: Iterable[str], separator: str = " ") -> None:
        self._taken, self._separator = set(taken), separator
        self._counts: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """Return the wanted name, with a number added if it is taken, and take it."""
        name = wanted
        while name in self._taken:
            self._counts[wanted] = self._counts.get(wanted, 1) + 1
            name = f"{wanted}{self._separator}{self._counts[wanted]}"
        self._taken.add(name)
        return name


@dataclass(frozen=True)
class StoredConstant:
    """Integers and numbers of which a constant was computed by DequantizeLinear: (codes - zero point) * scale.

    Attributes
    ----------
    value : the constant.
    codes : the integers.
    scale, zero_point : number, or numbers for each index of the axis; no zero point is None.
    axis : the axis.
    """

    value: NDArray[Any]
    codes: NDArray[Any]
    scale: NDArray[Any]
    zero_point: NDArray[Any] | None
    axis: int


@dataclass(frozen=True, repr=False)
class Graph:
    """A model, or a graph inside of a node.

    Attributes
    ----------
    name : name of the graph.
    inputs : tensors that a run must be fed.
    overridable : tensors with a default in `constants` that a run may be fed.
    outputs : tensors that a run returns.
    nodes : nodes, sorted so that every tensor is computed before it is read.
    constants : initializers, and arrays that passes computed from them.
    values : declared or inferred type and shape of any tensor, inputs and outputs included.
    derived : name of the model's constant that a constant computed by a pass replaces, by the name of the latter.
    formats : formats of tensors and constants that a quantized model has; None in any other model.
    rules : rounding and overflow of tensors that a quantized model has, where they are not the default.
    aliases : tensor with the same codes, by the name of a tensor that a pass removed.
    notes : remarks for the user on how the model is read.
    decoded : tensor of the real numbers that codes represent, by the name of the integer tensor of codes.
    stored : integers of constants that a pass computed from them, by the name of the constant.
    added : tensors that a pass added, which the model's file does not have.
    whole : tensors that are given one format: a Concat of them is not taken apart.
    unrounded_biases : whether a constant bias that is finer than the sums is added unrounded, as in QONNX and QCDQ.
    fuses : whether passes make one operator of functions and chains in several; see `passes.FUSING`.
    given : formats that the user gives single tensors, by name; see `passes.conversions`.
    metadata : entries of the file's metadata that qengine wrote, such as the data that formats come from.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    values: Mapping[str, Value] = field(default_factory=lambda: _EMPTY)
    overridable: tuple[Value, ...] = ()
    derived: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    formats: Mapping[str, Format] | None = None
    rules: Mapping[str, Modes] = field(default_factory=lambda: _EMPTY)
    aliases: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    notes: tuple[str, ...] = ()
    decoded: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    stored: Mapping[str, StoredConstant] = field(default_factory=lambda: _EMPTY)
    added: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    unrounded_biases: bool = False
    fuses: bool = True
    given: Mapping[str, Format] = field(default_factory=lambda: _EMPTY)
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)

    def __repr__(self) -> str:
        ends = " -> ".join(", ".join(map(str, values)) for values in (self.inputs, self.outputs))
        counts = f"{len(self.nodes):,} nodes, {len(self.constants):,} constants"
        return printable(f"<Graph {self.name or 'without a name'}: {ends}; {counts}>")

    def stored_of(self, name: str) -> StoredConstant | None:
        """Return the integers of a constant; None where it has none, or another array took its place."""
        stored = self.stored.get(name)
        return stored if stored is not None and stored.value is self.constants[name] else None

    def producers(self) -> dict[str, Node]:
        """Return the node that computes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def readers(self) -> dict[str, list[Node]]:
        """Return the nodes that read each tensor; a node that reads it twice is listed twice."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.reads:
                readers.setdefault(name, []).append(node)
        return readers

    def tensors_read_once(self, *, rounded: bool = False) -> set[str]:
        """Return the tensors with exactly one reader, which a rewrite may remove; outputs of the graph are excluded.

        Parameters
        ----------
        rounded
            Whether to include tensors that a quantized model rounds to a format. Only a rewrite that keeps the
            format may remove them.
        """
        reads = Counter(name for node in self.nodes for name in node.reads)
        reads.update(value.name for value in self.outputs for _ in range(2))
        once = {name for name, count in reads.items() if count == 1}
        return once if rounded else once - (self.formats or {}).keys()

    def fresh_name(self, wanted: str, taken: Container[str] = ()) -> str:
        """Return the wanted name, with a number added if a tensor of the graph or one of `taken` has it already."""
        used, name, count = self.tensors(), wanted, 1
        while name in used or name in taken:
            count += 1
            name = f"{wanted} {count}"
        return name

    def tensors(self) -> set[str]:
        """Return the names of all tensors: inputs, constants and outputs of nodes."""
        names = {value.name for value in self.inputs} | set(self.constants)
        return names | {name for node in self.nodes for name in node.outputs if name}

    def inner_tensors(self) -> set[str]:
        """Return the names of all tensors in the graphs of the nodes, at any depth."""
        inner = [graph for node in self.nodes for graph in node.graphs.values()]
        return set().union(*(graph.tensors() | graph.inner_tensors() for graph in inner))
