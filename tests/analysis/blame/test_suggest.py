"""Which format is suggested, and when nothing is."""

import numpy as np
import pytest

from qengine.analysis.blame.suggest import suggest
from qengine.qformat import ChannelFormats, QFormat
from qengine.quantization.calibration.error import exact_error
from qengine.quantization.calibration.histogram import Histogram

NORMAL = np.random.default_rng(3).normal(size=20000)


def suggested(values, form, share=0.0, rows=None):
    histogram = Histogram()
    histogram.add(np.asarray(values, np.float32))
    return suggest(histogram, QFormat.parse(form) if isinstance(form, str) else form, share, rows)


@pytest.mark.parametrize(
    ("values", "form", "text", "better"),
    [
        (NORMAL, "Q7.0", "5 fewer integer bits", "Q2.5"),
        (NORMAL, "Q3.4", "one fewer integer bit", "Q2.5"),
        (NORMAL, "Q0.7", "2 more integer bits", "Q2.5"),
        (NORMAL * 2, "Q2.5", "one more integer bit", "Q3.4"),
        (NORMAL / 256, "Q0.7", "6 fewer integer bits", "Q-6.13"),
        (NORMAL, "UQ2.6", "signed, as some values are negative", "Q2.5"),
        (np.abs(NORMAL), "UQ4.4", "2 fewer integer bits", "UQ2.6"),
    ],
)
def test_the_best_of_as_many_bits(values, form, text, better):
    found = suggested(values, form)
    assert (found.text, str(found.format)) == (text, better)
    noise = [exact_error(np.asarray(values, np.float64), QFormat.parse(f)) for f in (form, better)]
    assert found.gain_db == pytest.approx(10 * np.log10(noise[0] / noise[1]), abs=0.3)


def test_nothing_better():
    assert suggested(NORMAL, "Q2.5") is None
    assert suggested(np.zeros(5), "Q7.0") is None
    assert suggested(NORMAL, ChannelFormats((QFormat.parse("Q7.0"),) * 2, 0)) is None


def test_what_does_much_harm_is_worth_another_word():
    assert suggested(np.abs(NORMAL), "Q2.5", share=0.24) is None
    found = suggested(np.abs(NORMAL), "Q2.5", share=0.25)
    assert (found.text, str(found.format)) == ("unsigned, as it is never negative", "UQ2.6")
    found = suggested(NORMAL, "Q2.5", share=0.25)
    assert (found.text, str(found.format)) == ("one more bit", "Q2.6")
    assert found.gain_db == pytest.approx(6.02, abs=0.5)
    assert suggested(NORMAL, "Q3.12", share=1.0) is None  # there are no longer words
    found = suggested(NORMAL, "Q2.5", 1.0, NORMAL.reshape(2, -1))
    assert (found.text, str(found.format)) == ("one more bit", "Q2.6")


def test_weights_per_channel_where_channels_differ():
    rows = NORMAL[:640].reshape(10, -1) * ([[1.0]] + [[0.5]] * 9)
    found = suggested(rows, "Q2.5", rows=rows)
    assert found.text == "weights per channel"
    assert [form.bits for form in found.format.formats] == [8] * 10
    alone = sum(exact_error(row, form) for row, form in zip(rows, found.format.formats, strict=True))
    assert found.gain_db == pytest.approx(10 * np.log10(exact_error(rows, QFormat.parse("Q2.5")) / alone), abs=1e-6)
    same = NORMAL[:640].reshape(10, -1)
    found = suggested(same, "Q4.3", rows=same)
    assert (found.text, str(found.format)) == ("2 fewer integer bits", "Q2.5")
