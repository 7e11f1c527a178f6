"""The declaration of a metric, and the registry of all metrics.

A metric is one class with the decorator `metric`: the decorator says how the figure is called, in which unit it is and
which tasks have it; the class accumulates it batch by batch. Nothing else names a metric: sweeps make a column of each,
searches accept each as their goal, tables and plots take headings and labels from the declaration.

    @metric("mae", label="Mean absolute error", higher_is_better=False, default_drop=0.01)
    class MeanAbsoluteError(Accumulator):
        def __init__(self) -> None:
            self._sum, self._count = 0.0, 0

        def add(self, batch: EvaluatedBatch) -> None:
            self._sum += float(np.abs(batch.output - batch.exact).sum())
            self._count += batch.output.size

        def value(self) -> float | None:
            return self._sum / self._count if self._count else None
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from qengine.data.images import pixel_strips, pixels_of
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError, UnsupportedError, did_you_mean
from qengine.metrics.tasks import Task, classes_of

Pixels = NDArray[np.float64]


class Unit(StrEnum):
    """Unit of a figure."""

    SHARE = "share"
    """A part of all samples, 0 to 1; shown as a percentage."""
    DB = "dB"
    """Decibels."""
    NONE = ""
    """A plain number."""


class Reference(StrEnum):
    """Reference of a metric: the values that an output is compared with."""

    FLOAT32 = "float32"
    """The output of the same model in float32."""
    LABELS = "labels"
    """The true classes; without labels there is no figure."""
    TARGET = "target"
    """The true output; the output in float32 where the data has none."""


@dataclass(frozen=True)
class EvaluatedBatch:
    """The evaluated output of one run, and its references.

    Attributes
    ----------
    output : real numbers that the run computed; the first axis counts samples.
    exact : output of the run in float32.
    labels : the true class of each sample; None where they are not known.
    target : the true output; None where it is not known.
    preprocessing : scale between pixels and the numbers of the tensors.
    """

    output: NDArray[Any]
    exact: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    target: NDArray[Any] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    @property
    def against(self) -> Reference:
        """The reference of images: the target, or float32 where there is none."""
        return Reference.FLOAT32 if self.target is None else Reference.TARGET

    @cached_property
    def classes(self) -> NDArray[Any]:
        """The class of each sample, of shape (samples,)."""
        return classes_of(self.output)

    @cached_property
    def exact_classes(self) -> NDArray[Any]:
        """The class of each sample in float32, of shape (samples,)."""
        return classes_of(self.exact)

    @cached_property
    def images(self) -> list[tuple[Pixels, Pixels]]:
        """The pixels (H, W, C) of each sample, and those of its reference; clipped to 0..255 and not rounded.

        Raises
        ------
        UnsupportedError
            If the shapes differ.
        """
        return [(_whole(one, self.preprocessing), _whole(other, self.preprocessing)) for one, other in self._pairs()]

    def image_strips(self) -> Iterator[tuple[Pixels, Pixels]]:
        """Yield the pixels of `images` in strips of some rows, which stay in a cache."""
        for one, other in self._pairs():
            strips, references = (pixel_strips(tensor, self.preprocessing) for tensor in (one, other))
            assert strips is not None
            assert references is not None
            yield from zip(strips, references, strict=True)

    def _pairs(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Return the tensors of each sample, and of its reference."""
        truth = self.exact if self.target is None else self.target
        if truth.shape != self.output.shape:
            raise UnsupportedError(
                f"an output of shape {list(self.output.shape)} cannot be compared with {self.against} of shape "
                f"{list(truth.shape)}"
            )
        return zip(self.output, truth, strict=True)


def _whole(tensor: NDArray[Any], preprocessing: Preprocessing) -> Pixels:
    pixels = pixels_of(tensor, preprocessing)
    assert pixels is not None
    return pixels


class Accumulator(ABC):
    """Sums of a metric over batches; the figure follows from the sums."""

    @abstractmethod
    def add(self, batch: EvaluatedBatch) -> None:
        """Add the outputs of one run."""

    @abstractmethod
    def value(self) -> float | None:
        """Return the figure of all that was added; None where there is no number."""


@dataclass(frozen=True)
class Metric:
    """Declaration of a metric.

    Attributes
    ----------
    name : word for options and results, such as "psnr".
    accumulator : class that computes the figure.
    column : name of the column in tables of a sweep, such as "psnr_db".
    label : words on the axis of a plot, without the unit.
    heading : words over a column of a table, without the unit.
    unit : unit of the figure.
    tasks : tasks whose evaluated output has the figure.
    reference : values that the output is compared with.
    higher_is_better : whether a larger figure is better.
    default_drop : loss against float32 that a search allows by default: percentage points of a share, otherwise in
        the unit.
    decimals : digits after the point of a plain number when it is shown.
    order : place among the metrics. The first metric that the data has is the default of searches and plots.
    check : function that raises QEngineError where the metric cannot be computed on this machine.
    """

    name: str
    accumulator: Callable[[], Accumulator]
    column: str
    label: str
    heading: str
    unit: Unit
    tasks: frozenset[Task]
    reference: Reference
    higher_is_better: bool
    default_drop: float
    decimals: int
    order: int
    check: Callable[[], None] | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def is_share(self) -> bool:
        """Whether the figure is a share of the samples, 0 to 1."""
        return self.unit is Unit.SHARE

    def label_against(self, reference: Reference) -> str:
        """Return the label with a reference, unless the label names it."""
        return self.label if reference in self.label else f"{self.label} against {reference}"

    def is_available(self, task: Task, *, has_labels: bool) -> bool:
        """Whether data of a task has the figure."""
        return task in self.tasks and (has_labels or self.reference is not Reference.LABELS)

    def score(self, value: float | None) -> float:
        """Return a number that is larger for a better figure; minus infinity for no number."""
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.higher_is_better else -value


_METRICS: dict[str, Metric] = {}
_A = TypeVar("_A", bound=type[Accumulator])


def metric(
    name: str,
    *,
    label: str,
    column: str | None = None,
    heading: str | None = None,
    unit: Unit = Unit.NONE,
    tasks: Collection[Task] = tuple(Task),
    reference: Reference = Reference.FLOAT32,
    higher_is_better: bool = True,
    default_drop: float = 1.0,
    decimals: int = 4,
    order: int = 100,
    check: Callable[[], None] | None = None,
) -> Callable[[_A], _A]:
    """Return a decorator that declares an accumulator as a metric; see `Metric` for the parameters.

    The column is the name, and the heading the label, where they are not given. The default order is after the metrics
    of the package.
    """

    def declare(accumulator: _A) -> _A:
        _METRICS[name] = Metric(
            name,
            accumulator,
            column or name,
            label,
            heading or label,
            unit,
            frozenset(tasks),
            reference,
            higher_is_better,
            default_drop,
            decimals,
            order,
            check,
        )
        return accumulator

    return declare


def all_metrics() -> tuple[Metric, ...]:
    """Return every declared metric, in order."""
    return tuple(sorted(_METRICS.values(), key=lambda one: (one.order, one.name)))


_METRIC_WORDS = {
    **dict.fromkeys(("accuracy", "acc", "acc1", "top_1", "error", "precision"), "top1"),
    **dict.fromkeys(("acc5", "top_5"), "top5"),
    **dict.fromkeys(("snr", "sqnr_db", "sndr", "sinad", "noise"), "sqnr"),
    **dict.fromkeys(("psnr_db",), "psnr"),
    **dict.fromkeys(("structural_similarity", "msssim"), "ssim"),
    **dict.fromkeys(("agree", "match", "same_class"), "agreement"),
}
"""Names of others for metrics, and the metric that each most probably means."""


def metric_named(name: str) -> Metric:
    """Return the metric of a name.

    Raises
    ------
    OptionError
        If there is none.
    """
    if name not in _METRICS:
        names = [str(one) for one in all_metrics()]
        near = did_you_mean(name, names, _METRIC_WORDS)
        raise OptionError(f"no metric is named '{name}'{near}; there are {', '.join(names)}")
    return _METRICS[name]


def find_metric(name: str | None, task: Task, *, has_labels: bool) -> Metric:
    """Return the metric of a name, or the first one that the data has.

    Raises
    ------
    OptionError
        If there is no metric of the name, or the data does not have it.
    """
    metrics = all_metrics()
    if name is None:
        return next(one for one in metrics if one.is_available(task, has_labels=has_labels))
    found = metric_named(name)
    if task not in found.tasks:
        needed = " or ".join(_NEEDED_OUTPUT[one] for one in Task if one in found.tasks)
        raise OptionError(f"{name} needs {needed}, and there is none")
    if not found.is_available(task, has_labels=has_labels):
        others = [str(one) for one in metrics if one.is_available(task, has_labels=False)]
        raise OptionError(f"{name} needs labels, and the data has none: use --metric {others[0]}")
    return found


_NEEDED_OUTPUT = {
    Task.CLASSES: "an output with a row of scores for each sample",
    Task.IMAGES: "an output of images",
    Task.OTHER: "an output of other numbers",
}
