"""Comparison of runs in fixed point with the float32 runs of the same inputs, tensor by tensor.

Each tensor is reported with its SQNR (signal power over noise power, in dB), the codes that saturated, the values that
underflowed (the code is 0, the value is not), and the top bits of its word that no code used. Losses that these figures
do not show, such as a constant that does not fit its format, become notes. All figures are computed from sums and
counts, which `RunTotals` adds up over any number of runs; the report of a single run is that of a total of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.losses import losses
from qengine.analysis.lost_parts import OutputRanges, lost_in_run
from qengine.analysis.paired_run import ComparedTensor, PairedRun, run_paired
from qengine.kernels.reference.requantize import (
    LARGEST,
    SATURATED,
    TOTAL,
    UNDERFLOWED,
    Tally,
    add_tally,
    new_tally,
)
from qengine.metrics.decibels import Energy
from qengine.model.graph import Node
from qengine.model.steps import Tensor
from qengine.qformat import Format, QFormat
from qengine.runtime.plan.plan import BoundStep
from qengine.runtime.session import InferenceSession


@dataclass(frozen=True)
class TensorReport:
    """Figures of one tensor in a fixed-point run.

    Attributes
    ----------
    name : name of the tensor in the model.
    operator : operator that computed it; "input" for an input.
    kind : kind of the step that computed it; "island" means float32.
    format : format of the tensor.
    saturated : number of codes that saturated, or would have saturated where overflow wraps.
    underflowed : number of values whose code is 0 and that are not 0.
    largest : largest |code|.
    elements : number of codes.
    unused_bits : number of top bits of the word that no code needs.
    sqnr_db : SQNR against the float32 run; see `sqnr`.
    """

    name: str
    operator: str
    kind: str
    format: str
    saturated: int
    underflowed: int
    largest: int
    elements: int
    unused_bits: int
    sqnr_db: float | None


@dataclass
class _TensorTotals:
    """Sums and counts of one tensor over runs."""

    first: ComparedTensor
    tally: Tally = field(default_factory=new_tally)
    energy: Energy = field(default_factory=Energy)
    largest: float = 0.0
    is_comparable: bool = True

    def add(self, one: ComparedTensor) -> None:
        figures = one.figures
        add_tally(self.tally, figures.tally)
        self.largest = max(self.largest, float(np.max(np.abs(figures.sample), initial=0)))
        if figures.noise is None:
            self.is_comparable = False
        else:
            self.energy.add_sums(figures.signal or 0.0, figures.noise)

    def report(self) -> TensorReport:
        tensor, tally = self.first.tensor, self.tally
        assert tensor.format is not None
        return TensorReport(
            name=tensor.name,
            operator=operator_label(self.first.node),
            kind=self.first.kind,
            format=str(tensor.format),
            saturated=int(tally[SATURATED]),
            underflowed=int(tally[UNDERFLOWED]),
            largest=int(tally[LARGEST]),
            elements=int(tally[TOTAL]),
            unused_bits=unused_bits(tensor.format, int(tally[LARGEST])),
            sqnr_db=self.energy.sqnr_db if self.is_comparable else None,
        )


class RunTotals:
    """Figures of runs of one session in fixed point against float32, added up over the runs.

    Parameters
    ----------
    session
        Session in fixed point.
    """

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._tensors: dict[str, _TensorTotals] = {}
        self._outputs: dict[str, OutputRanges] = {}
        self._bound_steps: dict[str, BoundStep] = {}
        self._constants: dict[str, Tensor] = {}
        self._islands: dict[str, None] = {}

    def add(self, run: PairedRun) -> None:
        """Add a run."""
        for one in run.tensors:
            self._tensors.setdefault(one.tensor.name, _TensorTotals(one)).add(one)
        self._bound_steps |= {step.output.name: step for step in run.bound_steps}
        self._constants |= {tensor.name: tensor for tensor in run.constants}
        self._islands |= dict.fromkeys(run.islands)
        for name, output in run.outputs.items():
            fmt = self._tensors[name].first.tensor.format if name in self._tensors else None
            if isinstance(fmt, QFormat):
                self._outputs.setdefault(name, OutputRanges(fmt)).add(output.exact)

    @property
    def tensors(self) -> tuple[TensorReport, ...]:
        """The tensors in fixed point, in the order in which they were computed."""
        return tuple(one.report() for one in self._tensors.values())

    @property
    def islands(self) -> tuple[str, ...]:
        """The nodes that computed in float32."""
        return tuple(self._islands)

    def notes(self) -> tuple[str, ...]:
        """Return what the figures of the tensors do not show."""
        tallies = {name: one.tally for name, one in self._tensors.items()}
        steps = tuple(self._bound_steps.values())
        ranges = {name: one.largest for name, one in self._tensors.items()}
        zeros = [name for name, tally in tallies.items() if tally[UNDERFLOWED] and not tally[LARGEST]]
        return (
            *self._session.notes,
            *_target_notes(self._session),
            *losses(self._constants.values(), steps, tallies),
            *lost_in_run(self._session.graph, steps, ranges, zeros, self._outputs),
        )


@dataclass(frozen=True)
class Comparison:
    """Figures and outputs of a fixed-point run and of the float32 run of the same feeds.

    Attributes
    ----------
    tensors : the tensors in fixed point, in the order in which they were computed.
    outputs, float_outputs : real numbers of the requested tensors, by name, in each of the two runs.
    codes : the outputs as a run with raw=True returns them.
    islands : nodes that computed in float32.
    notes : constants that saturate or underflow, sums that wrapped, and formats that have no effect.
    statistics : values of each float32 activation, for `advise`.
    """

    tensors: tuple[TensorReport, ...]
    outputs: Mapping[str, NDArray[Any]]
    float_outputs: Mapping[str, NDArray[Any]]
    codes: Mapping[str, NDArray[Any]]
    islands: tuple[str, ...]
    notes: tuple[str, ...]
    statistics: Mapping[str, NDArray[np.float64]]


def compare(
    fixed: InferenceSession,
    float32: InferenceSession,
    feeds: Mapping[str, Any],
    names: list[str] | None = None,
) -> Comparison:
    """Run a model in fixed point and in float32, in step, and compare every tensor.

    Parameters
    ----------
    fixed, float32
        Two sessions of one model.
    feeds
        Arrays by input name; see `InferenceSession.run`.
    names
        Tensors to return; None for the model's outputs.

    Raises
    ------
    QEngineError
        If a run fails, or a requested value is not a tensor.
    """
    fixed, float32 = fixed.giving_hidden(), float32.giving_hidden()
    wanted = list(dict.fromkeys(names or (value.name for value in fixed.graph.outputs)))
    run = run_paired(fixed, float32, feeds, wanted)
    totals = RunTotals(fixed)
    totals.add(run)
    return Comparison(
        totals.tensors,
        {name: one.real for name, one in run.outputs.items()},
        {name: one.exact for name, one in run.outputs.items()},
        {name: one.codes for name, one in run.outputs.items()},
        totals.islands,
        totals.notes(),
        {one.tensor.name: one.figures.sample for one in run.tensors},
    )


def unused_bits(fmt: Format, largest: int) -> int:
    """Return the number of top bits of a word that no code needs, given the largest |code|."""
    return max(fmt.bits - fmt.signed - largest.bit_length(), 0)


def operator_label(node: Node | None) -> str:
    """Return the label of the operator that computes a tensor, with a fused activation; "input" without a node."""
    if node is None:
        return "input"
    name = node.operator
    if node.activation is None:
        return name
    plain_relu = node.activation.low == 0.0 and node.activation.high is None
    return f"{name}+{'Relu' if plain_relu else 'Clip'}"


def percent(count: int, total: int) -> str:
    """Return a share in per cent as text: only an exact 0 or 1 is shown as 0% or 100%."""
    if not count or count == total:
        return "100%" if count else "0%"
    share = 100 * count / total
    return "<0.01%" if share < 0.01 else f"{min(share, 99.99):.2f}%"


def _target_notes(fixed: InferenceSession) -> list[str]:
    """Return the notes of `target_notes`, whose module is imported only where a session has a target."""
    if fixed.options.target is None:
        return []
    from qengine.analysis.target_check import target_notes

    return target_notes(fixed)
