"""Figures: the one style of all plots, and their files as PNG, SVG or PDF. Needs matplotlib, the extra `plot`.

Sizes are those of a paper, a column or a page wide, and text has the same size in every figure. Equal results are equal
files: no dates are written, and identifiers in SVG have a fixed salt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qengine.analysis.plot_style import LIGHT
from qengine.atomic_files import replacing
from qengine.errors import MissingPackageError, OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
"""Endings of the names of files that a figure is written to."""

COLUMN, PAGE = 3.5, 7.2
"""Widths of a column and of a page of a paper, in inches."""

SERIES = LIGHT.series
"""Colours of lines, in order; they differ in grey too."""

_DPI = 300
_RULES: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": LIGHT.ink,
    "axes.labelcolor": LIGHT.ink,
    "text.color": LIGHT.ink,
    "xtick.color": LIGHT.ink,
    "ytick.color": LIGHT.ink,
    "grid.color": LIGHT.line,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "qengine",
    "pdf.fonttype": 42,  # text that can be selected and edited
}
_NO_DATE = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def require_matplotlib() -> None:
    """Raise MissingPackageError, which says how to install it, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingPackageError("plots need matplotlib: pip install 'qengine[plot]'") from None


def check_file(path: str | os.PathLike[str]) -> None:
    """Check before a long computation that a figure can be written to a file of this name.

    Raises
    ------
    OptionError
        If the name of the file has another ending.
    MissingPackageError
        If matplotlib is not installed.
    """
    if _suffix(path) not in SUFFIXES:
        raise OptionError(f"a plot is a {', '.join(SUFFIXES)} file, not {os.fspath(path)}")
    require_matplotlib()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches; raise MissingPackageError without matplotlib."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure


def styled() -> Any:
    """Return a context in which what is drawn has the style of all figures."""
    import matplotlib

    untyped: Any = matplotlib
    return untyped.rc_context(_RULES)


def add_grid(axes: Axes, axis: str = "both") -> None:
    """Add the thin lines of a grid."""
    axes.grid(visible=True, axis=axis, color=LIGHT.line, linewidth=0.4)  # type: ignore[arg-type]


def plain(name: str) -> str:
    """Return a name for matplotlib, which would read mathematics between dollars."""
    return name.replace("$", r"\$")


def write(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a file, whole or not at all; the ending of the name is one of `SUFFIXES`.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    kind = _suffix(path)[1:]
    with styled(), replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=_DPI, metadata=_NO_DATE[kind])
    return Path(path)


def write_all(figure: Figure, stem: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Write a figure in several formats, and return the files."""
    return [write(figure, stem.with_suffix(suffix)) for suffix in suffixes]


def _suffix(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - a name may be odd
