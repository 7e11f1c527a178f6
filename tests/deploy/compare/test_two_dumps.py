"""Two dumps, and the codes of two sessions, beside each other."""

import numpy as np
import pytest
from small import codes, frames, session

import qengine
from qengine.deploy.compare import read_dump
from qengine.deploy.compare.two_dumps import compare_dumps
from qengine.errors import DumpError, OptionError


def saved(path, arrays):
    np.savez(path, **{name.replace("/", "."): array for name, array in arrays.items()})
    return read_dump(path)


def test_equal_dumps(tmp_path):
    result = compare_dumps(saved(tmp_path / "a.npz", codes()), saved(tmp_path / "b.npz", codes()))
    assert result.equal
    assert len(result.tensors) == 6


def test_differences(tmp_path):
    other = codes()
    other["pool"] = other["pool"] + np.array([0, 1, -2, 1, 0], np.int8).reshape(1, 5, 1, 1)
    result = compare_dumps(saved(tmp_path / "a.npz", codes()), saved(tmp_path / "b.npz", other))
    assert not result.equal
    assert result.first.name == "pool"
    assert result.first.differing == 3
    assert result.first.largest == 2
    assert result.first.first == (0, 1, 0, 0)
    assert result.first.differences == {-2: 1, 1: 2}


def test_names_of_one_dump_only(tmp_path):
    other = {name: array for name, array in codes().items() if name != "y"}
    result = compare_dumps(saved(tmp_path / "a.npz", codes()), saved(tmp_path / "b.npz", other))
    assert result.only_first == ("y",)
    assert not result.equal


def test_layouts_of_the_second(tmp_path):
    other = {n: np.ascontiguousarray(np.moveaxis(a, 1, -1)) if a.ndim == 4 else a for n, a in codes().items()}
    assert compare_dumps(saved(tmp_path / "a.npz", codes()), saved(tmp_path / "b.npz", other)).equal


def test_nothing_in_common(tmp_path):
    with pytest.raises(DumpError, match="no tensor of one name"):
        compare_dumps(
            saved(tmp_path / "a.npz", {"a": np.zeros(2), "b": np.zeros(2)}),
            saved(tmp_path / "b.npz", {"c": np.zeros(2), "d": np.zeros(2)}),
        )


def test_two_sessions():
    assert qengine.compare(session(), session(), frames()[0]).equal
    result = qengine.compare(session(), session(rounding="floor"), frames()[0])
    assert result.cause is not None
    assert "floor" in result.sentence
    with pytest.raises(OptionError, match="the other session runs in float32"):
        qengine.compare(session(), session().in_float32(), frames()[0])


def test_words_that_are_too_long(tmp_path):
    (tmp_path / "y.hex").write_text("f" * 33)
    with pytest.raises(DumpError, match="words that are too long"):
        compare_dumps(read_dump(tmp_path / "y.hex"), read_dump(tmp_path / "y.hex"))


def test_numbers_that_are_nan(tmp_path):
    first, second = {"y": np.float32([1, 2])}, {"y": np.float32([np.nan, np.nan])}
    found = compare_dumps(saved(tmp_path / "a.npz", first), saved(tmp_path / "b.npz", second))
    assert found.first.differing == 2
    assert found.first.largest == 0
