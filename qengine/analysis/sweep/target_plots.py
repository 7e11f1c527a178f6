"""Plot of the targets of a sweep side by side: a metric of each, and the codes that each two compute otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qengine.analysis.figures import PAGE, SERIES, add_grid, new_figure, styled, write_all
from qengine.analysis.plot_style import LIGHT
from qengine.analysis.sweep.differences import Difference
from qengine.analysis.sweep.plots import axis_label, metric_of, value_of
from qengine.analysis.sweep.result import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.19  # inches of a target


def draw_targets(sweep: Sweep, metric: str | None = None) -> Figure:
    """Return a figure with the metric of each target, and the share of codes in which each two differ.

    The differences are those of the formats that most targets have in common.
    """
    shown = metric_of(sweep, metric)
    rows = [row for row in sweep.rows if row.point.target is not None]
    names = list(dict.fromkeys(str(row.point.target) for row in rows))
    shared = _most_shared(sweep.differences)
    figure = new_figure(PAGE, 1.0 + _ROW * len(names))
    with styled():
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1)})
        for row in rows:
            value = value_of(shown, row)
            if value is not None:
                left.plot([value], [names.index(str(row.point.target))], "o", color=SERIES[0])
        exact = value_of(shown, sweep.rows[0])
        if exact is not None:
            left.axvline(exact, color=LIGHT.muted, linewidth=0.8, linestyle="--", label="float32")
            left.legend(loc="best")
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.5, -0.5)
        left.set_xlabel(axis_label(shown, sweep))
        add_grid(left)
        _draw_square(right, shared)
    return figure


def _draw_square(axes: Axes, shared: Sequence[Difference]) -> None:
    names = list(dict.fromkeys(name for one in shared for name in (one.first, one.second)))
    square = np.zeros((len(names), len(names)))
    for one in shared:
        i, j = names.index(one.first), names.index(one.second)
        square[i, j] = square[j, i] = 100.0 * one.tensors_differ / max(one.tensors, 1)
    axes.imshow(square, cmap="Blues", vmin=0.0, vmax=max(square.max(initial=0.0), 1.0))
    for i, j in np.ndindex(square.shape):
        if i != j:
            text = f"{square[i, j]:.0f}" if square[i, j] >= 1 or not square[i, j] else "<1"
            is_dark = square[i, j] > 0.6 * square.max()
            axes.text(j, i, text, ha="center", va="center", fontsize=5, color="white" if is_dark else LIGHT.muted)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_title(f"codes that differ (%), {shared[0].formats}" if shared else "", fontsize=8)


def _most_shared(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences in the formats that most targets have."""
    by_formats: dict[str, list[Difference]] = {}
    for one in differences:
        by_formats.setdefault(one.formats, []).append(one)
    return max(by_formats.values(), key=len, default=[])


def write_target_plots(sweep: Sweep, metric: str | None = None) -> list[Path]:
    """Draw the figure into the folder of a sweep with several targets, as PNG, SVG and PDF; see `write_plots`."""
    if not sweep.differences:
        return []
    return write_all(draw_targets(sweep, metric), sweep.folder / "targets")
