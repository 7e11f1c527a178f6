"""What must not get worse, and by how much."""

import math

import pytest

from qengine.analysis.search.metric import Drop, Metric, metric_of
from qengine.analysis.search.result import Candidate
from qengine.analysis.sweep.measure import Measures, Task
from qengine.errors import OptionError


@pytest.mark.parametrize(
    ("given", "metric", "least"),
    [
        ("1%", "top1", 0.976),
        (1, "top1", 0.976),
        ("0.5", "agreement", 0.981),
        ("1%", "psnr", 0.986 * 0.99),
        ("0.5dB", "psnr", 0.486),
        (0.5, "sqnr", 0.486),
        (0, "sqnr", 0.986),
    ],
)
def test_drops(given, metric, least):
    assert Drop.parse(given, Metric(metric)).below(0.986, Metric(metric)) == pytest.approx(least, abs=1e-12)


@pytest.mark.parametrize("total", [1000, 300, 7])
def test_a_share_that_is_exactly_at_the_limit_is_good_enough(total):
    for drop in (1, 3):
        least = [Drop.parse(100 * drop / total, Metric.TOP1).below(n / total, Metric.TOP1) for n in range(total + 1)]
        for right in range(drop, total + 1):
            assert Candidate((), 0.0, (right - drop) / total).is_good(least[right])
            assert not Candidate((), 0.0, (right - drop - 1) / total).is_good(least[right])


@pytest.mark.parametrize("given", ["", "a lot", "-1", "nan", "inf", "1pt", True])
@pytest.mark.parametrize("metric", list(Metric))
def test_no_drops(given, metric):
    with pytest.raises(OptionError, match=f"a drop of {metric} is a number such as"):
        Drop.parse(given, metric)


def test_a_share_has_no_decibels():
    with pytest.raises(OptionError, match="a drop of top1 is a number such as 1%"):
        Drop.parse("1dB", Metric.TOP1)


def test_the_metric_that_goes_with_the_outputs():
    assert metric_of(None, Task.CLASSES, has_labels=True) is Metric.TOP1
    assert metric_of(None, Task.CLASSES, has_labels=False) is Metric.AGREEMENT
    assert metric_of(None, Task.IMAGES, has_labels=False) is Metric.PSNR
    assert metric_of(None, Task.OTHER, has_labels=False) is Metric.SQNR
    assert metric_of("sqnr", Task.CLASSES, has_labels=True) is Metric.SQNR


@pytest.mark.parametrize(
    ("name", "task", "error"),
    [
        ("ssim", Task.IMAGES, "no metric is named 'ssim'; there are top1, agreement, psnr, sqnr"),
        ("top1", Task.CLASSES, "top1 needs labels, and the data has none: use --metric agreement"),
        ("agreement", Task.IMAGES, "agreement needs an output with a row of scores"),
        ("psnr", Task.OTHER, "psnr needs an output of images"),
    ],
)
def test_metrics_that_do_not_go_with_it(name, task, error):
    with pytest.raises(OptionError, match=error):
        metric_of(name, task, has_labels=False)


def test_figures():
    measures = Measures(sqnr_db=math.inf, top1=0.5, agreement=0.75, psnr_db=30.0)
    assert [metric.of(measures) for metric in Metric] == [0.5, 0.75, 30.0, math.inf]
