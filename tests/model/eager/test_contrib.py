"""Evaluators of ONNX Runtime's own operators."""

import numpy as np
import pytest
from model.contrib.cases import Draws, RuntimeCase, each, refused

from qengine.errors import ModelError, UnsupportedError

DRAWS = Draws(21)
real = DRAWS.real

X = real(2, 3, 6, 5)
ROIS = np.float32([[0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], [-0.2, 0.3, 1.3, 0.8], [0.9, 0.8, 0.1, 0.2], [0.5] * 4])
IMAGES = np.array([0, 1, 1, 0, 1], np.int32)
SIGNAL = real(3, 8)


def crops():
    for mode in ("bilinear", "nearest"):
        for outside in (0.0, 2.5):
            for size in ((3, 4), (1, 1), (1, 5), (7, 9)):
                attributes = {"mode": mode, "extrapolation_value": outside}
                inputs = (X, ROIS, IMAGES, np.array(size, np.int32))
                yield RuntimeCase("CropAndResize", inputs, attributes, atol=1e-4)


def halves(signal):
    transform = np.fft.rfft(signal.astype(np.float64))
    return np.stack([transform.real, transform.imag], -1).astype(np.float32)


CASES = [
    *crops(),
    RuntimeCase("CropAndResize", (X, ROIS, IMAGES, np.array([2, 3], np.int32))),
    RuntimeCase("Inverse", (real(3, 3),), atol=1e-4),
    RuntimeCase("Inverse", (real(2, 2, 3, 3).astype(np.float64),)),
    RuntimeCase("Inverse", ((np.eye(3) + 0.1 * real(2, 3, 3)).astype(np.float16),), atol=5e-3),
    RuntimeCase("CDist", (real(3, 4), real(5, 4)), atol=1e-4),
    RuntimeCase("CDist", (real(3, 4).astype(np.float64), real(5, 4).astype(np.float64)), {"metric": "euclidean"}),
    RuntimeCase("UnfoldTensor", (real(3, 8),), {"size": 3, "step": 2}),
    RuntimeCase("UnfoldTensor", (real(3, 8, 2),), {"size": 3, "dim": 1}),
    RuntimeCase("UnfoldTensor", (np.arange(8),), {"size": 8}),
    RuntimeCase("Irfft", (halves(SIGNAL),), {"signal_ndim": 1}, expected=(SIGNAL,)),
]


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


SIZE = np.array([2, 2], np.int32)
REFUSED = {
    "image": (RuntimeCase("CropAndResize", (X, ROIS, IMAGES + 1, SIZE)), "outside of 0..1"),
    "size": (RuntimeCase("CropAndResize", (X, ROIS, IMAGES, 0 * SIZE)), "positive"),
    "boxes": (RuntimeCase("CropAndResize", (X, ROIS[:2], IMAGES, SIZE)), "batch_indices"),
    "mode": (RuntimeCase("CropAndResize", (X, ROIS, IMAGES, SIZE), {"mode": "cubic"}), "cubic"),
    "no square": (RuntimeCase("Inverse", (real(3, 4),)), "[3, 4]"),
    "no inverse": (RuntimeCase("Inverse", (np.zeros((2, 2), np.float32),)), "without an inverse"),
    "integers": (RuntimeCase("Inverse", (np.eye(2, dtype=np.int64),)), "int64"),
    "columns": (RuntimeCase("CDist", (real(3, 4), real(3, 5))), "[any, 4]"),
    "slices": (RuntimeCase("UnfoldTensor", (real(3, 8),), {"size": 9}), "size 9"),
    "step": (RuntimeCase("UnfoldTensor", (real(3, 8),), {"size": 3, "step": 0}), "step 0"),
    "axis": (RuntimeCase("UnfoldTensor", (real(3, 8),), {"size": 3, "dim": 2}), "axis 2"),
    "halves": (RuntimeCase("Irfft", (real(3, 5),), {"signal_ndim": 1}), "[3, 5]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_values_that_are_not_allowed(kind):
    case, word = REFUSED[kind]
    refused(case, word, error=ModelError)


def test_what_is_not_supported():
    refused(RuntimeCase("CDist", (real(3, 4), real(3, 4)), {"metric": "cosine"}), "cosine", error=UnsupportedError)
    refused(RuntimeCase("Irfft", (real(3, 5, 2),), {"signal_ndim": 2}), "signal_ndim 2", error=UnsupportedError)
    huge = RuntimeCase("CropAndResize", (X, ROIS, IMAGES, np.array([1 << 30, 1 << 30], np.int32)))
    refused(huge, "elements", error=UnsupportedError)
