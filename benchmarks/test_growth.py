"""Growth of the time of a 3x3 convolution with the size of the image, the channels, and the word length."""

import numpy as np
import pytest

from qengine import InferenceSession
from qengine.analysis.bench.kernels import Layer


def layer(size, channels):
    return Layer("3x3", "Conv", (1, channels, size, size), (channels, channels, 3, 3), {"pads": (1, 1, 1, 1)})


def measure(benchmark, size, channels, qformat=None):
    session = InferenceSession(layer(size, channels).graph(), threads=1, qformat=qformat)
    x = np.random.default_rng(0).normal(0, 1, (1, channels, size, size)).astype(np.float32)
    benchmark.extra_info["macs"] = size * size * channels * channels * 9
    (y,) = benchmark(session.run, None, {"x": x})
    assert y.shape == x.shape


@pytest.mark.parametrize("size", [7, 14, 28, 56, 112, 224, 448])
@pytest.mark.benchmark(group="image size, 64 channels, 8 bits")
def test_image_size(benchmark, size):
    measure(benchmark, size, 64, "Q3.4")


@pytest.mark.parametrize("channels", [1, 3, 8, 16, 17, 32, 64, 128, 256])
@pytest.mark.benchmark(group="channels, 56x56, 8 bits")
def test_channels(benchmark, channels):
    measure(benchmark, 56, channels, "Q3.4")


@pytest.mark.parametrize("bits", [4, 8, 9, 12, 14, 16, 32])
@pytest.mark.benchmark(group="word length, 64 channels, 56x56; 32 is float32")
def test_word_length(benchmark, bits):
    measure(benchmark, 56, 64, None if bits == 32 else f"Q2.{bits - 3}")
