"""Reference of the metrics, from their declarations."""

from __future__ import annotations

import inspect

import qengine.metrics  # noqa: F401 - declares all
from generators.markdown import Pages, code, escaped, page, table
from qengine.metrics.declaration import all_metrics
from qengine.metrics.tasks import Task


def pages() -> Pages:
    """Return the page of metrics."""
    rows = []
    for one in all_metrics():
        tasks = ", ".join(str(task) for task in Task if task in one.tasks)
        better = "higher" if one.higher_is_better else "lower"
        doc = inspect.getdoc(one.accumulator) or ""
        rows.append(
            (code(one.name), escaped(one.label), escaped(doc), tasks, str(one.unit) or "-", str(one.reference), better)
        )
    headings = ("name", "figure", "what it is", "outputs", "unit", "against", "better")
    return {
        "reference/metrics.md": page(
            "Metrics",
            "Figures of how good a run is, as `--metric` takes them and sweeps have columns of them. `float32` is the "
            "output of the same model in float32; without a target, images are compared with it too.",
            table(headings, rows),
        )
    }
