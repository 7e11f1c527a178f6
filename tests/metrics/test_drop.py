"""Allowed losses of a figure."""

import math
from dataclasses import replace

import pytest

from qengine.errors import OptionError
from qengine.metrics import declaration
from qengine.metrics.declaration import Accumulator, all_metrics, find_metric, metric
from qengine.metrics.drop import Drop, is_enough
from qengine.metrics.tasks import Task


def by_name(name):
    return {one.name: one for one in all_metrics()}[name]


@pytest.fixture
def error(monkeypatch):
    """A metric of which less is better."""

    monkeypatch.setattr(declaration, "_METRICS", dict(declaration._METRICS))

    @metric("error", label="Error", higher_is_better=False)
    class Error(Accumulator):
        def add(self, batch): ...
        def value(self): ...

    return by_name("error")


@pytest.mark.parametrize(
    ("given", "name", "least"),
    [
        ("1%", "top1", 0.976),
        (1, "top1", 0.976),
        ("0.5", "agreement", 0.981),
        ("1%", "psnr", 0.986 * 0.99),
        ("0.5dB", "psnr", 0.486),
        (0.5, "sqnr", 0.486),
        (0, "sqnr", 0.986),
        ("0.01", "ssim", 0.976),
    ],
)
def test_drops(given, name, least):
    assert Drop.parse(given, by_name(name)).limit(0.986, by_name(name)) == pytest.approx(least, abs=1e-12)


def test_a_relative_drop_of_negative_decibels_allows_less():
    assert Drop.parse("10%", by_name("sqnr")).limit(-3.0, by_name("sqnr")) == pytest.approx(-3.3)


def test_where_less_is_better_a_drop_is_a_rise(error):
    assert Drop.parse(0.5, error).limit(2.0, error) == 2.5
    assert Drop.parse("10%", error).limit(2.0, error) == pytest.approx(2.2)
    assert Drop.parse("10%", error).limit(-2.0, error) == pytest.approx(-1.8)
    assert is_enough(error, 2.5, 2.5)
    assert is_enough(error, 2.0, 2.5)
    assert not is_enough(error, 2.6, 2.5)
    assert not is_enough(error, math.nan, 2.5)


@pytest.mark.parametrize("total", [1000, 300, 7])
def test_a_share_that_is_exactly_at_the_limit_is_good_enough(total):
    top1 = by_name("top1")
    for drop in (1, 3):
        least = [Drop.parse(100 * drop / total, top1).limit(n / total, top1) for n in range(total + 1)]
        for right in range(drop, total + 1):
            assert is_enough(top1, (right - drop) / total, least[right])
            assert not is_enough(top1, (right - drop - 1) / total, least[right])


def test_no_number_is_never_enough():
    assert not is_enough(by_name("sqnr"), None, -1e9)


@pytest.mark.parametrize("given", ["", "a lot", "-1", "nan", "inf", "1pt", "200%", True])
@pytest.mark.parametrize("name", ["top1", "psnr", "ssim"])
def test_no_drops(given, name):
    with pytest.raises(OptionError, match=f"a drop of {name} is a number such as"):
        Drop.parse(given, by_name(name))


@pytest.mark.parametrize("name", ["top1", "ssim"])
def test_only_decibels_drop_by_decibels(name):
    with pytest.raises(OptionError, match=f"a drop of {name} is a number such as"):
        Drop.parse("1dB", by_name(name))


def test_the_metric_that_goes_with_the_outputs():
    def default(task, *, has_labels=False):
        return find_metric(None, task, has_labels=has_labels).name

    assert default(Task.CLASSES, has_labels=True) == "top1"
    assert default(Task.CLASSES) == "agreement"
    assert default(Task.IMAGES) == "psnr"
    assert default(Task.OTHER) == "sqnr"
    assert find_metric("sqnr", Task.CLASSES, has_labels=True).name == "sqnr"


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("f1", Task.IMAGES, "no metric is named 'f1'; there are top1, agreement, psnr, ssim, sqnr"),
        ("top1", Task.CLASSES, "top1 needs labels, and the data has none: use --metric agreement"),
        ("agreement", Task.IMAGES, "agreement needs an output with a row of scores"),
        ("psnr", Task.OTHER, "psnr needs an output of images"),
    ],
)
def test_metrics_that_do_not_go_with_it(name, task, message):
    with pytest.raises(OptionError, match=message):
        find_metric(name, task, has_labels=False)


def test_no_number_is_worse_than_any_figure():
    figure = all_metrics()[0]
    for declared, sign in ((figure, 1), (replace(figure, higher_is_better=False), -1)):
        assert [declared.score(value) for value in (None, math.nan, 3.0)] == [-math.inf, -math.inf, sign * 3.0]
