"""The options of a sweep that are neither in its grid nor in the session: data, workers, and what is computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qengine.analysis.inspection.costs import find_cost
from qengine.checks import check_whole_number
from qengine.data.datasets import Labels
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.metrics.declaration import metric_named
from qengine.runtime.options import SessionKeywords, SessionOptions


class SweepKeywords(SessionKeywords, total=False):
    """The fields of `SweepOptions` and `SessionOptions` as keyword arguments."""

    data: Any
    labels: Labels | None
    inputs: Mapping[str, NDArray[Any]] | None
    preprocessing: Preprocessing | None
    batch: int | None
    limit: int | None
    ssim: bool
    metric: str | None
    cost: str
    plots: bool
    retry_failed: bool
    jobs: int | None
    scheduler: str | None


@dataclass(frozen=True)
class SweepOptions:
    """Data and workers of a sweep.

    Attributes
    ----------
    data
        The data, as `qengine.open_dataset` takes it; None for the data of a bundled model. Worker processes are given
        data in memory in a file in the folder of results.
    labels
        Labels that the data does not hold; see `qengine.open_dataset`.
    inputs
        Inputs that are the same in every run, by name.
    preprocessing
        Scale between pixels and numbers; None for that of a bundled set or model, and otherwise 0..255.
    batch
        Samples in a run; None for as many as the model takes, or, where it takes any number, some that fit together.
    limit
        Number of samples to use, from the first; None for all.
    ssim
        Whether SSIM of images is measured.
    metric
        Name of a metric that the rows must have, such as that of plots; without it in the data, the sweep is refused
        before its first point. None for no such metric.
    cost
        Name of the cost on the horizontal axis of the Pareto plot.
    plots
        Whether plots are drawn, where matplotlib is installed.
    retry_failed
        Whether points that failed before are computed again.
    jobs
        Number of worker processes; None for none, or for as many as there are cores in a local cluster.
    scheduler
        Address of a Dask scheduler, or "local"; None for worker processes.

    Raises
    ------
    OptionError
        If there is no metric or cost of the name, or the number of jobs is not a whole number of 1 or more.
    """

    data: Any = None
    labels: Labels | None = None
    inputs: Mapping[str, NDArray[Any]] | None = None
    preprocessing: Preprocessing | None = None
    batch: int | None = None
    limit: int | None = None
    ssim: bool = True
    metric: str | None = None
    cost: str = "weights"
    plots: bool = True
    retry_failed: bool = False
    jobs: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.metric is not None:
            metric_named(self.metric)
        find_cost(self.cost)
        if self.jobs is not None:
            check_whole_number("jobs", self.jobs, 1)


def check_session_options(options: SessionOptions) -> None:
    """Raise OptionError where an option of the session is one that the grid of a sweep varies."""
    varied = [name for name in _GRID_FIELDS if getattr(options, name) != getattr(SessionOptions, name)]
    if varied:
        raise OptionError(f"{varied[0]} differs from point to point of a sweep: give it to the Grid")


_GRID_FIELDS = (
    *("qformat", "weight_qformat", "formats", "target", "rules", "rounding", "overflow", "accumulator_bits"),
    "per_channel",
)
