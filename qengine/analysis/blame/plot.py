"""Plot of the values of a tensor with the range and the step of its format; needs the extra `plot`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from qengine.analysis.figures import SERIES, check_file, new_figure, plain, styled, write
from qengine.analysis.plot_style import LIGHT
from qengine.qformat import Format, QFormat
from qengine.quantization.calibration.histogram import Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BARS = 256
_MAX_VIEW_SPANS = 1.0  # largest distance that the plot shows beyond the values, as a multiple of their span
_MAX_STEPS = 64  # more steps would be too close to see
_WIDTH, _HEIGHT = 5.4, 2.9  # inches


def draw_histogram(
    path: str | os.PathLike[str], name: str, histogram: Histogram, fmt: Format, also: Format | None = None
) -> None:
    """Plot a histogram of a tensor's float32 values, and the range and the steps of its format.

    Parameters
    ----------
    path
        Path of a .png, .svg or .pdf file; it is written whole or not at all.
    name
        Name of the tensor, the title of the plot.
    histogram
        Histogram of the tensor's values.
    fmt
        Format of the tensor. Among several formats, one per channel, the widest is drawn.
    also
        Second format, whose range is drawn too.

    Raises
    ------
    OptionError
        If matplotlib is not installed, or the file cannot be written.
    """
    check_file(path)
    figure = new_figure(_WIDTH, _HEIGHT)
    with styled():
        _draw(figure, name, histogram, fmt, also)
    write(figure, path)


def _draw(figure: Figure, name: str, histogram: Histogram, fmt: Format, also: Format | None) -> None:
    axes = figure.add_subplot()
    widest = _widest(fmt)
    low, high = _view(histogram, widest)
    _bars(axes, histogram, low, high)
    axes.axvspan(
        max(widest.min, low), min(widest.max, high), color=SERIES[1], alpha=0.15, zorder=0, label=_label(fmt, widest)
    )
    _steps(axes, widest, low, high)
    if also is not None:
        _ends(axes, _widest(also), f"instead {_label(also, _widest(also))}")
    axes.set_xlim(low, high)
    axes.set_xlabel("value in float32")
    axes.set_ylabel("count")
    axes.set_title(plain(name))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)


def _widest(fmt: Format) -> QFormat:
    return fmt if isinstance(fmt, QFormat) else max(fmt.formats, key=lambda one: one.integer_bits)


def _view(histogram: Histogram, fmt: QFormat) -> tuple[float, float]:
    """Return the ends of the horizontal axis: all values, and the format's range as far as the values stay visible."""
    least, most = min(histogram.least, 0.0), max(histogram.most, 0.0)
    if histogram.is_zero or not np.isfinite([least, most]).all():
        return fmt.min - fmt.step, fmt.max + fmt.step
    reach = _MAX_VIEW_SPANS * (most - least)
    low, high = min(least, max(fmt.min, least - reach)), max(most, min(fmt.max, most + reach))
    margin = 0.03 * (high - low)
    return low - margin, high + margin


def _bars(axes: Axes, histogram: Histogram, low: float, high: float) -> None:
    cells = histogram.cells()
    places = np.append(cells.sign * (cells.low + cells.width / 2), 0.0)
    counts, edges = np.histogram(places, _BARS, (low, high), weights=np.append(cells.count, histogram.zeros))
    axes.set_yscale("log")
    axes.set_ylim(0.7, 2.0 * max(counts.max(), 1.0))
    axes.stairs(counts, edges, fill=True, color=SERIES[0], label=f"values: {histogram.least:g} to {histogram.most:g}")


def _label(fmt: Format, widest: QFormat) -> str:
    return f"{fmt}: {widest.min:g} to {widest.max:g}, step {widest.step:g}"


def _ends(axes: Axes, fmt: QFormat, label: str) -> None:
    axes.axvline(fmt.min, color=SERIES[2], linestyle="--", label=label)
    axes.axvline(fmt.max, color=SERIES[2], linestyle="--")


def _steps(axes: Axes, fmt: QFormat, low: float, high: float) -> None:
    """Draw a line at every value of the format, if few of them are in view."""
    first, last = np.ceil(max(low, fmt.min) / fmt.step), np.floor(min(high, fmt.max) / fmt.step)
    if last - first <= _MAX_STEPS:
        for code in np.arange(first, last + 1):
            axes.axvline(code * fmt.step, color=LIGHT.muted, linewidth=0.4, linestyle=":")
