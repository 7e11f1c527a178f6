"""Small models in both arithmetics, side by side."""

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.analysis.report import compare

UNIT = np.linspace(0, 0.99, 3 * 6 * 5, dtype=np.float32).reshape(1, 3, 6, 5)
CONV = network([("Conv", "x w", "y")], constants={"w": np.float32([[[[0.3]], [[0.33]], [[0.36]]]])})
COPY = network([("Identity", "x", "y")], inputs={"x": ["N"]})


def compared(model, x, qformat="Q4.3", names=None, **options):
    feeds = x if isinstance(x, dict) else {"x": np.float32(x)}
    return compare(InferenceSession(model, qformat=qformat, **options), InferenceSession(model), feeds, names)


def decibels(signal, noise):
    return pytest.approx(10 * np.log10(np.sum(np.square(signal)) / np.sum(np.square(noise))), abs=1e-4)
