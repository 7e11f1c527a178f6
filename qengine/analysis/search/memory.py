"""A file of what a search has measured: measurements are added as they are made, and a later search repeats none.

A key is a digest of all that a measurement depends on: the model, the data, the arithmetic and what was measured,
without the goal and the budget. A search that was ended at any point continues as if it had not been, because the
same command needs the same measurements in the same order, and those that were made are found.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import qengine
from qengine.analysis.search.evaluate import ModelEvaluator
from qengine.analysis.search.options import SearchOptions
from qengine.analysis.search.units import FormatText
from qengine.analysis.sweep.key import ARITHMETIC, MEASURES, first_registered
from qengine.analysis.sweep.table import Table
from qengine.data.datasets import Dataset
from qengine.errors import UnsupportedError
from qengine.metrics.declaration import Metric
from qengine.model.digest import graph_digest
from qengine.model.graph import Graph
from qengine.runtime.options import SessionOptions
from qengine.targets import Target
from qengine.targets.rules_mapping import rules_mapping

VERSION = 1
"""Version of the file."""

_TYPES = {"key": "TEXT", "value": "TEXT"}


class Memory:
    """Measurements by what was measured, in a file or, without one, in this process alone.

    Parameters
    ----------
    path
        Path of the file, which is made if it is not there; None for no file.
    context
        Digest of what all measurements depend on; see `context_of`.

    Raises
    ------
    SweepError
        If the file cannot be used, is damaged, or another search uses it.
    """

    def __init__(self, path: Path | None, context: str) -> None:
        self._context = context
        self._table = None if path is None else Table(path, "measured", _TYPES, VERSION, is_exclusive=True)
        rows = {} if self._table is None else self._table.rows()
        self._known = {key: json.loads(row["value"]) for key, row in rows.items()}

    def close(self) -> None:
        """Close the file."""
        if self._table is not None:
            self._table.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _key(self, what: Any) -> str:
        return hashlib.sha256(json.dumps([self._context, what], sort_keys=True).encode()).hexdigest()

    def knows(self, what: Any) -> bool:
        """Whether something was measured before."""
        return self._key(what) in self._known

    def value(self, what: Any) -> Any:
        """Return a measurement that is known."""
        return self._known[self._key(what)]

    def keep(self, what: Any, value: Any) -> None:
        """Add a measurement, which is on disk when this returns."""
        key = self._key(what)
        if self._table is not None:
            self._table.add({"key": key, "value": json.dumps(value)})
        self._known[key] = value


class MemorizedModel:
    """Figures of a model on one part of the data, each computed once.

    Parameters
    ----------
    model
        Computation of the figures.
    memory
        Memory that keeps them.
    part
        Name of the part of the data.

    Attributes
    ----------
    until : time of `time.monotonic` at which a computation ends with `BudgetExhausted`; infinite at first.
    """

    def __init__(self, model: ModelEvaluator, memory: Memory, part: str) -> None:
        self._model, self._memory, self._part = model, memory, part
        self.until = math.inf

    @property
    def metric(self) -> Metric:
        """The metric of the figures."""
        return self._model.metric

    def in_float32(self) -> float | None:
        """Return the figure of float32, computed each time."""
        return self._model.in_float32()

    def knows(self, formats: Mapping[str, FormatText]) -> bool:
        """Whether the figure in formats needs no computation."""
        return self._memory.knows([self._part, dict(formats)])

    def in_formats(self, formats: Mapping[str, FormatText]) -> float | None:
        """Return the figure in formats by tensor; None where there is no number."""
        what = [self._part, dict(formats)]
        if not self._memory.knows(what):
            self._memory.keep(what, self._model.in_formats(formats, self.until))
        value: float | None = self._memory.value(what)
        return value


def context_of(
    graph: Graph, dataset: Dataset, settings: SearchOptions, options: SessionOptions, metric: Metric, output: str
) -> str:
    """Return a digest of what all measurements of a search depend on.

    Raises
    ------
    UnsupportedError
        If the model has registered operators: their code is in no digest.
    """
    if (node := first_registered(graph)) is not None:
        raise UnsupportedError(
            f"{node}: a search that keeps what it measures does not know registered operators, as their code is in no "
            "key: search without a file to keep it in"
        )
    target = options.target.record() if isinstance(options.target, Target) else None
    arithmetic = [rules_mapping(options.rules_of_run()), target, options.strict, options.max_elements]
    parts = [
        *(graph_digest(graph), dataset.digest, dataset.batch, str(settings.preprocessing), settings.hold_out),
        *(metric.name, output, qengine.__version__, ARITHMETIC, MEASURES, *arithmetic),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def seconds_left(until: float) -> float | None:
    """Return the seconds until a time of `time.monotonic`; None for no end."""
    return None if math.isinf(until) else max(0.0, until - time.monotonic())
