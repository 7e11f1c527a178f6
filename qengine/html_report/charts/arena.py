"""The arena over time: operations from left to right, addresses from top to bottom, a box for each tensor."""

from __future__ import annotations

from qengine.html_report.charts.axes import drawing, place, round_ticks, tick_text
from qengine.html_report.facts import MemoryFacts
from qengine.html_report.figures import kibibytes
from qengine.html_report.markup import Markup, element, shortened

_WIDTH, _HEIGHT = 720.0, 300.0
_LEFT, _TOP, _BOTTOM = 60.0, 10.0, 34.0
_LETTER = 7.4  # width of a letter of a label


def arena_chart(memory: MemoryFacts) -> Markup | None:
    """Return the map of the arena; None where nothing lies in it."""
    if not memory.lives or not memory.arena:
        return None
    steps = max(len(memory.operations), 1)
    wide, high = (_WIDTH - _LEFT) / steps, (_HEIGHT - _TOP - _BOTTOM) / memory.arena
    parts: list[Markup] = []
    unit = 1024.0 if memory.arena >= 4096 else 1.0
    for tick in round_ticks(0.0, memory.arena / unit, 4):
        line = place(_TOP + tick * unit * high)
        parts.append(element("line", class_="grid", x1=place(_LEFT), x2=place(_WIDTH), y1=line, y2=line))
        parts.append(
            element("text", tick_text(tick), class_="tick", x=place(_LEFT - 6), y=line, dy="0.35em", text_anchor="end")
        )
    parts.append(element("text", "KiB" if unit > 1 else "bytes", class_="tick", x="0", y=place(_HEIGHT - _BOTTOM + 16)))
    for i, one in enumerate(memory.lives):
        x, y = _LEFT + one.first * wide, _TOP + one.offset * high
        width, height = (one.last - one.first + 1) * wide, one.bytes * high
        title = f"{shortened(one.name)}: {kibibytes(one.bytes)} at {one.offset:,}, operations {one.first} to {one.last}"
        box = {"x": place(x), "y": place(y), "width": place(max(width, 1.0)), "height": place(max(height, 1.0))}
        parts.append(element("rect", element("title", title), class_=f"life g{i % 4}", **box))
        letters = int(width / _LETTER) - 1
        if height >= 13 and letters >= 3:
            name = shortened(one.name, letters)
            parts.append(element("text", name, class_="tick", x=place(x + 4), y=place(y + height / 2), dy="0.35em"))
    if memory.peak is not None:
        start, tall = place(_LEFT + memory.peak * wide), place(_HEIGHT - _BOTTOM - _TOP)
        parts.append(element("rect", class_="peak", x=start, y=place(_TOP), width=place(wide), height=tall))
        middle = _LEFT + (memory.peak + 0.5) * wide
        anchor = "end" if middle > _WIDTH - 80 else "start" if middle < 120 else "middle"
        parts.append(
            element(
                "text",
                "most in use",
                class_="tick",
                x=place(middle),
                y=place(_HEIGHT - _BOTTOM + 16),
                text_anchor=anchor,
            )
        )
    parts.append(
        element("text", "operations in the order of a run →", class_="label", x=place(_LEFT), y=place(_HEIGHT - 3))
    )
    label = f"Arena of {kibibytes(memory.arena)} over {steps} operations, {len(memory.lives)} tensors"
    return drawing(_WIDTH, _HEIGHT, label, *parts, class_="chart wide")
