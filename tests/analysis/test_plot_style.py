"""Colours can be read: text has a contrast of 4.5, and lines one of 3, against what they stand on."""

import pytest

from qengine.analysis.plot_style import DARK, GRADES_DB, LIGHT, grade_of

PALETTES = {"light": LIGHT, "dark": DARK}


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "bad", "warning", "good"])
def test_text_can_be_read(palette, name):
    for surface in (palette.paper, palette.surface):
        assert contrast(getattr(palette, name), surface) >= 4.5


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_text_on_grades_can_be_read(palette):
    assert len(palette.grades) == len(GRADES_DB) + 1
    for grade in palette.grades:
        assert contrast(palette.ink, grade) >= 4.5


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_lines_can_be_seen(palette):
    for colour in palette.series:
        assert contrast(colour, palette.paper) >= 3


@pytest.mark.parametrize(("sqnr", "grade"), [(-5.0, 0), (9.99, 0), (10.0, 1), (25.0, 2), (39.0, 3), (float("inf"), 4)])
def test_grades(sqnr, grade):
    assert grade_of(sqnr) == grade


def test_colours_have_names():
    names = LIGHT.named()
    assert names["ink"] == LIGHT.ink
    assert names["grade-4"] == LIGHT.grades[4]
    assert names.keys() == DARK.named().keys()
