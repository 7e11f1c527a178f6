import numpy as np
import pytest

from qengine.kernels.reference.window import pad_spatial, windows

ROW = np.arange(1, 6).reshape(1, 1, 5)


@pytest.mark.parametrize(
    ("pads", "expected"),
    [
        ((0, 0), [1, 2, 3, 4, 5]),
        ((2, 0), [9, 9, 1, 2, 3, 4, 5]),
        ((0, 1), [1, 2, 3, 4, 5, 9]),
        ((-1, 0), [2, 3, 4, 5]),
        ((0, -2), [1, 2, 3]),
        ((-1, 2), [2, 3, 4, 5, 9, 9]),
        ((2, -1), [9, 9, 1, 2, 3, 4]),
        ((-2, -2), [3]),
        ((-3, -2), []),
        ((-4, -4), []),
        ((0, -6), []),
        ((-6, 3), [9, 9]),  # what is added is there before anything is cropped
        ((3, -7), [9]),
    ],
)
def test_pads_and_crops(pads, expected):
    assert pad_spatial(ROW, (pads,), 9).tolist() == [[expected]]


def test_every_axis_has_its_own_pads():
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    got = pad_spatial(x, ((1, -1), (-1, 2)), -1.0)
    assert got.tolist() == [
        [[[-1, -1, -1, -1], [1, 2, -1, -1]], [[-1, -1, -1, -1], [7, 8, -1, -1]]],
    ]


def test_nothing_added_is_nothing_copied():
    assert np.shares_memory(pad_spatial(ROW, ((0, 0),), 0), ROW)
    assert np.shares_memory(pad_spatial(ROW, ((-1, -1),), 0), ROW)
    assert pad_spatial(np.ones((2, 3)), (), 0).shape == (2, 3)


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "dilations"),
    [
        ((2, 3, 9), (3,), (2,), (2,)),
        ((1, 2, 6, 7), (3, 2), (1, 3), (2, 1)),
        ((1, 1, 4, 5, 6), (2, 1, 3), (2, 1, 1), (1, 1, 2)),
        ((0, 2, 5), (2,), (1,), (1,)),
    ],
)
def test_windows(shape, kernel, strides, dilations):
    x = np.arange(np.prod(shape)).reshape(shape)
    view = windows(x, kernel, strides, dilations)
    out = tuple(
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(shape[2:], kernel, strides, dilations, strict=True)
    )
    assert view.shape == (*shape[:2], *out, *kernel)
    for place in np.ndindex(out):
        for tap in np.ndindex(kernel):
            at = tuple(p * s + t * d for p, s, t, d in zip(place, strides, tap, dilations, strict=True))
            assert np.array_equal(view[(..., *place, *tap)], x[(..., *at)])


def test_windows_are_views_that_cannot_be_written():
    x = np.zeros((1, 1, 5))
    view = windows(x, (2,), (1,), (1,))
    assert np.shares_memory(view, x)
    assert not view.flags.writeable


def test_window_larger_than_the_array():
    with pytest.raises(ValueError, match="window shape"):
        windows(np.zeros((1, 1, 3)), (2,), (1,), (3,))
