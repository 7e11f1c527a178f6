"""A network as plain frozen data: nodes in the order in which they run, constants, names. No protobuf."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, QEngineError, UnsupportedError, first_line
from qengine.qformat import Format

Dim = int | str | None
"""An axis' length: known, symbolic, or unknown."""

Attribute: TypeAlias = (
    "int | float | str | NDArray[Any] | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Graph | Foreign"
)

RUNS_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")
"""The operators that run the graphs in their attributes."""

_Number = TypeVar("_Number", int, float)

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Foreign:
    """An attribute of a kind that only onnx itself understands: its bytes in a model file."""

    data: bytes


@dataclass(frozen=True)
class Value:
    """What is known of a tensor before a run.

    Attributes
    ----------
    name : the model's own name.
    dtype : element type, None where the model leaves it open.
    shape : lengths of the axes, None where even their number is open.
    container : of what is no tensor, its type as ONNX Runtime spells it, such as "seq(tensor(float))".
    """

    name: str
    dtype: np.dtype[Any] | None = None
    shape: tuple[Dim, ...] | None = None
    container: str | None = None


@dataclass(frozen=True)
class Activation:
    """A Relu or Clip that was fused into the node before it: the bounds, None where there is none."""

    low: float | None
    high: float | None


NO_ACTIVATION = Activation(None, None)


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes
    ----------
    operator, domain : what it computes; the domain of ONNX itself is "".
    version : the opset of the domain that the model imports.
    inputs, outputs : tensor names; "" is an optional one that is left out.
    attributes : by ONNX's names.
    name : the model's name of the node, may be "".
    activation : set by the fusion pass only.
    captures : tensors around the node that the graphs in its attributes read.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: _NOTHING)
    name: str = ""
    domain: str = ""
    version: int = 1
    activation: Activation | None = None
    captures: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors that must exist before the node runs."""
        return (*filter(None, self.inputs), *self.captures)

    @property
    def graphs(self) -> dict[str, "Graph"]:
        """The graphs in its attributes, by attribute."""
        return {name: held for name, held in self.attributes.items() if isinstance(held, Graph)}

    def __str__(self) -> str:
        kind = f"{self.domain}.{self.operator}" if self.domain else self.operator
        label = self.name or next((name for name in self.outputs if name), "")
        return f"node '{label}' ({kind})"

    def number(self, attribute: str, default: _Number) -> _Number:
        """Return a numeric attribute, `default` where it is left out.

        Raises
        ------
        ModelError
            If it is of another type than the default.
        """
        value = self.attributes.get(attribute, default)
        if not isinstance(value, type(default)):
            raise ModelError(f"{self}: attribute '{attribute}' has the wrong type: {value!r}")
        return value

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Name the node in every error that the enclosed computation ends in.

        Infinities and NaN are results like any other, and no warning is given of them. NumPy finds what does not
        go together and what does not fit into memory; its words are good enough once the node is named.
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


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes
    ----------
    name : of the model.
    inputs : tensors that a run must be fed.
    overridable : tensors with a default in `constants` that a run may feed instead.
    outputs : tensors that a run answers with.
    nodes : in an order in which every input exists before it is read.
    constants : initializers, and what passes computed from them.
    values : what the file says, or can be inferred, of any tensor; also of inputs and outputs.
    derived : for a constant that a pass made, the constant of the model that it stands for.
    formats : of tensors and constants, as a quantized model gives them; None where nobody has looked for any.
    aliases : for a tensor that is gone, the one that has its codes.
    notes : what a user should know of how the model is read.
    stored : for a tensor of integers that are codes, the tensor of the numbers that they stand for.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    values: Mapping[str, Value] = field(default_factory=lambda: _NOTHING)
    overridable: tuple[Value, ...] = ()
    derived: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    formats: Mapping[str, Format] | None = None
    aliases: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    notes: tuple[str, ...] = ()
    stored: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def producers(self) -> dict[str, Node]:
        """Return the node that computes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def readers(self) -> dict[str, list[Node]]:
        """Return the nodes that read each tensor, once per place where they read it."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.reads:
                found.setdefault(name, []).append(node)
        return found

    def read_once(self, *, rounded: bool = False) -> set[str]:
        """Return the tensors that one node reads, in one place, and that are no output of the graph.

        Parameters
        ----------
        rounded
            Those too that a quantized model itself brings to a format: only a rewrite that keeps the format may take
            them away.
        """
        reads = Counter(name for node in self.nodes for name in node.reads)
        reads.update(value.name for value in self.outputs for _ in range(2))
        found = {name for name, count in reads.items() if count == 1}
        return found if rounded else found - (self.formats or {}).keys()

    def fresh_name(self, wanted: str, taken: Container[str] = ()) -> str:
        """Return a name that no tensor of the graph has, and none of `taken`: the wanted one, or that with a number."""
        used, name, count = self.tensors(), wanted, 1
        while name in used or name in taken:
            count += 1
            name = f"{wanted} {count}"
        return name

    def tensors(self) -> set[str]:
        """Return every tensor name that stands for a value."""
        names = {value.name for value in self.inputs} | set(self.constants)
        return names | {name for node in self.nodes for name in node.outputs if name}

    def inner_tensors(self) -> set[str]:
        """Return the names of tensors in the graphs of its nodes, at any depth."""
        inner = [held for node in self.nodes for held in node.graphs.values()]
        return set().union(*(held.tensors() | held.inner_tensors() for held in inner))
