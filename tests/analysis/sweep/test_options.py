"""Options of a sweep: one frozen object or keywords, and what has no meaning in them."""

import pytest

import qengine
from qengine import SessionOptions
from qengine.analysis.sweep import Grid, SweepOptions
from qengine.errors import OptionError


def test_keywords_are_fields_of_the_objects(classifier, tmp_path):
    model, data = classifier
    whole = qengine.sweep(
        model, tmp_path / "out", Grid(bits=[4]), SweepOptions(data=data, limit=8), session=SessionOptions(threads=1)
    )
    assert (whole.computed, whole.rows[0].samples) == (2, 8)
    again = qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data, limit=8, threads=2)
    assert (again.computed, again.rows) == (0, whole.rows)
    fewer = qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), SweepOptions(data=data, limit=8), limit=6)
    assert (fewer.computed, fewer.rows[0].samples) == (2, 6)


@pytest.mark.parametrize("keywords", [{"rounding": "floor"}, {"qformat": "Q4.3"}, {"per_channel": True}])
def test_options_that_the_grid_varies(tmp_path, keywords):
    (name,) = keywords
    with pytest.raises(OptionError, match=f"{name} differs from point to point of a sweep: give it to the Grid"):
        qengine.sweep("digits", tmp_path / "out", **keywords)


def test_options_without_a_meaning(tmp_path):
    with pytest.raises(OptionError, match="jobs must be a whole number, 1 or more, not 0"):
        SweepOptions(jobs=0)
    with pytest.raises(TypeError, match=r"sweep\(\) got an unexpected keyword argument 'job'"):
        qengine.sweep("digits", tmp_path / "out", job=1)
