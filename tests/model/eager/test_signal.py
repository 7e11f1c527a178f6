"""DFT, STFT, window functions and MelWeightMatrix."""

import numpy as np
import pytest
from model.eager.nodes import run, scalar
from model.ops.cases import Case, each, real

from qengine.errors import QEngineError

NEAR = {"rtol": 1e-4, "atol": 1e-4}
WINDOWS = ("HannWindow", "HammingWindow", "BlackmanWindow")


def dft(x, length, axis, inverse, onesided):
    """Return a case for the attribute `axis`, and one for the input."""
    flags = {"inverse": inverse, "onesided": onesided}
    own = () if length is None else (scalar(length),)
    # ONNX Runtime takes dft_length for the number of bins, where it is not twice the bins minus two.
    follows = "reference" if inverse and onesided and length is not None else "both"
    narrow = None if length is None else scalar(length, np.int32)
    return [
        Case("DFT", (x, *own), {**flags, "axis": axis}, opsets=(17, 19), follows=follows, **NEAR),
        Case("DFT", (x, narrow, scalar(axis)), flags, follows=follows, opsets=(20, 28), **NEAR),
    ]


# Of a real signal one half of the bins suffices, and of such a half the signal is real.
KINDS = ((1, 0, 0), (2, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 0), (2, 1, 1))
CASES = [
    *(
        case
        for last, inverse, onesided in KINDS
        for length, axis in ((None, 1), (4, 1), (9, -2), (7, 0))
        for case in dft(real(3, 6, 5, last), length, axis, inverse, onesided)
    ),
    Case("DFT", (real(3, 6, 2),), {}, **NEAR),
    Case("DFT", (real(6, 2),), {}, opsets=(20, 28), **NEAR),
    Case("DFT", (real(3, 6, 2).astype(np.float64),), {}),
    Case("DFT", (real(3, 6, 2).astype(np.float16),), {}, follows="reference", rtol=1e-2, atol=1e-2),
    *(
        # ONNX Runtime needs a window or a frame_length.
        Case(
            "STFT",
            (real(2, 20, last), scalar(step), *rest),
            {"onesided": onesided},
            follows="both" if rest else "reference",
            **NEAR,
        )
        for onesided in (0, 1)
        for last in (1, 2)
        for step in (1, 3)
        for rest in ((), (real(8),), (None, scalar(8)), (real(7), scalar(7)))
    ),
    Case("STFT", (real(2, 20), scalar(3), real(8)), follows="onnxruntime", **NEAR),
    Case("STFT", (real(2, 20, 1).astype(np.float64), scalar(3), real(8).astype(np.float64)), {}),
    *(
        Case(
            name,
            (scalar(size, kind),),
            {"periodic": periodic, "output_datatype": output},
            atol=1e-3 if output == 10 else 1e-6,
        )
        for name in WINDOWS
        for periodic in (0, 1)
        for size, kind in ((0, np.int64), (7, np.int32), (10, np.int64))
        for output in (1, 7, 10, 11)
    ),
    *(
        Case(
            "MelWeightMatrix",
            (*map(scalar, (bands, length, rate)), scalar(low, kind), scalar(high, kind)),
            {"output_datatype": output},
            follows="both" if kind is np.float32 and output != 10 else "reference",
            atol=1e-3 if output == 10 else 1e-6,
        )
        for bands, length, rate, low, high in (
            (8, 16, 8192, 0, 4096),
            (10, 64, 16000, 20, 8000),
            (80, 400, 16000, 125, 7600),
            (1, 1, 8000, 0, 100),
            (20, 32, 8000, 0, 4000),
            (64, 256, 8000, 0, 4000),
        )
        for kind, output in ((np.float32, 1), (np.float64, 11), (np.float32, 10), (np.float32, 7))
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_symmetric_window_of_one_element_is_its_peak(name):
    (y,) = run(name, (scalar(1),), opset=17, periodic=0)
    np.testing.assert_array_equal(y, np.float32([1]), strict=True)


def test_no_signals():
    (y,) = run("DFT", (real(0, 6, 1),), opset=20, onesided=1)
    assert y.shape == (0, 4, 2)


ERRORS = [
    ("DFT", (real(3, 6, 2), None, scalar(2)), {}, "transform another axis"),
    ("DFT", (real(3, 6, 2), None, scalar(-1)), {}, "transform another axis"),
    ("DFT", (real(3, 6, 2), None, scalar(2**62)), {}, "out of range"),
    ("DFT", (real(3, 6, 3),), {}, "must have 1 (real) or 2 (complex)"),
    ("DFT", (real(3, 6, 2),), {"onesided": 1}, "onesided needs a real input"),
    ("DFT", (real(3, 6, 1),), {"onesided": 1, "inverse": 1}, "onesided needs a real input"),
    ("DFT", (real(3, 6, 2), scalar(0)), {}, "length 0 is not possible"),
    ("DFT", (real(3, 6, 2), scalar(-3)), {}, "length -3 is not possible"),
    ("DFT", (real(3, 6, 2), scalar(2**60)), {}, "more than 1,073,741,824 elements"),
    ("DFT", (real(3, 1, 2),), {"onesided": 1, "inverse": 1}, "length 0 is not possible"),
    ("STFT", (real(2, 20, 1), scalar(0), real(8)), {}, "do not fit a signal of 20"),
    ("STFT", (real(2, 20, 1), scalar(-1), real(8)), {}, "do not fit a signal of 20"),
    ("STFT", (real(2, 20, 1), scalar(3), real(21)), {}, "do not fit a signal of 20"),
    ("STFT", (real(2, 20, 1), scalar(3), real(8), scalar(6)), {}, "must be a vector as long as"),
    ("STFT", (real(2, 20, 3), scalar(3), real(8)), {}, "must be [batch, length"),
    *((name, (scalar(-1),), {}, "must be 0 or more") for name in WINDOWS),
    ("HannWindow", (scalar(2**60),), {}, "more than 1,073,741,824 elements"),
    ("HannWindow", (np.int64([4, 5]),), {}, "must be a single number"),
    ("HannWindow", (scalar(4),), {"output_datatype": 9}, "output_datatype 9 is not a type"),
    *(
        ("MelWeightMatrix", (*map(scalar, whole), *(scalar(edge, np.float32) for edge in edges)), {}, message)
        for whole, edges, message in (
            ((8, 16, 8000), (0, 9000), "above half of sample_rate"),
            ((-8, 16, 8000), (0, 3000), "must be positive"),
            ((8, 16, 0), (0, 3000), "must be positive"),
            ((8, 16, 8000), (3000, 30), "not above upper_edge_hertz"),
            ((2**40, 16, 8000), (0, 3000), "more than 1,073,741,824 elements"),
        )
    ),
]


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"), ERRORS, ids=[f"{i}-{one[0]}" for i, one in enumerate(ERRORS)]
)
def test_what_onnx_does_not_allow_is_an_error(operator, inputs, attributes, message):
    with pytest.raises(QEngineError) as caught:
        run(operator, inputs, opset=20, **attributes)
    # onnx's own inference refuses some of them first.
    assert message in str(caught.value) or "cannot run" in str(caught.value)
