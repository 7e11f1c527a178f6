"""Plots of a sweep: a metric over the word length, and a metric over a cost with its Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qengine.analysis.figures import COLUMN, SERIES, add_grid, new_figure, styled, write_all
from qengine.analysis.inspection.costs import Cost, find_cost
from qengine.analysis.plot_style import LIGHT
from qengine.analysis.sweep.result import Sweep
from qengine.analysis.sweep.row import DONE, Row
from qengine.metrics.declaration import Metric, Reference, Unit, all_metrics, find_metric
from qengine.metrics.pareto import pareto
from qengine.quantization.correction import recipe_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 2.6  # inches
_MAX_INSIDE_LEGEND = 4  # most entries of a legend next to the lines; a longer legend is above them
_LINE = 0.16  # inches
# Lines differ in grey too: by marker and dash as well as by lightness.
_MARKERS, _DASHES = "osD^vPX", ("-", "--", "-.", ":")


_PER_CENT = 100.0
_MARGIN = 0.08  # above and below the lines, as a share of their height
_MIN_MARGIN = 0.5  # percentage points


def metric_of(sweep: Sweep, name: str | None = None) -> Metric:
    """Return the metric of a name, or the first one that the rows of a sweep have.

    Raises
    ------
    OptionError
        If there is no metric of the name, or the data does not have it.
    """
    figures = sweep.rows[0].outcome.measures.figures
    has_labels = any(figures.get(one.column) is not None for one in all_metrics() if one.reference is Reference.LABELS)
    return find_metric(name, sweep.task, has_labels=has_labels)


def _factor(metric: Metric) -> float:
    return _PER_CENT if metric.is_share else 1.0


def value_of(metric: Metric, row: Row) -> float | None:
    """Return the number that a plot shows for a row, per cent of a share; None for a row without a finite number."""
    value = row.outcome.measures.figures.get(metric.column)
    return None if value is None or not math.isfinite(value) or row.status != DONE else value * _factor(metric)


def axis_label(metric: Metric, sweep: Sweep) -> str:
    """Return the label of the axis of a metric, with the reference of images and the unit."""
    is_replaced = metric.reference is Reference.TARGET and sweep.rows[0].outcome.measures.against == Reference.FLOAT32
    label = metric.label_against(Reference.FLOAT32) if is_replaced else metric.label
    unit = {Unit.SHARE: " (%)", Unit.DB: " (dB)", Unit.NONE: ""}[metric.unit]
    return f"{label}{unit}"


_GROUP_COLUMNS = (
    *("weight_bits", "target", "method", "per_channel", "rounding", "overflow", "accumulator_bits", "recipe"),
)


def series(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows with a word length in fixed point, in groups that differ in all else, by the label of a group.

    The word length of weights divides groups only where it is not that of the activations.
    """
    drawn = [row for row in rows if row.point.width is not None]
    separate = any(row.point.weight_width != row.point.width for row in drawn)

    named = [name for name in _GROUP_COLUMNS if name != "weight_bits" or separate]

    def features(row: Row) -> tuple[Any, ...]:
        kind = "given" if row.point.qformat else "calibrated"
        return (kind, *(getattr(row.point, name) for name in named))

    names = ("kind", *named)
    all_features = [features(row) for row in drawn]
    values = [{one[i] for one in all_features} for i in range(len(names))]
    values[names.index("method")].discard(None)  # formats that are given have no method
    varying = [i for i in range(len(names)) if len(values[i]) > 1]
    groups: dict[str, list[Row]] = {}
    for row, one in zip(drawn, all_features, strict=True):
        label = ", ".join(filter(None, (_spelled(names[i], one[i]) for i in varying)))
        groups.setdefault(label, []).append(row)
    return {label: sorted(group, key=lambda row: row.point.width or 0) for label, group in groups.items()}


def _spelled(name: str, value: Any) -> str:
    match name:
        case "kind":
            return "" if value == "calibrated" else "given formats"
        case "weight_bits":
            return "" if value is None else f"{value}-bit weights"
        case "target":
            return value or ""
        case "per_channel":
            return "per channel" if value else "per tensor"
        case "accumulator_bits":
            return "exact sums" if value is None else f"{value}-bit sums"
        case "recipe":
            return f"recipe {recipe_name(value)}"
        case _:
            return "" if value is None else str(value).replace("_", " ")


def _marks(i: int) -> dict[str, Any]:
    """Return the marker and the colours of the points of group `i`."""
    colour = SERIES[i % len(SERIES)]
    return {
        "marker": _MARKERS[i % len(_MARKERS)],
        "color": colour,
        "markerfacecolor": "white" if i % 2 else colour,
    }


def draw_accuracy(sweep: Sweep, metric: str | None = None) -> Figure:
    """Return a figure of a metric over the word length, with a line for each group of `series`."""
    shown = metric_of(sweep, metric)
    figure, axes = _figure()
    with styled():
        for i, (label, rows) in enumerate(series(sweep.rows).items()):
            known = [(row.point.width or 0, value) for row in rows if (value := value_of(shown, row)) is not None]
            axes.plot(
                [bits for bits, _ in known],
                [value for _, value in known],
                **_marks(i),
                linestyle="none" if rows[0].point.qformat else _DASHES[i % len(_DASHES)],  # they do not form a curve
                label=label or "fixed point",
            )
        separate = any(row.point.weight_width != row.point.width for row in sweep.rows)
        axes.set_xlabel("Word length of activations (bits)" if separate else "Word length (bits)")
        axes.set_ylabel(axis_label(shown, sweep))
        widths = sorted({row.point.width for row in sweep.rows if row.point.width is not None})
        if widths:
            axes.set_xticks(widths if len(widths) <= 15 else widths[::2])
        _float32_line(axes, value_of(shown, sweep.rows[0]))
        _finish(figure, axes, shown)
    return figure


def draw_pareto(sweep: Sweep, cost: Cost, metric: str | None = None) -> Figure:
    """Return a figure of a metric over the cost of a point, with the front of the points that no other one beats.

    Where `series` has several groups, points have the marks of `draw_accuracy`.
    """
    shown = metric_of(sweep, metric)
    sign = 1.0 if shown.higher_is_better else -1.0
    figure, axes = _figure()
    with styled():
        drawn, points = [], []
        for row in sweep.rows:
            price, value = row.outcome.costs.get(cost.column), value_of(shown, row)
            if not row.point.is_float32 and price is not None and value is not None:
                drawn.append(row)
                points.append((price / cost.scale, value))
        front = pareto([(price, sign * value) for price, value in points])
        combinations = series(sweep.rows)
        if len(combinations) > 1:
            at = {row.key: point for row, point in zip(drawn, points, strict=True)}
            for i, (name, members) in enumerate(combinations.items()):
                known = [at[row.key] for row in members if row.key in at]
                axes.plot(*_columns(known), **_marks(i), linestyle="none", label=name or "fixed point")
            if listed := [at[row.key] for row in drawn if row.point.width is None]:
                axes.plot(*_columns(listed), "x", color=LIGHT.ink, label="formats files")
        elif dominated := [points[i] for i in range(len(points)) if i not in front]:
            axes.plot(*_columns(dominated), "o", color=LIGHT.muted, markerfacecolor="white", label="dominated")
        axes.plot(
            *_columns([points[i] for i in front]),
            "-" if len(combinations) > 1 else "o-",
            drawstyle="steps-post",
            color=LIGHT.ink,
            label="Pareto front",
            zorder=1 if len(combinations) > 1 else 2,
        )
        for i in front:
            axes.annotate(
                _short(drawn[i]), points[i], xytext=(3, -8), textcoords="offset points", fontsize=6, color=LIGHT.muted
            )
        axes.set_xlabel(cost.axis)
        axes.set_ylabel(axis_label(shown, sweep))
        if points and min(p[0] for p in points) > 0 and max(p[0] for p in points) > 20 * min(p[0] for p in points):
            axes.set_xscale("log")
        _float32_line(axes, value_of(shown, sweep.rows[0]))
        _finish(figure, axes, shown)
    return figure


def _short(row: Row) -> str:
    """Return the word lengths of a point in few letters, such as 8 or 4/8 (weights/activations)."""
    weights, activations = row.point.weight_width, row.point.width
    if weights is None or activations is None:
        return row.point.formats_name or ""
    return str(activations) if weights == activations else f"{weights}/{activations}"


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _float32_line(axes: Axes, value: float | None) -> None:
    if value is not None:
        axes.axhline(value, color=LIGHT.muted, linestyle=(0, (5, 3)), linewidth=0.8, label="float32", zorder=1)


def _figure() -> tuple[Figure, Axes]:
    figure = new_figure(COLUMN, _HEIGHT)
    with styled():
        return figure, figure.add_subplot()


def _finish(figure: Figure, axes: Axes, metric: Metric) -> None:
    add_grid(axes)
    axes.margins(0.05, 0.08)
    if metric.is_share:
        # Markers at 100 are whole, and no axis promises more.
        low, high = axes.dataLim.intervaly if axes.has_data() else (0.0, _PER_CENT)
        room = max(_MARGIN * (high - low), _MIN_MARGIN)
        axes.set_ylim(low - room, high + room)
        axes.set_yticks([tick for tick in axes.get_yticks() if low - room <= tick <= min(high + room, _PER_CENT)])
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > _MAX_INSIDE_LEGEND:
        figure.set_figheight(_HEIGHT + _LINE * math.ceil(len(handles) / 2))
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    elif handles:
        axes.legend(loc="best")


def write_plots(sweep: Sweep, cost: str = "weights", metric: str | None = None) -> list[Path]:
    """Draw both figures into the folder of a sweep, each as PNG, SVG and PDF, and return the files.

    Parameters
    ----------
    sweep
        Result of a sweep.
    cost
        Name of the cost on the horizontal axis of the Pareto plot.
    metric
        Name of the metric; None for the first one that the data has.

    Raises
    ------
    OptionError
        If matplotlib is not installed, there is no such cost or metric, or a file cannot be written.
    """
    figures = (("accuracy", draw_accuracy(sweep, metric)), ("pareto", draw_pareto(sweep, find_cost(cost), metric)))
    return [path for name, figure in figures for path in write_all(figure, sweep.folder / name)]
