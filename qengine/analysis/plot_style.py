"""Colours that every picture of a result has: one palette for light surfaces, and one for dark ones.

Text has a contrast of 4.5 or more against every surface that it stands on. Grades of quality go from vermilion to blue,
so that they differ for all kinds of colour vision; a number always stands next to the colour.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Palette:
    """Colours for one kind of surface, as #rrggbb.

    Attributes
    ----------
    paper, surface : background of a page, and of what stands on it.
    ink, muted : text, and text that matters less.
    line : rules and grids.
    accent : links, and the first thing to see.
    bad, warning, good : text that says so.
    grades : fills of quality from the worst to the best, on which `ink` can be read.
    series : lines and bars, in order; they differ in grey too.
    """

    paper: str
    surface: str
    ink: str
    muted: str
    line: str
    accent: str
    bad: str
    warning: str
    good: str
    grades: tuple[str, ...]
    series: tuple[str, ...]

    def named(self) -> dict[str, str]:
        """Return the colours by name; those of a list have a number, such as "grade-0"."""
        found: dict[str, str] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            many = {"grades": "grade", "series": "series"}.get(field.name)
            found |= {f"{many}-{i}": one for i, one in enumerate(value)} if many else {field.name: value}
        return found


LIGHT = Palette(
    paper="#ffffff",
    surface="#f6f8fa",
    ink="#1b1f24",
    muted="#57606a",
    line="#d0d7de",
    accent="#0060a8",
    bad="#b3261e",
    warning="#855000",
    good="#1a6b3c",
    grades=("#f4b8a8", "#fad7a6", "#f3ecbc", "#cde5f2", "#a3cfea"),
    series=("#0072b2", "#d55e00", "#009e73", "#8a63b0", "#7f7f7f", "#000000"),
)
"""Colours on white."""

DARK = Palette(
    paper="#12161c",
    surface="#1b212a",
    ink="#e6edf3",
    muted="#9da7b3",
    line="#3a434f",
    accent="#6cb6ff",
    bad="#ff8a7a",
    warning="#f0b35a",
    good="#6fd396",
    grades=("#7a2a1a", "#70470f", "#55501e", "#1f4b66", "#0f5f8c"),
    series=("#4aa8e8", "#ff9248", "#3dcf9f", "#bf9be0", "#a5a5a5", "#ffffff"),
)
"""Colours on black."""

GRADES_DB = (10.0, 20.0, 30.0, 40.0)
"""Bounds of an SQNR in dB between the grades."""


def grade_of(sqnr_db: float) -> int:
    """Return the place of an SQNR in `Palette.grades`."""
    return sum(sqnr_db >= bound for bound in GRADES_DB)
