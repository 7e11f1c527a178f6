"""The grid: a product, without points that are the same."""

import json

import pytest

from qengine.analysis.sweep import FLOAT32, Grid, Point
from qengine.errors import OptionError, QEngineError


def widths(grid):
    return [(point.weight_bits, point.activation_bits) for point in grid.points()[1:]]


def test_float32_comes_first():
    assert Grid(bits=[8]).points()[0] == FLOAT32
    assert FLOAT32.is_float32
    assert not Grid(bits=[8]).points()[1].is_float32


def test_by_default_2_to_16_bits():
    assert widths(Grid()) == [(bits, bits) for bits in range(2, 17)]


def test_separate_widths_are_a_product():
    assert widths(Grid(weight_bits=[4, 8], activation_bits=[6, 7])) == [(4, 6), (4, 7), (8, 6), (8, 7)]
    assert widths(Grid(bits=[5, 6], weight_bits=[4])) == [(4, 5), (4, 6)]
    assert widths(Grid(bits=[5, 6], activation_bits=[8])) == [(5, 8), (6, 8)]
    assert widths(Grid(weight_bits=[4])) == [(4, bits) for bits in range(2, 17)]


def test_the_product():
    grid = Grid(
        bits=[4, 8],
        methods=["mse", "max"],
        per_channel=[False, True],
        roundings=["half_even", "floor", "trunc"],
        overflows=["saturate", "wrap"],
        accumulator_bits=[None, 16],
    )
    points = grid.points()
    assert len(points) == 1 + 2 * 2 * 2 * 3 * 2 * 2
    assert len(set(points)) == len(points)
    wanted = Point(
        weight_bits=4,
        activation_bits=4,
        method="max",
        headroom=1.0,
        output_bits="auto",
        per_channel=True,
        unsigned=False,
        rounding="trunc",
        overflow="wrap",
        accumulator_bits=16,
        recipe="fold",
    )
    assert wanted in points


def test_a_recipe_is_known_by_its_steps():
    recipes = ["none", "bias+fold", "best", "fold+equalize+absorb+round+bias+bias=full+logits+guard"]
    points = Grid(bits=[8], recipes=recipes).points()[1:]
    assert [point.recipe for point in points] == ["none", "fold+bias", recipes[-1]]
    with pytest.raises(OptionError, match="named 'magic'"):
        Grid(bits=[8], recipes=["magic"]).points()


def test_the_same_point_comes_once(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"y": "Q1.6",   "x": "Q0.7"}' if name == "a.json" else '{"x":"Q0.7","y":"Q1.6"}')
    grid = Grid(
        bits=[8, 4, 8],
        roundings=["floor", "floor"],
        qformats=["Q4.3", "Q4.3"],
        formats=[tmp_path / "a.json", tmp_path / "b.json"],
        per_channel=[False, True],
    )
    points = grid.points()[1:]
    assert [(p.activation_bits, p.per_channel) for p in points[:4]] == [(8, False), (8, True), (4, False), (4, True)]
    assert [(p.qformat, p.per_channel) for p in points[4:6]] == [("Q4.3", False), ("Q4.3", True)]
    # A formats file names everything: there is nothing for per_channel to choose.
    assert [json.loads(p.formats) for p in points[6:]] == [{"x": "Q0.7", "y": "Q1.6"}]
    assert points[6].formats_name == "a.json"


def test_a_percentile_is_of_its_method_alone():
    points = Grid(bits=[8], methods=["mse", "percentile"], percentile=99.0).points()[1:]
    assert [(p.method, p.percentile) for p in points] == [("mse", None), ("percentile", 99.0)]
    assert points[1].calibration().percentile == 99.0
    assert Grid(bits=[8], methods=["percentile"]).points()[1].percentile == 99.99


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(bits=[1]), "2 to 16, not 1"),
        (Grid(bits=[17]), "2 to 16, not 17"),
        (Grid(bits=[]), "the grid is empty"),
        (Grid(bits=[8], roundings=["up"]), "no rounding is named 'up'"),
        (Grid(bits=[8], overflows=["clip"]), "no overflow is named 'clip'"),
        (Grid(bits=[8], methods=["best"]), "no method is named 'best'"),
        (Grid(bits=[8], accumulator_bits=[1]), "a whole number, 2 to 64, not 1"),
        (Grid(bits=[8], percentile=50.0), "a percentile is of method percentile"),
        (Grid(bits=[8], weight_bits=[8], activation_bits=[8]), "give two of them"),
        (Grid(bits=[8], output_bits="8,16"), "output_bits is 'auto' or a word length of 2 to 16, not '8,16'"),
        (Grid(bits=[8], output_bits=17), "output_bits must be a whole number, 2 to 16, not 17"),
        (Grid(qformats=["Q40.3"]), "a word has 2 to 16"),
        (Grid(formats=["missing.json"]), "formats file missing.json"),
    ],
)
def test_what_has_no_meaning(grid, message):
    with pytest.raises(QEngineError, match=message):
        grid.points()
