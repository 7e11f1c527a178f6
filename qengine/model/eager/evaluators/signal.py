"""Fourier transforms, window functions, and the mel scale.

Transforms are computed in float64 for float64 and else in float32, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import REALS, axis_of, checked_shape, element_dtype, scalar, working_dtype
from qengine.model.eager.evaluator import OutputType, evaluator, known_elements
from qengine.model.steps import Tensor

Array = NDArray[Any]

_NUMBERS = (*REALS, *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""Types that the attribute output_datatype may name."""


def _dft_17_types(
    x: Tensor, dft_length: Tensor | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> tuple[OutputType]:
    return _transform_types(x, dft_length, axis, inverse, onesided)


def _dft_types(
    x: Tensor, dft_length: Tensor | None = None, axis: Tensor | None = None, *, inverse: int = 0, onesided: int = 0
) -> tuple[OutputType]:
    along = -2 if axis is None else scalar(known_elements(axis), "axis")
    return _transform_types(x, dft_length, along, inverse, onesided)


def _transform_types(x: Tensor, dft_length: Tensor | None, axis: int, inverse: int, onesided: int) -> tuple[OutputType]:
    along = axis_of(axis, x.ndim)
    length = None if dft_length is None else scalar(known_elements(dft_length), "dft_length")
    if length is None:
        length = 2 * (x.shape[along] - 1) if inverse and onesided else x.shape[along]
    found = length // 2 + 1 if onesided and not inverse else length
    parts = 1 if onesided and inverse else 2
    return (((*x.shape[:along], found, *x.shape[along + 1 : -1], parts), x.dtype),)


@evaluator("DFT", since=17, outputs=_dft_17_types)
def dft_17(x: Array, dft_length: Array | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0) -> Array:
    """Discrete Fourier transform along an axis that is an attribute."""
    return _dft(x, dft_length, axis, inverse=bool(inverse), onesided=bool(onesided))


@evaluator("DFT", since=20, outputs=_dft_types)
def dft(
    x: Array, dft_length: Array | None = None, axis: Array | None = None, *, inverse: int = 0, onesided: int = 0
) -> Array:
    """Discrete Fourier transform along an axis that is an input."""
    along = -2 if axis is None else scalar(axis, "axis")
    return _dft(x, dft_length, along, inverse=bool(inverse), onesided=bool(onesided))


def _dft(x: Array, dft_length: Array | None, axis: int, *, inverse: bool, onesided: bool) -> Array:
    along = axis_of(axis, x.ndim)
    if x.ndim < 2 or x.shape[-1] not in (1, 2) or along == x.ndim - 1:
        raise ModelError(
            f"input {list(x.shape)}, axis {axis}: the last axis must have 1 (real) or 2 (complex) elements, and the "
            "transform another axis"
        )
    if onesided and (x.shape[-1] == 1) == inverse:
        raise ModelError("onesided needs a real input, or with inverse a complex one")
    length = scalar(dft_length, "dft_length")
    if length is None:
        length = 2 * (x.shape[along] - 1) if inverse and onesided else x.shape[along]
    if length < 1:
        raise ModelError(f"a transform of length {length} is not possible")
    checked_shape((*x.shape[:along], length, *x.shape[along + 1 : -1], 2), 8, "the transform")
    wide = x.astype(working_dtype(x.dtype))
    return _transformed(wide, length, along, inverse=inverse, onesided=onesided).astype(x.dtype)


def _transformed(x: Array, length: int, axis: int, *, inverse: bool, onesided: bool) -> Array:
    """Return the transform; the last axis of input and output holds real and imaginary parts."""
    values = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
    if inverse and onesided:
        return np.asarray(np.fft.irfft(values, n=length, axis=axis)[..., None])
    if not values.size:
        shape = list(values.shape)
        shape[axis] = length // 2 + 1 if onesided else length
        return np.zeros((*shape, 2))
    transform = np.fft.ifft if inverse else np.fft.rfft if onesided else np.fft.fft
    y = transform(values, n=length, axis=axis)
    return np.stack((y.real, y.imag), axis=-1)


def _stft_types(
    signal: Tensor,
    frame_step: Tensor,
    window: Tensor | None = None,
    frame_length: Tensor | None = None,
    *,
    onesided: int = 1,
) -> tuple[OutputType]:
    step = scalar(known_elements(frame_step), "frame_step")
    length = None if frame_length is None else scalar(known_elements(frame_length), "frame_length")
    if length is None:
        length = signal.shape[1] if window is None else window.shape[0]
    if step < 1 or not 1 <= length <= signal.shape[1]:
        raise ModelError(f"frames of {length} elements, {step} apart, do not fit a signal of {signal.shape[1]}")
    frames = (signal.shape[1] - length) // step + 1
    return (((signal.shape[0], frames, length // 2 + 1 if onesided else length, 2), signal.dtype),)


@evaluator("STFT", since=17, outputs=_stft_types)
def stft(
    signal: Array,
    frame_step: Array,
    window: Array | None = None,
    frame_length: Array | None = None,
    *,
    onesided: int = 1,
) -> Array:
    """Discrete Fourier transforms of frames that begin a step apart, each multiplied by the window first."""
    x = signal[..., None] if signal.ndim == 2 else signal  # torch leaves out the last axis of a real signal
    if x.ndim != 3 or x.shape[2] not in (1, 2):
        raise ModelError(f"signal {list(signal.shape)} must be [batch, length, 1 (real) or 2 (complex)]")
    step, length = scalar(frame_step, "frame_step"), scalar(frame_length, "frame_length")
    if window is not None and (window.ndim != 1 or length not in (None, len(window))):
        raise ModelError(f"window {list(window.shape)} must be a vector as long as frame_length, {length}")
    if length is None:
        length = x.shape[1] if window is None else len(window)
    if step < 1 or not 1 <= length <= x.shape[1]:
        raise ModelError(
            f"frames of {length} elements, {step} apart, do not fit a signal of {x.shape[1]}: a frame must not be "
            "longer than the signal, and the step must be 1 or more"
        )
    frames = (x.shape[1] - length) // step + 1
    checked_shape((x.shape[0], frames, length, 2), 8, "the frames")
    places = np.arange(frames)[:, None] * step + np.arange(length)
    wide = working_dtype(signal.dtype)
    parts = x.astype(wide)[:, places]
    if window is not None:
        parts = parts * window.astype(wide)[:, None]
    y = _transformed(parts, length, 2, inverse=False, onesided=bool(onesided) and x.shape[2] == 1)
    # With a complex signal the bins are not the whole transform; ONNX Runtime gives them too.
    return y[:, :, : length // 2 + 1 if onesided else length].astype(signal.dtype)


def _declare_window(name: str, shape: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
    """Declare the evaluator of a window function of the angle, from 0 to 2 pi over the window."""

    @evaluator(name, since=17)
    def window(size: Array, *, output_datatype: int = 1, periodic: int = 1) -> Array:
        dtype = element_dtype(output_datatype, _NUMBERS, "output_datatype")
        length = scalar(size, "size")
        if length < 0:
            raise ModelError(f"size {length} must be 0 or more")
        checked_shape((length,), 8, "the window")
        if length == 1 and not periodic:
            return np.ones(1, dtype)  # the peak alone
        angle = 2 * np.pi * np.arange(length) / max(length if periodic else length - 1, 1)
        return shape(angle).astype(dtype)


_declare_window("HannWindow", lambda angle: 0.5 - 0.5 * np.cos(angle))
_declare_window("HammingWindow", lambda angle: 25 / 46 - 21 / 46 * np.cos(angle))
_declare_window("BlackmanWindow", lambda angle: 0.08 * np.cos(2 * angle) - 0.5 * np.cos(angle) + 0.42)


@evaluator("MelWeightMatrix", since=17)
def mel_weight_matrix(
    num_mel_bins: Array,
    dft_length: Array,
    sample_rate: Array,
    lower_edge_hertz: Array,
    upper_edge_hertz: Array,
    *,
    output_datatype: int = 1,
) -> Array:
    """Triangular filters that turn a spectrum into bands of the mel scale."""
    dtype = element_dtype(output_datatype, _NUMBERS, "output_datatype")
    bands, length, rate = (
        scalar(one, what)
        for one, what in (
            (num_mel_bins, "num_mel_bins"),
            (dft_length, "dft_length"),
            (sample_rate, "sample_rate"),
        )
    )
    low = scalar(lower_edge_hertz.astype(np.float64), "lower_edge_hertz")
    high = scalar(upper_edge_hertz.astype(np.float64), "upper_edge_hertz")
    if bands < 1 or length < 1 or rate < 1 or not 0 <= low <= high < np.inf:
        raise ModelError(
            f"num_mel_bins {bands}, dft_length {length} and sample_rate {rate} must be positive, and lower_edge_hertz "
            f"{low} not negative and not above upper_edge_hertz {high}"
        )
    rows = length // 2 + 1
    checked_shape((rows, bands), 8, "the matrix")
    mel = np.linspace(_mel(low), _mel(high), bands + 2, endpoint=False)
    edges = np.floor((length + 1) * (700 * (10 ** (mel / 2595) - 1)) / rate)
    if edges[-1] >= rows:
        raise ModelError(f"upper_edge_hertz {high} is above half of sample_rate {rate}")
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    row = np.arange(rows)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        rising = (row - left) / (centre - left)
        falling = (right - row) / (right - centre)
    weights = np.where((row >= left) & (row < centre), rising, np.where((row > centre) & (row < right), falling, 0.0))
    return np.where(row == centre, 1.0, weights).astype(dtype)


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


__all__ = ["dft", "dft_17", "mel_weight_matrix", "stft"]
