"""Result of `evaluate`: the figures of fixed point and of float32 on all samples of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.report import TensorReport
from qengine.data.preprocessing import Preprocessing
from qengine.errors import printable
from qengine.metrics.declaration import Metric, Reference
from qengine.metrics.tasks import Task
from qengine.metrics.thresholds import Shortfall, Threshold, shortfalls, shown
from qengine.model.formats.files import FormatsByName
from qengine.results import Record, Result, plain


@dataclass(frozen=True)
class MetricFigures:
    """Figures of one metric.

    Attributes
    ----------
    metric : the metric.
    reference : values that the outputs were compared with: the labels, the targets, or the outputs in float32.
    float32 : figure of float32; None where it is the reference, or there is no number.
    fixed : figure of fixed point; None in a float32 run, or where there is no number.
    """

    metric: Metric
    reference: Reference
    float32: float | None
    fixed: float | None

    @property
    def difference(self) -> float | None:
        """The figure of fixed point less that of float32; None where one of them is not a finite number."""
        if self.fixed is None or self.float32 is None or not np.isfinite([self.fixed, self.float32]).all():
            return None
        return self.fixed - self.float32

    def record(self) -> Record:
        """Return the figures by name."""
        return {
            "metric": self.metric.name,
            "unit": str(self.metric.unit),
            "reference": str(self.reference),
            "float32": self.float32,
            "fixed": self.fixed,
            "difference": self.difference,
        }


@dataclass(frozen=True)
class SampleDifference:
    """A sample whose output fixed point changes.

    Attributes
    ----------
    index : place of the sample in the data, from 0.
    name : name of its file; None where the data has none.
    sqnr_db : SQNR in dB of its evaluated output; None where there is no number.
    float32_class, fixed_class : class in float32 and in fixed point; None for other outputs.
    label : true class; None where it is not known.
    """

    index: int
    name: str | None
    sqnr_db: float | None
    float32_class: int | None = None
    fixed_class: int | None = None
    label: int | None = None

    @property
    def flips(self) -> bool:
        """Whether the class in fixed point is another."""
        return self.float32_class != self.fixed_class


@dataclass(frozen=True)
class Confusion:
    """Number of samples of each class that got each class.

    Attributes
    ----------
    reference : meaning of the rows: the labels or, where there are none, the classes in float32.
    fixed : (classes, classes) counts of fixed point, a row for each class of the reference; None in a float32 run.
    float32 : counts of float32; None where it is the reference.
    """

    reference: Reference
    fixed: NDArray[np.int64] | None
    float32: NDArray[np.int64] | None


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """Figures of fixed point and of float32 on all samples of a data set.

    Attributes
    ----------
    model, data : names of the model and of the data.
    task : kind of the evaluated output.
    evaluated_output : name of the output that the metrics are about.
    samples : number of samples.
    in_fixed_point : whether there are figures of fixed point.
    preprocessing : conversion of pixels to numbers; None where no pixels were read.
    metrics : figures of every metric that the data has, in order.
    sqnr_by_output : SQNR in dB of every real-valued output against float32; empty in a float32 run.
    tensors : the tensors in fixed point, in the order in which they were computed; counts and SQNR are those of all
        samples together.
    worst : samples that fixed point changes most: those whose class it makes wrong, those whose class it changes, and
        those with the lowest SQNR.
    classes : names of the classes, in the order of their numbers; () if they are unknown.
    flips : number of samples whose class fixed point changes; None for other tasks.
    confusion : counts of the classes; None for other tasks and for many classes.
    formats : format of every tensor in fixed point.
    islands : nodes that computed in float32.
    notes : losses that the figures do not show, one line each.
    seconds : time of the evaluation.
    """

    model: str
    data: str
    task: Task
    evaluated_output: str
    samples: int
    in_fixed_point: bool
    preprocessing: Preprocessing | None
    metrics: tuple[MetricFigures, ...]
    sqnr_by_output: Mapping[str, float | None]
    tensors: tuple[TensorReport, ...]
    worst: tuple[SampleDifference, ...]
    classes: tuple[str, ...]
    flips: int | None
    confusion: Confusion | None
    formats: FormatsByName
    islands: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def fixed(self) -> dict[str, float | None]:
        """The figures of fixed point by the name of the metric."""
        return {one.metric.name: one.fixed for one in self.metrics}

    @property
    def float32(self) -> dict[str, float | None]:
        """The figures of float32 by the name of the metric."""
        return {one.metric.name: one.float32 for one in self.metrics}

    def __getitem__(self, name: str) -> TensorReport:
        """Return the figures of a tensor; raise KeyError for an unknown name."""
        for one in self.tensors:
            if one.name == name:
                return one
        raise KeyError(name)

    def check(self, **least: float | str) -> tuple[Shortfall, ...]:
        """Return the figures that are worse than asked for; empty where all are good enough.

        The figures are those of fixed point or, in a float32 run, of float32.

        Parameters
        ----------
        least
            The worst figure of each metric, such as ``top1=0.97`` or ``psnr="30dB"``, or its loss against float32,
            such as ``top1="-0.5%"``.

        Raises
        ------
        OptionError
            If there is no such metric, or the data does not have it.
        """
        return self.shortfalls(Threshold.of(name, value) for name, value in least.items())

    def shortfalls(self, thresholds: Iterable[Threshold]) -> tuple[Shortfall, ...]:
        """Return the thresholds that are not reached; see `check`."""
        figures = self.fixed if self.in_fixed_point else self.float32
        return shortfalls(thresholds, figures, self.float32)

    @property
    def summary(self) -> str:
        """The result in one line."""
        figures = [f"{one.metric} {_of_both(one)}" for one in self.metrics]
        samples = "1 sample" if self.samples == 1 else f"{self.samples:,} samples"
        return printable(f"{self.model} on {samples} of {self.data}: {', '.join(figures) or 'no figures'}")

    def records(self) -> list[Record]:
        """Return the metrics where nothing is in fixed point, and otherwise the tensors, one row each."""
        if not self.in_fixed_point:
            return [one.record() for one in self.metrics]
        return [dict(vars(one)) for one in self.tensors]

    def record(self) -> Record:
        """Return the whole result as an object of plain values."""
        known: dict[str, Any] = super().record()
        known["preprocessing"] = None if self.preprocessing is None else self.preprocessing.record()
        if self.confusion is not None:
            known["confusion"] = {name: plain(value) for name, value in vars(self.confusion).items()}
        return known


def _of_both(one: MetricFigures) -> str:
    """Return the figures of float32 and fixed point in words."""
    known = [shown(one.metric, value) for value in (one.float32, one.fixed) if value is not None]
    return " -> ".join(known) or "-"
