"""Overview of a blame in one figure: what each tensor costs at the output, and how good each is on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qengine.analysis.blame.result import Blame, TensorBlame
from qengine.analysis.figures import PAGE, SERIES, add_grid, new_figure, plain, styled
from qengine.analysis.plot_style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = 40
"""Most tensors that are drawn; the rest make little noise, and would be too small to read."""

_ROW, _ENDS = 0.17, 1.1  # inches of a tensor, and of the axes with their labels
_LONGEST = 34  # characters of a name


def draw_overview(blame: Blame) -> Figure:
    """Return a figure with a line for each tensor, the one that makes the most noise first.

    On the left is the share of each tensor in the noise at the outputs, if each is rounded alone. On the right is the
    SQNR of each: in the run in fixed point, which has the noise of everything before it, and of its own rounding alone.
    A tensor that is far better alone than in the run inherits its noise.

    Parameters
    ----------
    blame
        Result of `qengine.blame`.

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.
    """
    rounded = [one for one in blame.tensors if one.output_db is not None]
    drawn = rounded[:_MOST]
    figure = new_figure(PAGE, _ENDS + _ROW * max(len(drawn), 1))
    with styled():
        left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (1, 1)})
        _shares(left, drawn)
        _ratios(right, blame, drawn)
        left.set_yticks(range(len(drawn)), [_label(one) for one in drawn])
        left.set_ylim(max(len(drawn), 1) - 0.4, -0.6)
        right.tick_params(axis="y", length=0)
        if len(rounded) > len(drawn):
            left.set_title(f"{len(drawn)} of {len(rounded)} tensors", loc="left")
    return figure


def _shares(axes: Axes, drawn: list[TensorBlame]) -> None:
    """Draw the shares of the noise as bars, constants in a second colour."""
    for is_constant, colour, label in ((False, SERIES[0], "activations"), (True, SERIES[1], "constants")):
        places = [i for i, one in enumerate(drawn) if (one.kind == "constant") == is_constant]
        if places:
            axes.barh(places, [100.0 * drawn[i].share for i in places], 0.7, color=colour, label=label)
    axes.set_xlabel("share of the noise at the output (%)")
    axes.set_xlim(left=0)
    add_grid(axes, "x")
    if drawn:
        axes.legend(loc="lower right")


def _ratios(axes: Axes, blame: Blame, drawn: list[TensorBlame]) -> None:
    """Draw the SQNR of each tensor in the run, and of its own rounding, with a line between the two."""
    for i, one in enumerate(drawn):
        if one.sqnr_db is not None and one.own_db is not None:
            axes.plot([one.sqnr_db, one.own_db], [i, i], color=LIGHT.line, linewidth=1.0, zorder=1)
    for name, marker, colour, label in (
        ("own_db", "|", LIGHT.muted, "its own rounding"),
        ("sqnr_db", "o", SERIES[0], "in the run"),
    ):
        known = [(value, i) for i, one in enumerate(drawn) if (value := getattr(one, name)) is not None]
        axes.plot([x for x, _ in known], [y for _, y in known], marker, color=colour, label=label)
    if blame.sqnr_db is not None:
        dashes = (0, (5, 3))
        axes.axvline(blame.sqnr_db, color=LIGHT.muted, linestyle=dashes, linewidth=0.8, label="at the output", zorder=0)
    axes.set_xlabel("SQNR (dB)")
    add_grid(axes, "x")
    if drawn:
        axes.legend(loc="best")


def _label(one: TensorBlame) -> str:
    """Return the name and the format of a tensor, the middle of a long name left out."""
    name = one.name
    if len(name) > _LONGEST:
        end = (_LONGEST - 2) // 2
        name = f"{name[: _LONGEST - 2 - end]}..{name[-end:]}"
    return plain(f"{name}  {one.format}")
