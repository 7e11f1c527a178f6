"""Figures of a model's outputs over all data: every metric of the evaluated output, and the SQNR of each output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qengine.data.preprocessing import Preprocessing
from qengine.metrics.declaration import Accumulator, EvaluatedBatch, Metric
from qengine.metrics.sqnr import Sqnr
from qengine.metrics.tasks import Outputs, Task

if TYPE_CHECKING:
    from qengine.data.datasets import Batch


class Meter:
    """Accumulators of the figures of one arithmetic, filled batch by batch.

    Parameters
    ----------
    task, output
        Kind of the evaluated output, and its name; see `task_of`.
    preprocessing
        Scale between pixels and numbers.
    metrics
        Metrics to accumulate, as far as the task has them.

    Attributes
    ----------
    against : reference of images: "target" or "float32"; None for other outputs.
    """

    def __init__(self, task: Task, output: str, preprocessing: Preprocessing, metrics: Iterable[Metric]) -> None:
        self._output, self._preprocessing = output, preprocessing
        self._accumulators = {one.column: one.accumulator() for one in metrics if task in one.tasks}
        own = [one for one in self._accumulators.values() if isinstance(one, Sqnr)]
        self._own = own[0] if own else None  # of the evaluated output, which is measured once
        self._by_output: dict[str, Accumulator] = {}
        self._has_images = task is Task.IMAGES
        self.against: str | None = None

    def add(self, batch: Batch, real: Outputs, exact: Outputs) -> None:
        """Add the outputs of a run.

        Parameters
        ----------
        batch
            Samples of the run, with their labels and targets.
        real, exact
            Real numbers of the outputs, of this arithmetic and in float32.

        Raises
        ------
        UnsupportedError
            If an image has another shape than its reference.
        """
        for name, array in exact.items():
            if array.dtype.kind == "f":
                own = self._own if name == self._output else None
                accumulator = self._by_output.setdefault(name, own or Sqnr())
                if accumulator is not self._own:
                    accumulator.add(EvaluatedBatch(real[name], array))
        name = self._output
        evaluated = EvaluatedBatch(real[name], exact[name], batch.labels, batch.targets.get(name), self._preprocessing)
        if self._has_images:
            self.against = str(evaluated.against)
        for accumulator in self._accumulators.values():
            accumulator.add(evaluated)

    def figures(self) -> dict[str, float | None]:
        """Return the figures of all that was added, by the column of the metric."""
        return {column: accumulator.value() for column, accumulator in self._accumulators.items()}

    def sqnr_by_output(self) -> dict[str, float | None]:
        """Return the SQNR in dB of every real-valued output."""
        return {name: accumulator.value() for name, accumulator in self._by_output.items()}
