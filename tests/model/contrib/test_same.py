import numpy as np
import pytest
from model.contrib.cases import Draws, RuntimeCase, each, refused, scalar

from qengine.errors import ModelError, UnsupportedError

DRAWS = Draws(8)
real = DRAWS.real


X = real(2, 4, 5)
SIGNAL = real(3, 8)
HALF = np.fft.rfft(SIGNAL.astype(np.float64))
PARTS = np.stack([HALF.real, HALF.imag], -1).astype(np.float32)


def borders():
    pads = np.array([1, 0, 2, 1])
    yield RuntimeCase("Pad", (real(3, 4), pads))
    yield RuntimeCase("Pad", (real(3, 4), pads[None], real(1)))
    yield RuntimeCase("Pad", (real(3, 4), np.array([-1, 0, 2, 1]), scalar(3.0)))
    yield from (RuntimeCase("Pad", (real(3, 4), pads), {"mode": mode}) for mode in ("reflect", "edge"))


def ranges():
    for dtype in (np.int64, np.int32, np.float32, np.float64, np.int16):
        yield RuntimeCase("Range", (scalar(1, dtype), scalar(7, dtype), scalar(2, dtype)))
        yield RuntimeCase("Range", (scalar(1, dtype), scalar(7, dtype)))
        yield RuntimeCase("Range", (np.array([7], dtype), np.array([1], dtype), np.array([-2], dtype)))


def samples():
    for corners in (0, 1):
        for mode in ("bilinear", "nearest", "bicubic"):
            for padding in ("zeros", "border", "reflection"):
                attributes = {"align_corners": corners, "mode": mode, "padding_mode": padding}
                yield RuntimeCase("GridSample", (real(2, 3, 5, 6), 0.8 * real(2, 4, 3, 2)), attributes, atol=1e-4)


CASES = [
    *(
        RuntimeCase("Trilu", inputs, {"upper": upper})
        for upper in (0, 1)
        for inputs in ((X,), (X, np.array(1)), (X, np.array(-1)), (np.arange(9).reshape(3, 3),))
    ),
    RuntimeCase("GatherND", (X, np.array([[0, 1], [1, 3]]))),
    RuntimeCase("GatherND", (X, np.array([[1], [0]], np.int32))),
    *borders(),
    *ranges(),
    *(RuntimeCase("ExpandDims", (X, scalar(axis, np.int32))) for axis in (0, 1, 3, -1, -3)),
    RuntimeCase("ExpandDims", (X.astype(np.int64), np.array([1], np.int32))),
    RuntimeCase("Unique", (np.float32([2, 1, 1, 3, 4, 3]),), outputs=(True, True, True)),
    RuntimeCase("Unique", (real(5),), outputs=(True, True, True)),
    *samples(),
    RuntimeCase("Rfft", (SIGNAL,), expected=(PARTS,)),
    RuntimeCase("Rfft", (SIGNAL,), {"signal_ndim": 1, "onesided": 1, "normalized": 0}, expected=(PARTS,)),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


def test_what_is_refused():
    refused(RuntimeCase("Rfft", (SIGNAL,), {"signal_ndim": 2}), "signal_ndim 2", error=UnsupportedError)
    refused(RuntimeCase("ExpandDims", (X, scalar(9, np.int32))), "9", error=ModelError)
    refused(RuntimeCase("GatherND", (X, np.array([[2]]))), "", error=ModelError)
