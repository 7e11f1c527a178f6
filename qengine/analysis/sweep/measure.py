"""Figures of one point over all data: every metric, the SQNR of every output, and a digest of the codes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets import Batch
from qengine.data.preprocessing import Preprocessing
from qengine.errors import UnsupportedError
from qengine.metrics.declaration import Metric, all_metrics
from qengine.metrics.meter import Meter
from qengine.metrics.tasks import Outputs, Task

_SSIM = "ssim"


class Figures(dict[str, float | None]):
    """Numbers by the name of their column, which are attributes too: `figures.top1`."""

    def __getattr__(self, name: str) -> float | None:
        if name in self:
            return self[name]
        raise AttributeError(f"there is no figure '{name}'; there are {', '.join(self)}")


@dataclass(frozen=True)
class Measures:
    """Figures of a point. A figure is an attribute too: `measures.top1` is `measures.figures["top1"]`.

    Attributes
    ----------
    figures : value of every metric, by its column; None for a metric that the task does not have.
    sqnr_by_output : SQNR in dB of every real-valued output; infinite where nothing is lost.
    against : reference of images: "target" or "float32"; None for other outputs.
    """

    figures: Figures = field(default_factory=Figures)
    sqnr_by_output: dict[str, float | None] = field(default_factory=dict)
    against: str | None = None

    @classmethod
    def of(
        cls, sqnr_by_output: dict[str, float | None] | None = None, against: str | None = None, **figures: float | None
    ) -> Measures:
        """Return measures of some figures by column; the other metrics have none."""
        known = Figures({one.column: figures.pop(one.column, None) for one in all_metrics()})
        if figures:
            raise TypeError(f"no metric has the column {', '.join(figures)}")
        return cls(known, sqnr_by_output or {}, against)

    def __getattr__(self, name: str) -> float | None:
        if name.startswith("_") or name == "figures":  # a copy that has no fields yet
            raise AttributeError(name)
        return getattr(self.figures, name)  # type: ignore[no-any-return]


class CodesMeter:
    """Figures of one point, and a digest of its codes, filled batch by batch; the parameters are those of `Meter`."""

    def __init__(self, task: Task, output: str, preprocessing: Preprocessing, metrics: Iterable[Metric]) -> None:
        self._meter, self._codes = Meter(task, output, preprocessing, metrics), hashlib.sha256()

    def add(self, batch: Batch, codes: Outputs, real: Outputs, exact: Outputs) -> None:
        """Add the outputs of a run.

        Parameters
        ----------
        batch
            Samples of the run, with their labels and targets.
        codes, real
            Outputs as codes, and as the real numbers that the codes stand for.
        exact
            Outputs in float32.

        Raises
        ------
        UnsupportedError
            If an output is not a tensor of numbers, or an image has another shape than its reference.
        """
        for name, array in codes.items():
            self._add_codes(name, array)
        self._meter.add(batch, real, exact)

    def _add_codes(self, name: str, array: NDArray[Any]) -> None:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise UnsupportedError(f"output '{name}' is not a tensor of numbers: a sweep has nothing to measure in it")
        contiguous = np.ascontiguousarray(array)
        self._codes.update(f"{name} {contiguous.dtype.str} {contiguous.shape} ".encode())
        self._codes.update(contiguous.tobytes())

    def measures(self) -> Measures:
        """Return the figures of all that was added."""
        meter = self._meter
        return Measures.of(meter.sqnr_by_output(), meter.against, **meter.figures())

    def codes(self) -> str:
        """Return a digest of the codes of all outputs."""
        return self._codes.hexdigest()


def metrics_of(task: Task, *, ssim: bool) -> list[Metric]:
    """Return the metrics that a sweep measures for a task; `ssim` is whether SSIM, which takes long, is one of them.

    Raises
    ------
    SweepError
        If a metric cannot be computed on this machine.
    """
    metrics = [one for one in all_metrics() if task in one.tasks and (ssim or one.name != _SSIM)]
    for one in metrics:
        if one.check is not None:
            one.check()
    return metrics
