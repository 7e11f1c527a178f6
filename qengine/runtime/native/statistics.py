"""Op that counts, a record for every row of a tensor; and the figures that the records of a run give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES
from qengine.kernels.program import Call, Slot
from qengine.kernels.reference.requantize import (
    ACCUMULATOR_OVERFLOWS,
    LARGEST,
    SATURATED,
    TOTAL,
    UNDERFLOWED,
    Tally,
    new_tally,
)
from qengine.kernels.statistics import RECORD, Sample, Statistics
from qengine.runtime.native.op import Op, Rows, double_bits
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, View

SAMPLE_SIZE = 1 << 16
"""The largest number of elements of a sample, evenly spread over a tensor; its extremes come in addition."""


def sample_step(size: int) -> int:
    """Return the distance between the elements of a sample, in a tensor of a size."""
    return max(-(-size // SAMPLE_SIZE), 1)


def records_buffer(key: str, rows: int) -> TensorBuffer:
    """Return the buffer of records of rows, in an array of the caller's."""
    return TensorBuffer(key, (1, 1, rows, len(RECORD)), "f64", 1, array=key)


@dataclass(eq=False)
class StatisticsOp(Op):
    """Records of the rows of a tensor: `inputs` are its codes and, if they are compared, its float32 values.

    Attributes
    ----------
    codes : type of a code; see `Statistics`.
    zero : stored code of 0.
    fraction_bits : fraction bits of the codes.
    has_flags : whether the flags of the codes tell of this tensor.
    sample : name of the array for a sample of the values; None for none.
    """

    codes: str
    zero: int
    fraction_bits: int
    has_flags: bool
    sample: str | None = None

    def __post_init__(self) -> None:
        self.kernel = "statistics"

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return float(prod(self.inputs[0].shape))

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that count rows of the tensor."""
        codes, x, block = self.inputs[0], views[0], self.inputs[0].block
        batch, channels, height, width = codes.shape
        items, values = codes.layout.row_items, views[1:]
        spec = Statistics(self.codes, self.has_flags, bool(values))
        arguments: dict[str, Address] = {
            **x.arguments("x", rows.first),
            **{"batch": batch, "blocks": codes.layout.blocks, "rows": rows.count},
            **{"vectors": items // LANES, "rest": items % LANES, "last": LANES},
            **{"zero": self.zero, "scale": double_bits(2.0**-self.fraction_bits)},
            **{"y": out.at(rows.first), "y_row": out.row},
        }
        if block == LANES:
            arguments["last"] = channels - (codes.layout.blocks - 1) * LANES
        if self.has_flags:
            arguments["x_flags"] = x.flags
        for f in values:
            arguments |= f.arguments("f", rows.first)
        calls = [Call(spec, arguments)]
        if self.sample is not None:
            (f,) = values
            arguments = {**f.arguments("f"), "block": block, "batch": batch, "channels": channels, "height": height}
            arguments |= {"first": rows.first, "rows": rows.count, "width": width, "y": Slot(self.sample)}
            calls.append(Call(Sample(), {**arguments, "step": sample_step(prod(codes.shape))}))
        return calls


@dataclass(frozen=True)
class TensorStatistics:
    """Figures of a tensor in fixed point against the same tensor in float32.

    Attributes
    ----------
    tally : counts of the codes.
    signal, noise : sums of f^2 and of (f - q)^2; not finite where an element is not. None where shapes differ.
    sample : finite elements f, of a large tensor SAMPLE_SIZE evenly spread ones, and the extremes.
    """

    tally: Tally = field(default_factory=new_tally)
    signal: float | None = None
    noise: float | None = None
    sample: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def measure(real: NDArray[Any], exact: NDArray[Any], tally: Tally) -> TensorStatistics:
    """Return the figures of a tensor as the run gives it and in float32, with a tally that the reference counted."""
    signal = noise = None
    if real.shape == exact.shape:
        wide = exact.astype(np.float64).ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            apart = wide - real.ravel()
            signal, noise = float(np.sum(wide * wide)), float(np.sum(apart * apart))
    finite = exact.ravel()[np.isfinite(exact.ravel())]
    extremes = [finite.min(), finite.max()] if finite.size else []
    return TensorStatistics(tally, signal, noise, _with_extremes(_every(exact), exact.size, extremes))


def _every(values: NDArray[Any]) -> NDArray[Any]:
    return values.ravel()[:: sample_step(values.size)]


def _with_extremes(sample: NDArray[Any], size: int, extremes: Sequence[float]) -> NDArray[np.float64]:
    """Return the finite elements of a sample of a tensor of a size, with the extremes where the sample is not all."""
    finite = sample[np.isfinite(sample)].astype(np.float64)
    return np.concatenate([finite, extremes]) if size > SAMPLE_SIZE else finite


def of_records(
    records: NDArray[np.float64], size: int, tally: Tally | None, sample: NDArray[np.float32] | None
) -> TensorStatistics:
    """Return the figures of a tensor from the records of its rows.

    Parameters
    ----------
    records
        (rows, numbers of `RECORD`).
    size
        Number of elements.
    tally
        Counts of the reference, where it computed the tensor; None to take those of the records.
    sample
        Every `sample_step`-th float32 value; None where there are no values.
    """
    by_name = dict(zip(RECORD, records.T, strict=True))
    if tally is None:
        tally = new_tally()
        tally[SATURATED] = by_name["saturated"].sum()
        tally[UNDERFLOWED] = by_name["underflowed"].sum()
        tally[ACCUMULATOR_OVERFLOWS] = by_name["overflowed"].sum()
        tally[LARGEST] = max(by_name["largest"].max(), -by_name["least"].min())
        tally[TOTAL] = size
    if sample is None:
        return TensorStatistics(tally)
    low, high = by_name["minimum"].min(), by_name["maximum"].max()
    return TensorStatistics(
        tally,
        float(by_name["signal"].sum()),
        float(by_name["noise"].sum()),
        _with_extremes(sample, size, [low, high] if low <= high else []),
    )
