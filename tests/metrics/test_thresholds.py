import pytest

from qengine.errors import OptionError
from qengine.metrics.thresholds import Threshold, shortfalls


@pytest.mark.parametrize(
    ("text", "float32", "limit"),
    [
        ("top1=0.97", 0.99, 0.97),
        ("top1=97%", 0.99, 0.97),
        (" top1 = 97 % ", 0.99, 0.97),
        ("top1=1", 0.99, 1.0),
        ("top1=-0.5%", 0.99, 0.985),
        ("top1=-0%", 0.99, 0.99),
        ("psnr=30", 33.0, 30.0),
        ("psnr=30dB", 33.0, 30.0),
        ("psnr=-0.5dB", 33.0, 32.5),
        ("psnr=-1%", 33.0, 32.67),
        ("ssim=0.9", 0.95, 0.9),
        ("ssim=-0.01", 0.95, 0.94),
        ("sqnr=inf", None, float("inf")),
        ("top1=-1%", None, None),
    ],
)
def test_limits(text, float32, limit):
    found = Threshold.parse(text).limit(float32)
    assert found == (None if limit is None else pytest.approx(limit))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top1", "METRIC=VALUE"),
        ("=3", "METRIC=VALUE"),
        ("top1=", "METRIC=VALUE"),
        ("speed=3", "no metric is named 'speed'"),
        ("top1=97", "top1 cannot be '97': give 0.97 or 97%"),
        ("top1=high", "top1 cannot be 'high'"),
        ("top1=nan", "top1 cannot be 'nan'"),
        ("top1=30dB", "top1 cannot be '30dB'"),
        ("psnr=30%", "psnr cannot be '30%'"),
        ("psnr=-x", "a drop of psnr is a number"),
        ("sqnr=-1dB", "compares with float32 already"),
        ("agreement=-1%", "compares with float32 already"),
    ],
)
def test_nonsense_is_refused(text, message):
    with pytest.raises(OptionError, match=message):
        Threshold.parse(text)


@pytest.mark.parametrize(
    ("text", "found", "words"),
    [
        ("top1=0.97", 0.97, None),
        ("top1=0.97", 0.9699, "top1 is 96.99%, less than the 97.00% asked for"),
        ("top1=-1%", 0.98, None),
        ("top1=-0.5%", 0.98, "top1 is 98.00%, less than the 98.50% (float32 and -0.5%) asked for"),
        ("top1=0.5", None, "top1 has no figure, and 0.5 is asked for"),
        ("top1=0.5", float("nan"), "top1 has no figure, and 0.5 is asked for"),
    ],
)
def test_shortfalls(text, found, words):
    short = shortfalls([Threshold.parse(text)], {"top1": found}, {"top1": 0.99})
    assert [str(one) for one in short] == ([] if words is None else [words])


def test_a_metric_where_less_is_better(monkeypatch):
    from dataclasses import replace

    from qengine.metrics import declaration

    lower = replace(declaration.metric_named("ssim"), name="error", higher_is_better=False)
    monkeypatch.setitem(declaration._METRICS, "error", lower)
    short = [Threshold.parse(text) for text in ("error=0.1", "error=0.3", "error=-0.05", "error=-0.2")]
    found = shortfalls(short, {"error": 0.2}, {"error": 0.1})
    assert list(map(str, found)) == [
        "error is 0.2000, more than the 0.1000 asked for",
        "error is 0.2000, more than the 0.1500 (float32 and -0.05) asked for",
    ]


def test_a_loss_needs_a_figure_of_float32():
    (found,) = shortfalls([Threshold.parse("top1=-1%")], {"top1": 0.9}, {"top1": None})
    assert str(found) == "float32 has no figure of top1 to allow -1% of"
