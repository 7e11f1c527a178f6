"""Figures of the eleven roundings and the four overflows, drawn from the functions that compute them.

Every figure is an SVG in grey and a middling blue, so that it is readable on a light and on a dark page.
A rounding is a staircase: the horizontal axis is the exact value in steps of the result, the vertical one the code; a
full dot shows the code that a tie becomes. An overflow is a saw or a clip: Q1.1 beyond both of its ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import qengine
from generators.markdown import Pages

FOLDER = "images/modes"
SIZE, MARGIN = 260, 26
SUMS = 6
"""Bits that a rounding drops in a figure: 64 exact values for each step of the result."""


def pages() -> Pages:
    """Return a figure for each rounding and overflow."""
    figures = {f"{FOLDER}/{one}.svg": _rounding(one) for one in qengine.Rounding}
    return figures | {f"{FOLDER}/{one}.svg": _overflow(one) for one in qengine.Overflow}


def _rounding(mode: qengine.Rounding) -> str:
    """Return the staircase of a rounding over -3 to 3 steps."""
    x = np.arange(-3 * 2**SUMS, 3 * 2**SUMS + 1) / 2**SUMS
    codes = qengine.quantize(x, "Q6.0", rounding=mode).astype(np.int64)
    ties = np.arange(-5, 6, 2) / 2
    dots = [(tie, float(qengine.quantize(np.array([tie]), "Q6.0", rounding=mode)[0])) for tie in ties]
    return _svg(x, codes.astype(float), 3.5, 3.5, dots, f"{mode}: exact value to code", diagonal=True)


def _overflow(mode: qengine.Overflow) -> str:
    """Return what Q1.1 makes of values from -6 to 6."""
    x = np.arange(-12, 13) / 2
    codes = qengine.quantize(x, "Q1.1", overflow=mode)
    y = qengine.dequantize(codes, "Q1.1").astype(float)
    dots = list(zip(x.tolist(), y.tolist(), strict=True))
    return _svg(x, y, 6.5, 2.6, dots, f"{mode}: exact value to value of Q1.1", diagonal=False)


def _svg(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    width: float,
    height: float,
    dots: list[tuple[float, float]],
    title: str,
    *,
    diagonal: bool,
) -> str:
    """Return a figure of the steps of y over x, with axes through the origin and whole numbers at them."""
    middle, inner = SIZE / 2, SIZE / 2 - MARGIN

    def at(a: float, b: float) -> str:
        return f"{middle + a / width * inner:.2f},{middle - b / height * inner:.2f}"

    lines = []
    starts = [0, *(np.flatnonzero(np.diff(y)) + 1).tolist()]
    for start, end in zip(starts, [*starts[1:], len(y)], strict=True):
        lines.append(f'<polyline points="{at(x[start], y[start])} {at(x[end - 1], y[end - 1])}" stroke-width="2.5"/>')
    grid = [f'<polyline points="{at(-width, 0)} {at(width, 0)}"/><polyline points="{at(0, -height)} {at(0, height)}"/>']
    grid += [f'<polyline points="{at(-height, -height)} {at(height, height)}" stroke-dasharray="2 4"/>'] * diagonal
    step = 1 if width < 5 else 2
    marks = []
    for tick in range(-int(width), int(width) + 1):
        if tick and tick % step == 0:
            a, b = at(tick, 0).split(",")
            marks.append(f'<text x="{a}" y="{float(b) + 14:.2f}" text-anchor="middle">{tick}</text>')
    for tick in range(-int(height), int(height) + 1):
        if tick:
            a, b = at(0, tick).split(",")
            marks.append(f'<text x="{float(a) - 6:.2f}" y="{float(b) + 4:.2f}" text-anchor="end">{tick}</text>')
    circles = []
    for a, b in dots:
        place = at(a, b).split(",")
        circles.append(f'<circle cx="{place[0]}" cy="{place[1]}" r="3.5"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}">'
        f"<title>{title}</title>"
        f'<g fill="none" stroke="#808080" stroke-opacity="0.6">{"".join(grid)}</g>'
        f'<g fill="none" stroke="#5c74e6">{"".join(lines)}</g><g fill="#5c74e6">{"".join(circles)}</g>'
        f'<g fill="#808080" font-family="sans-serif" font-size="10">{"".join(marks)}</g></svg>\n'
    )
