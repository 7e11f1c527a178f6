"""The code of `kernels.encode.Encode`."""

from ..encode import Encode
from ..isa import Isa
from .loops import Arguments, counted
from .memory import Variable
from .rounding import quarters_of_float, round_quarters
from .vector import F32, F64, I8, I16, I32, I64, LANES, Value, constant, load, load_scalar, zeros

_WHOLE = 1.5 * 2.0**52  # added to a number below 2^51 and taken off again, it leaves the nearest integer, half even
_FLUSH = 1024  # vectors whose sums of 16-bit codes fit 32 bits


def emit(spec: Encode, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    stored = I8 if spec.bits == 8 else I16
    low, high = (bound.as_floats(F64) for bound in (a.low, a.high))
    with counted(a.rows) as r:
        first, scale = r * a.columns, load_scalar(a.scales + r * 8, F64)
        x, y = a.x + first * 4, a.y + first * (spec.bits // 8)
        totals = [Variable(constant(a.b, 0)) for _ in range(2)]
        for total in totals:
            total.put(constant(a.b, 0))
        whole = a.columns.divided_by(LANES)
        with counted((whole + (_FLUSH - 1)).divided_by(_FLUSH)) as block:
            sums = [Variable(zeros(a.b, I32)) for _ in range(2)]
            for one in sums:
                one.put(zeros(a.b, I32))
            with counted((block * _FLUSH + _FLUSH).at_most(whole), block * _FLUSH) as v:
                bounds = low.splat(LANES), high.splat(LANES)
                codes = _codes(spec, a, load(x + v * (4 * LANES), F32), scale.splat(LANES), *bounds)
                codes.truncated(stored).store(y + v * (LANES * spec.bits // 8))
                for one, terms in zip(sums, (codes, _magnitude(codes)), strict=True):
                    one.put(one.get() + terms)
            for total, one in zip(totals, sums, strict=True):
                lanes = one.get().widened(I64)
                for lane in range(LANES):
                    total.put(total.get() + lanes.lane(lane))
        with counted(a.columns, whole * LANES) as c:
            code = _codes(spec, a, load_scalar(x + c * 4, F32), scale, low, high)
            code.truncated(stored).store(y + c * (spec.bits // 8))
            for total, term in zip(totals, (code, _magnitude(code)), strict=True):
                total.put(total.get() + term.widened(I64))
        for i, total in enumerate(totals):
            total.get().store(a.sums + r * 16 + 8 * i)


def _codes(spec: Encode, a: Arguments, x: Value, scale: Value, low: Value, high: Value) -> Value:
    """Return the codes of float32 numbers as 32-bit integers."""
    is_nan = x.is_nan()
    with a.b.if_then((is_nan.any() if x.is_vector else is_nan).v, likely=False):
        constant(a.b, 1).store(a.nan)
    x = x.like(0.0).where(is_nan, x)
    bounded = (x.doubled() * scale).at_least(low).at_most(high)  # bounds are integers, and rounding keeps them
    if spec.rounding == "half_even":
        return ((bounded + _WHOLE) - _WHOLE).as_integers(I32)
    return round_quarters(quarters_of_float(bounded * 4.0, I32), spec.rounding)


def _magnitude(codes: Value) -> Value:
    return codes.at_least(codes.like(0) - codes)
