"""The code of `kernels.local_response.LocalResponse`.

Lanes are neighbouring positions, and a unit of the work goes through the channels of one vector of them. A window of k
channels is the end of a block of k and the begin of the next one. So the sums from each channel to the end of its block
are computed first, last channel first, and then the sums from the begin of the next block are added as they grow. Every
element is squared twice for a window of any size, nothing is subtracted, and an infinity stays in its own windows.

Sums are float64, so the square of no float32 is too large or too small for them. The power of float32 is computed in
float32 where the sums of all lanes are far from the ends of its range.
"""

from collections.abc import Callable

from ..elements import ELEMENT_BYTES, VECTOR_BYTES
from ..isa import Isa
from ..local_response import LocalResponse
from .loops import Arguments, counted
from .mathematics import Mathematics
from .memory import Variable
from .rows import Rows, Spot, each_unit
from .vector import F64, Value, constant, load, load_scalar, prefetch, root

_BY_EXPONENT = ("even", "odd", "real")
_SMALL, _LARGE = 2.0**-80, 2.0**80  # between them no power that is taken in float32 leaves its range


def emit(spec: LocalResponse, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    factor, bias, beta = (load_scalar(a.scalars + 8 * i, F64) for i in range(3))
    mathematics = Mathematics(isa)

    def scale_of(base: Value) -> Value:
        if spec.power in _BY_EXPONENT:
            exponent = beta.splat(base.lanes)
            is_integer, is_odd = spec.power != "real", spec.power == "odd"
            return mathematics.power(base, exponent, is_integer=is_integer, is_odd=is_odd)
        return _root_power(spec, base)

    with each_unit(a, spec.element, is_strided=True) as rows:
        assert rows.lanes is not None
        lanes = rows.lanes.lanes
        unit = _Unit(spec, a, rows, factor.splat(lanes), bias.splat(lanes), scale_of)
        with a.b.if_else((unit.rest >= lanes).v, likely=True) as (whole, part):
            with whole:
                unit.build(None)
            with part:
                unit.build(rows.lanes)


def _root_power(spec: LocalResponse, base: Value) -> Value:
    if spec.power == "one":
        return base
    first = root(base)
    return first if spec.power == "root" else first * root(first)


class _Unit:
    """The channels of one vector of positions."""

    def __init__(
        self,
        spec: LocalResponse,
        a: Arguments,
        rows: Rows,
        factor: Value,
        bias: Value,
        scale_of: Callable[[Value], Value],
    ) -> None:
        self.spec, self.a, self.rows = spec, a, rows
        self.factor, self.bias, self.scale_of = factor, bias, scale_of
        self.rest = a.inner - rows.number.modulo(a.inner)

    def build(self, mask: Value | None) -> None:
        """Build the results of the lanes of a mask, or of all."""
        a, lanes = self.a, self.factor.lanes
        nothing = self.factor.like(0.0)
        with counted((a.length + a.window - 1).divided_by(a.window)) as block:
            start = block * a.window  # the first channel of the block's windows
            first = start - a.before  # the first channel of the block, which may not exist
            low = constant(a.b, 0) - first.at_most(0)
            high = (a.length - first).at_most(a.window)
            total = Variable(nothing)
            with counted(a.window, high) as i:
                nothing.store(self._kept(i))
            with counted(high - low) as j:
                i = high - 1 - j
                spot = self._spot(first + i, mask)
                prefetch(a.x + spot.distance + VECTOR_BYTES)  # the next unit's elements
                total.put(total.get() + _square(self.rows.load(a.x, spot)))
                total.get().store(self._kept(i))
            with counted(low) as i:
                total.get().store(self._kept(i))
            total.put(nothing)
            with counted((a.length - start).at_most(a.window)) as i:
                sums = load(self._kept(i), F64, lanes, align=8) + total.get()
                self._write(self._spot(start + i, mask), sums)
                following = first + a.window + i
                square = _square(self.rows.load(a.x, self._spot(following.at_most(a.length - 1), mask)))
                total.put(total.get() + square.where(following < a.length, nothing))

    def _spot(self, channel: Value, mask: Value | None) -> Spot:
        distance = self.rows.start + channel * self.a.inner * ELEMENT_BYTES[self.spec.element]
        return Spot(channel, distance, mask)

    def _kept(self, i: Value) -> Value:
        """Return the address of the sum from a channel to the end of its block."""
        return self.a.scratch + i * (ELEMENT_BYTES["f64"] * self.factor.lanes)

    def _write(self, spot: Spot, sums: Value) -> None:
        """Build the results of a channel."""
        rows, target, x = self.rows, self.a.y, self.rows.load(self.a.x, spot)
        base = sums * self.factor + self.bias
        if x.element == F64:
            rows.store(target, spot, x / self.scale_of(base))
        elif self.spec.power in _BY_EXPONENT:
            rows.store(target, spot, (x.doubled() / self.scale_of(base)).halved())
        else:
            narrow = base.halved()
            is_wide = (narrow < _SMALL) | (narrow > _LARGE) | narrow.is_nan()
            with self.a.b.if_else(is_wide.any().v, likely=False) as (wide, plain):
                with wide:
                    rows.store(target, spot, (x.doubled() / self.scale_of(base)).halved())
                with plain:
                    rows.store(target, spot, x / self.scale_of(narrow))


def _square(x: Value) -> Value:
    wide = x if x.element == F64 else x.doubled()
    return wide * wide
