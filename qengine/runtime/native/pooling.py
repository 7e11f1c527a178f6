"""Pools, over windows and over whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from qengine.kernels.isa import Isa
from qengine.kernels.pool import Pool
from qengine.kernels.program import Call
from qengine.kernels.reference.word import Word
from qengine.model.steps import Arithmetic, Mean, Move, Tensor
from qengine.model.steps.forms import AxisExtreme, AxisSum, WindowSum
from qengine.runtime.native.linear import Want
from qengine.runtime.native.op import Op, Rows, Unfit
from qengine.runtime.native.place import Address, Place, View, images


@dataclass(frozen=True)
class _Windows:
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    before: tuple[int, int]


def _windows(form: Any, x: Tensor) -> _Windows:
    shape = images(x.shape)
    if shape is None or x.ndim < 3:
        raise Unfit(f"{x.ndim} axes")
    if isinstance(form, AxisSum | AxisExtreme):
        if tuple(sorted(a % x.ndim for a in form.axes)) != tuple(range(2, x.ndim)):
            raise Unfit("axes other than the spatial ones")
        return _Windows((shape[2], shape[3]), (1, 1), (1, 1), (0, 0))

    def both(values: tuple[int, ...], other: int) -> tuple[int, int]:
        return (other, values[0]) if x.ndim == 3 else (values[0], values[1])

    before = tuple(p[0] for p in form.pads)
    return _Windows(both(form.kernel, 1), both(form.strides, 1), both(form.dilations, 1), both(before, 0))


@dataclass(eq=False)
class PoolOp(Op):
    """The largest value or the mean of windows.

    Attributes
    ----------
    spec : the kernel.
    windows : where they lie.
    counts : what sums are divided by, for every output pixel.
    shift : of fraction bits, from the input's to the output's.
    word : of the codes that come out; None where nothing is computed.
    empty : the stored value of a window without cells.
    """

    spec: Pool
    windows: _Windows
    counts: np.ndarray[Any, Any]
    shift: int
    word: Word | None
    empty: float

    def __post_init__(self) -> None:
        kinds = {"u8": np.uint8, "i16": np.int16, "f32": np.float32}
        self._counts = self.keep(self.counts.astype(np.int64))
        self._empty = self.keep(np.full(16, self.empty, kinds[self.inputs[0].stored]))
        self.kernel = f"{self.spec.operation} pool"

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return prod(self.out.shape) / self.out.block * prod(self.windows.kernel) * 2

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:
        """Return the rows of an input that rows first..end of the output are computed from."""
        w = self.windows
        low = first * w.strides[0] - w.before[0]
        high = (end - 1) * w.strides[0] - w.before[0] + (w.kernel[0] - 1) * w.dilations[0] + 1
        # It looks at no cell beyond the edge.
        height = place.shape[2]
        low, high = min(max(low, 0), height), min(max(high, 0), height)
        return (low, high) if low < high else None

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (place,), w, word = views, self.inputs, self.windows, self.word
        batch, _, _, width = self.out.shape
        arguments: dict[str, Address] = {
            **x.arguments("x"),
            **out.arguments("y"),
            **{
                "batch": batch,
                "blocks": self.out.layout.blocks,
                "first": rows.first,
                "rows": rows.count,
                "width": width,
            },
            **{
                "height_in": place.shape[2],
                "width_in": place.shape[3],
                "kernel_h": w.kernel[0],
                "kernel_w": w.kernel[1],
            },
            **{"stride_h": w.strides[0], "stride_w": w.strides[1], "dilation_h": w.dilations[0]},
            **{"dilation_w": w.dilations[1], "top": w.before[0], "left_pad": w.before[1], "empty": self._empty},
            **{"counts": self._counts, "left": max(-self.shift, 0), "right": max(self.shift, 0)},
            **{"low": word.least if word else 0, "high": word.most if word else 0, "bits": word.bits if word else 0},
            **{"zero_in": place.zero, "zero_out": self.out.zero},
        }
        return [Call(self.spec, arguments)]


def lower_max(step: Move, out: Tensor, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a MaxPool; see `lower_linear`."""
    if isinstance(step.function, AxisExtreme) and not step.function.largest:
        raise Unfit("the smallest value")
    windows = _windows(step.function, step.x)
    x = want(step.x)
    (end,) = step.constants
    empty = (step.x.encode(float(end)) + x.zero) if step.x.format is not None else float(end)  # type: ignore[arg-type]
    place = Place.of(out, x.block, x.low, x.high)
    spec = Pool("max", x.stored, x.block)  # type: ignore[arg-type]
    return [PoolOp(isa, (x,), place, spec, windows, np.ones(1), 0, None, empty)]


def lower_mean(step: Mean, out: Tensor, arithmetic: Arithmetic, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a mean over windows; see `lower_linear`."""
    if not isinstance(step.total, WindowSum | AxisSum):
        raise Unfit("a mean of its own kind")
    windows = _windows(step.total, step.x)
    count = step.count() if callable(step.count) else step.count
    x = want(step.x)
    place = Place.of(out, x.block)
    counts = np.broadcast_to(np.asarray(count, np.int64), place.shape[2:]) if np.size(count) == 1 else count
    counts = np.broadcast_to(np.asarray(counts, np.int64).reshape(-1), (prod(place.shape[2:]),))
    if out.format is None:
        spec = Pool("mean", "f32", x.block)
        return [PoolOp(isa, (x,), place, spec, windows, counts, 0, None, 0.0)]
    word, shift = arithmetic.word(out.one_format), step.x.fraction_bits - out.fraction_bits
    sum_bits = 17 + prod(windows.kernel).bit_length() + max(-shift, 0)
    if max(sum_bits, int(counts.max(initial=1)).bit_length() + max(shift, 0)) > 60:
        raise Unfit("sums that 64 bits do not hold")
    spec = Pool("mean", x.stored, x.block, word.rounding, place.stored, word.overflow == "wrap", word.signed)  # type: ignore[arg-type]
    return [PoolOp(isa, (x,), place, spec, windows, counts, shift, word, 0.0)]
