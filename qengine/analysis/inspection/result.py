"""Result of `inspect_model`: nodes, operators and tensors of a model, and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qengine.analysis.inspection.kinds import Kind
from qengine.model.graph import Dim, Node
from qengine.qformat import Format
from qengine.results import Record, Result


@dataclass(frozen=True)
class NodeInfo:
    """A node of the model file.

    Attributes
    ----------
    name : name of the node, or of its first output.
    operator, domain : type of the operator, or names of all operators of a chain that is computed as one function; the
        domain of ONNX itself is "".
    kind : kind of the node in fixed point; see `qengine.analysis.inspection.MEANINGS`.
    outputs : names of its outputs.
    macs : number of multiply-accumulates in one run; None where shapes are missing.
    within : name of the node whose body contains this node; "" for a node of the model's own graph.
    """

    name: str
    operator: str
    domain: str
    kind: Kind
    outputs: tuple[str, ...]
    macs: int | None
    within: str

    def __str__(self) -> str:
        return str(Node(self.operator, (), self.outputs, name=self.name, domain=self.domain))


@dataclass(frozen=True)
class OperatorInfo:
    """All nodes of one operator and one kind: their number and their multiply-accumulates."""

    operator: str
    domain: str
    kind: Kind
    count: int
    macs: int | None


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the model file.

    Attributes
    ----------
    name : name in the model.
    computed_by : type of the operator that computes it, "input" or "constant".
    dtype : NumPy name of its type; None where the model does not give it.
    shape : lengths of its axes, with a name or None for an unknown length; None where even the rank is unknown.
    format : format in fixed point; None for a tensor that is never quantized, and in float32.
    """

    name: str
    computed_by: str
    dtype: str | None
    shape: tuple[Dim, ...] | None
    format: Format | None


@dataclass(frozen=True, repr=False)
class Inspection(Result):
    """Result of `inspect_model`.

    Attributes
    ----------
    name : name of the model's graph.
    opsets : opset version by domain, for the domains of its nodes.
    inputs, outputs : inputs and outputs of the model.
    operators : operators by number of nodes, the most frequent first.
    nodes : nodes in the order of a run; the nodes of a body follow the node that contains it.
    tensors : inputs, constants, and outputs of nodes.
    parameters, parameter_bytes : number of elements of the constants that operators compute with, and their size in
        the model file.
    macs : number of multiply-accumulates in one run, without bodies of control flow; None where shapes are missing.
    in_fixed_point : whether formats were given, or the model is a quantized one with formats of its own.
    warnings : problems that a run would have, and missing information, one line each.
    """

    name: str
    opsets: Mapping[str, int]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    nodes: tuple[NodeInfo, ...]
    tensors: tuple[TensorInfo, ...]
    parameters: int
    parameter_bytes: int
    macs: int | None
    in_fixed_point: bool
    warnings: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The result in one line."""
        macs = "unknown multiply-accumulates" if self.macs is None else f"{self.macs:,} multiply-accumulates"
        nodes = "1 node" if len(self.nodes) == 1 else f"{len(self.nodes):,} nodes"
        return f"{self.name or 'a model'}: {nodes}, {self.parameters:,} parameters, {macs}"

    def records(self) -> list[Record]:
        """Return a row for each node."""
        return [dict(vars(one)) for one in self.nodes]

    def of_kind(self, kind: Kind) -> tuple[NodeInfo, ...]:
        """Return the nodes of a kind."""
        return tuple(node for node in self.nodes if node.kind == kind)
