"""Options of a calibration: as one object, as keywords, or both; and the options of the runs."""

import inspect

import numpy as np
import pytest
from networks import network

from qengine import CalibrationOptions, SessionOptions, calibrate
from qengine.errors import OptionError, QEngineError
from qengine.quantization.calibration import CalibrationKeywords, choose_formats, observe

PLAIN = network([("Relu", "x", "r"), ("Mul", "r k", "y")], inputs={"x": [2, 3]}, constants={"k": 0.5})
FEEDS = [{"x": np.float32([[-1, 2, 3], [0.5, 9, -4]])}]


def test_keywords_are_the_fields():
    fields = inspect.signature(CalibrationOptions).parameters
    assert list(CalibrationKeywords.__annotations__) == list(fields)


def test_keywords_replace_those_of_the_object():
    options = CalibrationOptions(bits=6, unsigned=True)
    found = calibrate(PLAIN, FEEDS, options, bits=5)
    assert found.options == CalibrationOptions(bits=5, unsigned=True)
    assert found.formats == calibrate(PLAIN, FEEDS, bits=5, unsigned=True).formats
    assert found == choose_formats(observe(PLAIN, FEEDS), options, bits=5)


def test_options_of_the_runs():
    wanted = calibrate(PLAIN, FEEDS)
    assert calibrate(PLAIN, FEEDS, threads=2) == wanted
    assert calibrate(PLAIN, FEEDS, bits=8).formats == wanted.formats
    # A run in float32 reads no format.
    assert calibrate(PLAIN, FEEDS, session=SessionOptions(qformat="Q1.2", rounding="floor", threads=1)) == wanted
    for options in ({"session": SessionOptions(max_elements=5)}, {"max_elements": 5}):
        with pytest.raises(QEngineError, match="more than 5 elements"):
            calibrate(PLAIN, FEEDS, **options)
    assert calibrate(PLAIN, FEEDS, session=SessionOptions(max_elements=5), max_elements=6) == wanted
    with pytest.raises(OptionError, match="threads must be a whole number"):
        calibrate(PLAIN, FEEDS, threads=0)


def test_unknown_keywords():
    for function in (calibrate, observe):
        with pytest.raises(TypeError, match="unexpected keyword argument 'bit'"):
            function(PLAIN, FEEDS, bit=8)
    with pytest.raises(TypeError, match="unexpected keyword argument 'rounding'"):
        calibrate(PLAIN, FEEDS, rounding="floor")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "bits must be a whole number, 2 to 16, not 1"),
        ({"weight_bits": 17}, "weight_bits must be a whole number"),
        ({"activation_bits": 8.0}, "activation_bits must be a whole number"),
        ({"method": "entropy"}, "no method is named 'entropy'; there are mse, max, percentile"),
        ({"percentile": 0}, "percentile is above 0"),
        ({"headroom": 0.9}, "headroom is a factor of 1 to 1024"),
    ],
)
def test_options_that_mean_nothing(options, message):
    with pytest.raises(OptionError, match=message):
        calibrate(PLAIN, iter(()), **options)
