"""A histogram beside a format: what is drawn, and what is refused."""

import builtins

import numpy as np
import pytest

from qengine.analysis.blame.plot import draw_histogram
from qengine.analysis.figures import check_file
from qengine.errors import OptionError
from qengine.qformat import ChannelFormats, QFormat
from qengine.quantization.calibration.histogram import Histogram


def histogram_of(values):
    found = Histogram()
    found.add(np.asarray(values, np.float32))
    return found


@pytest.fixture
def drawn(monkeypatch):
    """Collect the pictures that are drawn."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))[1])
    return figures


VALUES = np.random.default_rng(0).normal(size=1000)


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_files(tmp_path, suffix, start):
    path = tmp_path / f"plot.{suffix}"
    draw_histogram(path, "a $tensor$ \n of any name", histogram_of(VALUES), QFormat.parse("Q2.5"))
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_every_value_is_counted_and_the_format_is_named(tmp_path, drawn):
    form, other = QFormat.parse("Q0.3"), QFormat.parse("Q2.1")
    draw_histogram(tmp_path / "a.png", "relu1", histogram_of([*VALUES, 0.0, 0.0]), form, other)
    (figure,) = drawn
    (axes,) = figure.axes
    (stairs,) = [patch for patch in axes.patches if hasattr(patch, "get_data")]
    counts, edges, _ = stairs.get_data()
    assert counts.sum() == 1002
    expected, _ = np.histogram([*VALUES, 0.0, 0.0], edges)
    assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= 5  # what lies on an edge may be beside it
    assert axes.get_title() == "relu1"
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told[1:] == ["Q0.3: -1 to 0.875, step 0.125", "instead Q2.1: -4 to 3.5, step 0.5"]
    steps = sorted({line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"})
    assert steps == [code / 8 for code in range(-8, 8)]
    low, high = axes.get_xlim()
    assert low < VALUES.min() < VALUES.max() < high


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [np.inf, 1.0], [1e30, -1e30], [1e-40]])
def test_odd_values(tmp_path, values):
    draw_histogram(tmp_path / "a.png", "x", histogram_of(values), QFormat.parse("Q3.4"), QFormat.parse("Q8.-1"))
    per_channel = ChannelFormats((QFormat.parse("Q0.7"), QFormat.parse("Q2.5")), 0)
    draw_histogram(tmp_path / "a.png", "x", histogram_of(values), per_channel)


def test_what_cannot_be_drawn(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match=r"a plot is a \.png, \.svg, \.pdf file, not a\.jpg"):
        check_file("a.jpg")
    with pytest.raises(OptionError, match="there is no folder"):
        draw_histogram(tmp_path / "no" / "a.png", "x", histogram_of(VALUES), QFormat.parse("Q2.5"))
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OptionError, match=r"plots need matplotlib: pip install 'qengine\[plot\]'"):
        check_file("a.png")
