"""Operators that ONNX has too, under another name or with other inputs."""

import numpy as np

from qengine.errors import UnsupportedError
from qengine.model.contrib.expansion import Builder, expansion


@expansion("Trilu")
def trilu(builder: Builder, x: str, k: str | None = None, *, upper: int = 1) -> str:
    """The upper or lower triangle of matrices."""
    return builder.op("Trilu", x, k or "", since=14, upper=upper)


@expansion("GatherND")
def gather_nd(builder: Builder, data: str, indices: str) -> str:
    """Slices of the data at tuples of indices."""
    return builder.op("GatherND", data, builder.op("Cast", indices, to=7))


@expansion("Pad")
def pad(builder: Builder, data: str, pads: str, value: str | None = None, *, mode: str = "constant") -> str:
    """Data with borders; the widths may be a matrix of one row, and the value a vector of one element."""
    value = builder.op("Reshape", value, builder.constant(np.zeros(0, np.int64))) if value else ""
    return builder.op("Pad", data, builder.op("Reshape", pads, builder.ints(-1)), value, mode=mode)


@expansion("Range")
def range_(builder: Builder, start: str, limit: str, delta: str | None = None) -> str:
    """start, start + delta, ... before the limit; each may be a vector of one element."""
    scalar = builder.constant(np.zeros(0, np.int64))
    numbers = [builder.op("Reshape", x, scalar) for x in (start, limit, delta) if x]
    return builder.op("Range", *numbers, *([] if delta else [builder.number(1, start)]))


@expansion("ExpandDims")
def expand_dims(builder: Builder, x: str, axis: str) -> str:
    """X with an axis of length 1 more."""
    return builder.op("Unsqueeze", x, builder.op("Reshape", builder.op("Cast", axis, to=7), builder.ints(1)))


@expansion("Unique")
def unique(builder: Builder, x: str) -> tuple[str, str, str]:
    """The distinct elements in their order, the place of each element among them, and how often each occurs."""
    values, _, places, counts = builder.ops(4, "Unique", x, sorted=0)
    return values, places, counts


@expansion("GridSample")
def grid_sample(
    builder: Builder,
    x: str,
    grid: str,
    *,
    align_corners: int = 0,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
) -> str:
    """X sampled at the places of a grid."""
    return builder.op(
        "GridSample", x, grid, since=16, align_corners=align_corners, mode=mode, padding_mode=padding_mode
    )


@expansion("Rfft")
def rfft(builder: Builder, x: str, *, signal_ndim: int = 1, onesided: int = 1, normalized: int = 0) -> str:
    """The first half of the discrete Fourier transform along the last axis, with real and imaginary parts."""
    _check_fourier(signal_ndim, onesided, normalized)
    signal = builder.op("Unsqueeze", x, builder.ints(-1))
    return builder.op("DFT", signal, "", builder.constant(np.array(-2)), since=20, onesided=1)


def _check_fourier(signal_ndim: int, onesided: int, normalized: int) -> None:
    if (signal_ndim, onesided, normalized) != (1, 1, 0):
        raise UnsupportedError(
            f"has signal_ndim {signal_ndim}, onesided {onesided} and normalized {normalized}; 1, 1 and 0 are supported"
        )
