"""Where windows lie, against torch and against counting by hand; the operators' own tests compare the results."""

import itertools

import pytest
import torch

from qengine.errors import ModelError
from qengine.model.ops.window import Transposed, Window

SETTINGS = list(itertools.product((1, 2, 5, 8, 13), (1, 2, 3), (1, 2, 3), (1, 2), (0, 1)))


def window(n, kernel, auto_pad="NOTSET", strides=None, dilations=None, pads=None, ceil_mode=0):
    return Window.of((n,), (kernel,), auto_pad, strides, dilations, pads, ceil_mode)


@pytest.mark.parametrize("ceil_mode", [0, 1])
def test_as_many_windows_as_torch_has(ceil_mode):
    compared = 0
    for n, k, s, d, p in SETTINGS:
        if (k - 1) * d + 1 > n + 2 * p or p > k // 2:
            continue
        out = torch.nn.functional.max_pool1d(torch.zeros(1, 1, n), k, s, p, d, bool(ceil_mode)).shape[-1]
        found = window(n, k, strides=(s,), dilations=(d,), pads=(p, p), ceil_mode=ceil_mode)
        assert found.out == (out,), (n, k, s, d, p)
        assert found.declared_pads == ((p, p),)
        ((before, after),) = found.pads
        # The last window ends inside of what is padded, or just at its end.
        assert (out - 1) * s + (k - 1) * d + 1 <= n + before + after
        compared += 1
    assert compared > 50


@pytest.mark.parametrize(
    ("n", "kernel", "stride", "upper", "lower"),
    [
        (5, 3, 1, (1, 1), (1, 1)),
        (5, 2, 1, (0, 1), (1, 0)),
        (6, 3, 2, (0, 1), (1, 0)),
        (5, 3, 2, (1, 1), (1, 1)),
        (4, 1, 3, (0, 0), (0, 0)),
    ],
)
def test_same(n, kernel, stride, upper, lower):
    for auto_pad, pads in (("SAME_UPPER", upper), ("SAME_LOWER", lower)):
        found = window(n, kernel, auto_pad, strides=(stride,))
        assert found.out == (-(-n // stride),)
        assert found.pads == (pads,)


def test_valid_has_no_padding_whatever_pads_say():
    assert window(5, 3, "VALID", pads=(2, 2)).pads == ((0, 0),)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: window(5, 3, "SAME"), "auto_pad 'SAME' is not NOTSET, SAME_UPPER, SAME_LOWER or VALID"),
        (lambda: window(2, 3), "a window of 3 does not fit an axis of 2 with padding 0 and 0"),
        (lambda: window(5, 3, strides=(0,)), r"strides \[0\] must be 1 or more"),
        (lambda: window(5, 3, strides=(1, 1)), "strides .* has 2 numbers, 1 spatial axes need as many"),
        (lambda: window(5, 3, dilations=(-1,)), r"dilations \[-1\] must be 1 or more"),
        (lambda: window(5, 0), r"kernel_shape \[0\] must be 1 or more"),
        (lambda: window(5, 3, pads=(1,)), "pads .* has 1 numbers, 1 spatial axes need 2"),
        (lambda: window(5, 3, pads=(1, -1)), r"pads \[1, -1\] must be 0 or more"),
        (lambda: transposed(3, 2, output_padding=(2,), strides=(2,)), "an output padding of 2 .* below the larger"),
        (lambda: transposed(1, 2, pads=(1, 1)), r"leaves no output: \[0\]"),
    ],
)
def test_what_does_not_fit(call, reason):
    with pytest.raises(ModelError, match=reason):
        call()


def transposed(n, kernel, auto_pad="NOTSET", strides=None, dilations=None, pads=None, output_padding=None, shape=None):
    return Transposed.of((n,), (kernel,), auto_pad, strides, dilations, pads, output_padding, shape)


def test_a_transposed_convolution_is_as_long_as_torch_s():
    compared = 0
    for n, k, s, d, p in SETTINGS:
        for extra in range(max(s, d)):
            if (n - 1) * s - 2 * p + d * (k - 1) + extra + 1 < 1:
                continue
            y = torch.nn.functional.conv_transpose1d(
                torch.zeros(1, 1, n), torch.zeros(1, 1, k), None, s, p, extra, 1, d
            )
            found = transposed(n, k, strides=(s,), dilations=(d,), pads=(p, p), output_padding=(extra,))
            assert found.out == tuple(y.shape[2:])
            compared += 1
    assert compared > 150


def test_a_transposed_convolution_of_a_wanted_length():
    assert transposed(3, 3, strides=(2,), shape=(6,)).out == (6,)
    assert transposed(3, 3, strides=(2,), shape=(6,)).pads == ((1, 0),)
    assert transposed(3, 3, "SAME_UPPER", strides=(2,), shape=(6,)).pads == ((0, 1),)
    assert transposed(3, 3, "SAME_LOWER", strides=(2,)).out == (6,)
