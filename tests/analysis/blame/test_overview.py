"""The overview of a blame: a line for each tensor that is rounded, with its figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qengine.analysis.blame import Blame
from qengine.analysis.blame.overview import draw_overview
from qengine.analysis.blame.result import TensorBlame
from qengine.analysis.figures import write
from qengine.qformat import QFormat

Q34 = QFormat.parse("Q3.4")


def tensor(name, share, kind="activation", sqnr=20.0, own=30.0, output=25.0):
    return TensorBlame(
        name, kind, "Conv", Q34, (), 10, sqnr, own, output, 24.0, 1.0, {"y": 0.1}, share, share, 0, 0, 0, None
    )


def blame(*tensors):
    return Blame(tensors, (), ("y",), 19.0, 19.5, 20.0, 30.0, 21.0, 1, (), (), {})


def test_each_rounded_tensor_has_its_figures():
    moved = tensor("moved", 0.0, own=None, output=None)
    found = blame(tensor("a", 0.5), tensor("w", 0.3, "constant", 41.0, 41.0), tensor("c", 0.2, sqnr=None), moved)
    left, right = draw_overview(found).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a  Q3.4", "w  Q3.4", "c  Q3.4"]
    bars = sorted((round(bar.get_y() + 0.35), bar.get_width(), bar.get_facecolor()) for bar in left.patches)
    assert [width for _, width, _ in bars] == pytest.approx([50.0, 30.0, 20.0])
    assert bars[0][2] == bars[2][2] != bars[1][2]
    by_label = {line.get_label(): line for line in right.lines}
    assert list(by_label["in the run"].get_xdata()) == [20.0, 41.0]
    assert list(by_label["its own rounding"].get_xdata()) == [30.0, 41.0, 30.0]
    assert by_label["at the output"].get_xdata() == [19.0, 19.0]


def test_of_many_tensors_the_worst_are_drawn():
    found = blame(*(tensor(f"{'/layer' * 20}/{i}", 1 / 100) for i in range(100)))
    left, _ = draw_overview(found).axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert left.get_title(loc="left") == f"{len(labels)} of 100 tensors"
    assert len(labels) < 100
    assert all(len(label) < 45 for label in labels)
    assert labels[3].endswith("/3  Q3.4")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_odd_blames_are_drawn_the_same_twice(tmp_path, suffix):
    for found in (blame(), blame(tensor("$x$_1", 1.0)), replace(blame(tensor("a", 1.0)), sqnr_db=None)):
        first, second = (write(draw_overview(found), tmp_path / f"{i}{suffix}").read_bytes() for i in range(2))
        assert first == second
