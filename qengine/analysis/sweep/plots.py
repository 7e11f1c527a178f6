"""Results as figures: how good each word length is, and what quality costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qengine.analysis.sweep.front import pareto
from qengine.analysis.sweep.measure import Task
from qengine.analysis.sweep.row import DONE, Row
from qengine.analysis.sweep.run import Sweep
from qengine.atomic_files import replacing
from qengine.errors import SweepError
from qengine.quantization.correction import recipe_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _DPI = 3.5, 2.6, 300  # inches: a column of a paper
_STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "qengine",
}
# Told apart in grey too: by marker and dash as well as by lightness.
_INSIDE = 4  # entries of a legend that stands beside the lines; of more, above them
_LINE = 0.16  # inches
_COLOURS = ("#000000", "#0072b2", "#d55e00", "#56b4e9", "#009e73", "#7f7f7f")
_MARKERS, _DASHES = "osD^vPX", ("-", "--", "-.", ":")


_PER_CENT = 100.0
_ROOM, _LEAST_ROOM = 0.08, 0.5  # above and below what is drawn: of its height, and percentage points


class Cost(StrEnum):
    """What a Pareto plot has on its horizontal axis."""

    WEIGHT_MEMORY = "weight-memory"
    """Bytes of constants."""
    BIT_OPERATIONS = "bit-operations"
    """Multiply-accumulates x bits x bits, of one sample."""


@dataclass(frozen=True)
class Metric:
    """A column by which points are judged: its label on an axis, and what its numbers are multiplied with there."""

    column: str
    label: str
    factor: float = 1.0

    def value(self, row: Row) -> float | None:
        """Return what a plot shows for a row; None for what has no place on it."""
        value = getattr(row.outcome.measures, self.column)
        return None if value is None or not math.isfinite(value) or row.status != DONE else value * self.factor

    @property
    def is_share(self) -> bool:
        """Whether it is a percentage, of which there is no more than 100."""
        return self.factor == _PER_CENT


def metric_of(sweep: Sweep) -> Metric:
    """Return by what the points of a sweep are judged: top-1, agreement, PSNR, or SQNR."""
    measures = sweep.rows[0].outcome.measures
    if sweep.task is Task.CLASSES:
        if measures.top1 is not None:
            return Metric("top1", "Top-1 accuracy (%)", _PER_CENT)
        return Metric("agreement", "Top-1 agreement with float32 (%)", _PER_CENT)
    if sweep.task is Task.IMAGES:
        against = "" if measures.against == "target" else " against float32"
        return Metric("psnr_db", f"PSNR{against} (dB)")
    return Metric("sqnr_db", "SQNR (dB)")


_VARIED = ("weight_bits", "method", "per_channel", "rounding", "overflow", "accumulator_bits", "recipe")


def series(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of fixed point with a word length, grouped by all else, each group under what sets it apart.

    Weights' word lengths set groups apart only where they are not those of the activations.
    """
    drawn = [row for row in rows if row.point.width is not None]
    separate = any(row.point.weight_width != row.point.width for row in drawn)

    named = [name for name in _VARIED if name != "weight_bits" or separate]

    def features(row: Row) -> tuple[Any, ...]:
        kind = "given" if row.point.qformat else "calibrated"
        return (kind, *(getattr(row.point, name) for name in named))

    names = ("kind", *named)
    all_features = [features(row) for row in drawn]
    values = [{one[i] for one in all_features} for i in range(len(names))]
    values[names.index("method")].discard(None)  # of formats that are given
    varying = [i for i in range(len(names)) if len(values[i]) > 1]
    found: dict[str, list[Row]] = {}
    for row, one in zip(drawn, all_features, strict=True):
        label = ", ".join(filter(None, (_spelled(names[i], one[i]) for i in varying)))
        found.setdefault(label, []).append(row)
    return {label: sorted(group, key=lambda row: row.point.width or 0) for label, group in found.items()}


def _spelled(name: str, value: Any) -> str:
    match name:
        case "kind":
            return "" if value == "calibrated" else "given formats"
        case "weight_bits":
            return "" if value is None else f"{value}-bit weights"
        case "per_channel":
            return "per channel" if value else "per tensor"
        case "accumulator_bits":
            return "exact sums" if value is None else f"{value}-bit sums"
        case "recipe":
            return f"recipe {recipe_name(value)}"
        case _:
            return "" if value is None else str(value).replace("_", " ")


def _marks(i: int) -> dict[str, Any]:
    """Return what sets the points of a combination apart."""
    colour = _COLOURS[i % len(_COLOURS)]
    return {
        "marker": _MARKERS[i % len(_MARKERS)],
        "color": colour,
        "markerfacecolor": "white" if i % 2 else colour,
    }


def draw_accuracy(sweep: Sweep) -> Figure:
    """Return a figure of the metric over the word length, a line for each combination of all else."""
    metric = metric_of(sweep)
    figure, axes = _figure()
    with _styled():
        for i, (label, rows) in enumerate(series(sweep.rows).items()):
            known = [(row.point.width or 0, value) for row in rows if (value := metric.value(row)) is not None]
            axes.plot(
                [bits for bits, _ in known],
                [value for _, value in known],
                **_marks(i),
                linestyle="none" if rows[0].point.qformat else _DASHES[i % len(_DASHES)],  # they are no curve
                label=label or "fixed point",
            )
        separate = any(row.point.weight_width != row.point.width for row in sweep.rows)
        axes.set_xlabel("Word length of activations (bits)" if separate else "Word length (bits)")
        axes.set_ylabel(metric.label)
        widths = sorted({row.point.width for row in sweep.rows if row.point.width is not None})
        if widths:
            axes.set_xticks(widths if len(widths) <= 15 else widths[::2])
        _float32_line(axes, metric.value(sweep.rows[0]))
        _finish(figure, axes, metric)
    return figure


def draw_pareto(sweep: Sweep, cost: Cost) -> Figure:
    """Return a figure of the metric over what a point costs, with the front of those that no other one beats.

    Where there are several combinations of all but the word length, points have the marks of `draw_accuracy`.
    """
    metric = metric_of(sweep)
    unit, column = (1024.0, "weight_bytes") if cost is Cost.WEIGHT_MEMORY else (1e9, "bit_operations")
    label = "Weight memory (KiB)" if cost is Cost.WEIGHT_MEMORY else "Bit operations per sample (10⁹ MAC·bit²)"
    figure, axes = _figure()
    with _styled():
        rows = [row for row in sweep.rows if not row.point.is_float32 and getattr(row.outcome, column) is not None]
        drawn = [(row, value) for row in rows if (value := metric.value(row)) is not None]
        points = [(getattr(row.outcome, column) / unit, value) for row, value in drawn]
        front = pareto(points)
        combinations = series(sweep.rows)
        if len(combinations) > 1:
            at = {row.key: point for (row, _), point in zip(drawn, points, strict=True)}
            for i, (name, members) in enumerate(combinations.items()):
                known = [at[row.key] for row in members if row.key in at]
                axes.plot(*_columns(known), **_marks(i), linestyle="none", label=name or "fixed point")
            if listed := [at[row.key] for row, _ in drawn if row.point.width is None]:
                axes.plot(*_columns(listed), "x", color="#000000", label="formats files")
        elif dominated := [points[i] for i in range(len(points)) if i not in front]:
            axes.plot(*_columns(dominated), "o", color="#8c8c8c", markerfacecolor="white", label="dominated")
        axes.plot(
            *_columns([points[i] for i in front]),
            "-" if len(combinations) > 1 else "o-",
            drawstyle="steps-post",
            color="#000000",
            label="Pareto front",
            zorder=1 if len(combinations) > 1 else 2,
        )
        for i in front:
            axes.annotate(
                _short(drawn[i][0]), points[i], xytext=(3, -8), textcoords="offset points", fontsize=6, color="#404040"
            )
        axes.set_xlabel(label)
        axes.set_ylabel(metric.label)
        if points and min(p[0] for p in points) > 0 and max(p[0] for p in points) > 20 * min(p[0] for p in points):
            axes.set_xscale("log")
        _float32_line(axes, metric.value(sweep.rows[0]))
        _finish(figure, axes, metric)
    return figure


def _short(row: Row) -> str:
    """Return the word lengths of a point, in as few letters as there may be."""
    weights, activations = row.point.weight_width, row.point.width
    if weights is None or activations is None:
        return row.point.formats_name or ""
    return str(activations) if weights == activations else f"{weights}/{activations}"


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _float32_line(axes: Axes, value: float | None) -> None:
    if value is not None:
        axes.axhline(value, color="#595959", linestyle=(0, (5, 3)), linewidth=0.8, label="float32", zorder=1)


def _figure() -> tuple[Figure, Axes]:
    try:
        # Not pyplot: no window, no state that is the whole process's.
        from matplotlib.figure import Figure
    except ImportError:
        raise SweepError("plots need matplotlib: pip install 'qengine[plot]'") from None
    with _styled():
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        return figure, figure.add_subplot()


def _styled() -> Any:
    import matplotlib

    untyped: Any = matplotlib
    return untyped.rc_context(_STYLE)


def _finish(figure: Figure, axes: Axes, metric: Metric) -> None:
    axes.grid(visible=True, color="#d9d9d9", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.margins(0.05, 0.08)
    if metric.is_share:
        # Markers at 100 are whole, and no axis promises more.
        low, high = axes.dataLim.intervaly if axes.has_data() else (0.0, _PER_CENT)
        room = max(_ROOM * (high - low), _LEAST_ROOM)
        axes.set_ylim(low - room, high + room)
        axes.set_yticks([tick for tick in axes.get_yticks() if low - room <= tick <= min(high + room, _PER_CENT)])
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > _INSIDE:
        figure.set_figheight(_HEIGHT + _LINE * math.ceil(len(handles) / 2))
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    elif handles:
        axes.legend(loc="best")


def write_plots(sweep: Sweep, cost: Cost = Cost.WEIGHT_MEMORY) -> list[Path]:
    """Draw both figures into the folder of a sweep, each as PNG and SVG, and return the files.

    Raises
    ------
    SweepError
        If matplotlib is not installed.
    OptionError
        If a file cannot be written.
    """
    return [
        path
        for name, figure in (("accuracy", draw_accuracy(sweep)), ("pareto", draw_pareto(sweep, cost)))
        for path in _written(figure, sweep.folder / name)
    ]


def _written(figure: Figure, stem: Path) -> Iterator[Path]:
    for kind in ("png", "svg"):
        path = stem.with_suffix(f".{kind}")
        with _styled(), replacing(path) as temporary:
            # Without the date: the same results are the same file.
            figure.savefig(temporary, format=kind, dpi=_DPI, metadata={"Date": None} if kind == "svg" else None)
        yield path
