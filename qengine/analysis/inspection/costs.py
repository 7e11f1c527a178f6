"""Costs of a model in hardware: memory and arithmetic, as functions of the word lengths of its tensors.

Every cost is a sum of terms; a term is a number times the word lengths of some tensors. A bias of 10 elements in 32
bits is the term 320, weights of 100 elements are 100 x bits(weights), and 900 multiply-accumulates in a convolution are
900 x bits(input) x bits(weights) bit operations. A sweep takes the sum in the formats of a point; a search compares the
sums of many word lengths without running the model.

A cost is one function that returns the terms, with the decorator `cost`. The options --cost of sweep and search, the
columns of a sweep, and the axis of its plot follow from the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from qengine.analysis.inspection.counts import multiply_accumulates
from qengine.errors import OptionError, QEngineError, did_you_mean
from qengine.model.formats.constants import biases_of, readers_of
from qengine.model.ops.operator import NeedsRun, Role, find
from qengine.qformat import Format
from qengine.runtime.session import InferenceSession

FLOAT_BITS = 32
BIAS_BITS = 32  # word length of accumulators, in which biases are held


class Term(NamedTuple):
    """A part of a cost: `factor` times the word length of each of the tensors, which may be named twice."""

    factor: float
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """A session, and the feeds of one run of it.

    Attributes
    ----------
    session : session of the model, in any formats.
    feeds : inputs of a run.
    samples : number of samples in the feeds.
    """

    session: InferenceSession
    feeds: Mapping[str, Any]
    samples: int


Terms = Callable[[Workload], Sequence[Term] | None]
"""Function that returns the terms of a cost; None where shapes are known only in a run."""


@dataclass(frozen=True)
class Cost:
    """Declaration of a cost.

    Attributes
    ----------
    name : word for options and results, such as "weights".
    terms : function that returns the terms.
    label : name in sentences, such as "weight memory".
    unit : unit of figures in tables, such as "bytes".
    divisor : divisor from the sum of the terms to the unit.
    column : name of the column in tables of a sweep, in the unit.
    axis : label on the axis of a plot.
    scale : divisor from the unit to the numbers on the axis.
    synonyms : further words that options accept.
    """

    name: str
    terms: Terms
    label: str
    unit: str
    divisor: int
    column: str
    axis: str
    scale: float
    synonyms: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def terms_or_none(self, work: Workload) -> Sequence[Term] | None:
        """Return the terms, which no format changes; None where shapes are known only in a run."""
        try:
            return self.terms(work)
        except NeedsRun:
            return None

    def total(self, work: Workload) -> float | None:
        """Return the cost in its unit, in the formats of the session; None where shapes are known only in a run."""
        return self.total_of(self.terms_or_none(work), work.session.formats)

    def total_of(self, terms: Sequence[Term] | None, formats: Mapping[str, Format]) -> float | None:
        """Return the sum of terms in formats by tensor, in the unit of the cost; None for no terms."""
        if terms is None:
            return None
        bits = {name: word_length(fmt) for name, fmt in formats.items()}
        return (
            sum(one.factor * prod(bits.get(name, FLOAT_BITS) for name in one.tensors) for one in terms) / self.divisor
        )

    def spelled(self, total: float) -> str:
        """Return a sum of terms as text, such as "1,024 bytes"."""
        return f"{total / self.divisor:,.0f} {self.unit}"


_COSTS: dict[str, Cost] = {}


def cost(
    name: str,
    *,
    label: str,
    unit: str,
    column: str,
    axis: str,
    scale: float,
    divisor: int = 1,
    synonyms: Sequence[str] = (),
) -> Callable[[Terms], Terms]:
    """Return a decorator that declares a function of terms as a cost; see `Cost` for the parameters."""

    def declare(terms: Terms) -> Terms:
        _COSTS[name] = Cost(name, terms, label, unit, divisor, column, axis, scale, tuple(synonyms))
        return terms

    return declare


def all_costs() -> tuple[Cost, ...]:
    """Return every declared cost, in the order of the declarations."""
    return tuple(_COSTS.values())


_COST_WORDS = {
    **dict.fromkeys(("size", "memory", "flash", "model_size", "weight_bits", "parameters", "params"), "weights"),
    **dict.fromkeys(("ram", "activation_memory", "feature_maps"), "activations"),
    **dict.fromkeys(("bops", "macs", "flops", "ops", "compute", "energy"), "bit-operations"),
}
"""Names of others for costs, and the cost that each most probably means."""


def find_cost(name: str) -> Cost:
    """Return the cost of a name or synonym.

    Raises
    ------
    OptionError
        If there is none.
    """
    for one in _COSTS.values():
        if name == one.name or name in one.synonyms:
            return one
    near = did_you_mean(name, _COSTS, _COST_WORDS)
    raise OptionError(f"no cost is named '{name}'{near}; there are {', '.join(_COSTS)}")


def word_length(fmt: Format | None) -> int:
    """Return the word length of a format in bits; that of float32 for no format."""
    if fmt is None:
        return FLOAT_BITS
    return fmt.bits


@cost(
    "weights",
    label="weight memory",
    unit="bytes",
    divisor=8,
    column="weight_bytes",
    axis="Weight memory (KiB)",
    scale=1024.0,
    synonyms=["weight-memory"],
)
def weight_memory(work: Workload) -> list[Term]:
    """Return the bits of the constants that a run computes with, each in its word length.

    A bias has 32 bits, if it has no format of its own.
    Words are packed: three of 5 bits take 15 bits. Constants are those after the passes, each once; those of graphs
    inside of nodes are not counted.
    """
    return [Term(size * BIAS_BITS) if name is None else Term(size, (name,)) for size, name in _constants(work.session)]


@cost(
    "activations",
    label="activation memory",
    unit="bytes",
    divisor=8,
    column="activation_bytes",
    axis="Activation memory per sample (KiB)",
    scale=1024.0,
)
def activation_memory(work: Workload) -> list[Term]:
    """Return the bits of all inputs and activations of one sample.

    Raises
    ------
    NeedsRun
        If the data decides how a run continues.
    """
    plan = work.session.plan(work.session.check_feeds(work.feeds))
    tensors = [*plan.inputs, *(bound_step.output for bound_step in plan.steps)]
    return [Term(prod(tensor.shape) / work.samples, (tensor.name,)) for tensor in tensors if tensor.is_float]


@cost(
    "bit-operations",
    label="bit operations",
    unit="bit operations",
    column="bit_operations",
    axis="Bit operations per sample (10⁹ MAC·bit²)",
    scale=1e9,
    synonyms=["macs"],
)
def bit_operations(work: Workload) -> list[Term] | None:
    """Return the multiply-accumulates of one sample x bits of the input x bits of the weights.

    The sum is over linear operators; an operand in float32 counts with 32 bits. None where shapes are known only in a
    run.
    """
    graph, reference = work.session.graph, work.session.in_float32()
    try:
        outputs = reference.plan(reference.check_feeds(work.feeds), sorted(graph.tensors())).outputs
    except (NeedsRun, QEngineError):
        return None
    shapes = {name: tensor.shape for name, tensor in outputs.items()}
    terms = []
    for node in graph.nodes:
        macs = multiply_accumulates(node, shapes)
        if macs is None:
            return None
        if macs:
            terms.append(Term(macs / work.samples, node.inputs[:2]))
    return terms


def _constants(session: InferenceSession) -> Iterator[tuple[int, str | None]]:
    """Yield the number of elements of every constant, and its name; None for a bias that can have no format."""
    graph, seen = session.optimized, set[str]()
    known = session.network.known
    biases = biases_of(graph, known, readers_of(graph, known))
    for node in graph.nodes:
        for name, role in find(node).roles(node):
            array = graph.constants.get(name)
            if array is None or array.dtype.kind != "f" or role not in (Role.DATA, Role.WEIGHTS, Role.BIAS):
                continue
            if name not in seen:
                seen.add(name)
                own = graph.derived.get(name, name)
                yield array.size, None if role is Role.BIAS and own not in biases else own
