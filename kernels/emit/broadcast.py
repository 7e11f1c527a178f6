"""The code of `kernels.broadcast.Broadcast`: a loop over vectors, and one vector with a mask at the end of a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from llvmlite import ir

from ..broadcast import Broadcast
from ..elements import ELEMENT_BYTES
from ..isa import Isa
from . import element as e
from .exact import ExactOperation
from .loops import Arguments, counted
from .mathematics import Mathematics, size_of
from .strided import each_stretch
from .vector import I8, I64, Value, constant, first_lanes, load, load_masked, load_scalar


@dataclass(frozen=True)
class _Operands:
    """Operands of an operation, in registers.

    Attributes
    ----------
    spec, isa : specification and instruction set of the kernel.
    values : the operands.
    fault : address to write to where a divisor is 0.
    """

    spec: Broadcast
    isa: Isa
    values: Sequence[Value]
    fault: Value

    @property
    def kind(self) -> str:
        """The kind of the last operand's elements."""
        return e.kind_of(self.spec.operands[-1])

    def checked_divisor(self) -> Value:
        """Return the last operand, and mark a fault where it is 0."""
        divisor = self.values[-1]
        with divisor.b.if_then(divisor.equals(0).any().v, likely=False):
            constant(divisor.b, 1).store(self.fault)
        return divisor


def _divide(o: _Operands) -> Value:
    if o.kind == "f":
        return o.values[0] / o.values[1]
    return e.divided(o.values[0], o.checked_divisor(), o.kind)[0]


def _remainder(o: _Operands) -> Value:
    """Return remainders of integers with the sign of the dividend."""
    return e.divided(o.values[0], o.checked_divisor(), o.kind)[1]


def _modulo(o: _Operands) -> Value:
    """Return remainders of integers with the sign of the divisor."""
    divisor = o.checked_divisor()
    rest = e.divided(o.values[0], divisor, o.kind)[1]
    if o.kind != "i":
        return rest
    is_other = rest.differs(0) & ((rest ^ divisor) < 0)
    return (rest + divisor).where(is_other, rest)


def _prelu(o: _Operands) -> Value:
    x, slope = o.values
    return x if o.kind in "ub" else (x * slope).where(x < 0, x)


def _where(o: _Operands) -> Value:
    condition, x, y = o.values
    return x.where(condition.differs(0), y)


def _shift_left(o: _Operands) -> Value:
    x, amount = o.values
    is_near = e.less(amount, amount.like(e.bit_count(o.spec.result)), "u")
    return (x << amount.where(is_near, 0)).where(is_near, 0)


def _shift_right(o: _Operands) -> Value:
    x, amount = o.values
    bits = e.bit_count(o.spec.result)
    is_near = e.less(amount, amount.like(bits), "u")
    if o.kind == "i":
        return x >> amount.where(is_near, bits - 1)
    return x.shift_right_logical(amount.where(is_near, 0)).where(is_near, 0)


def _half(o: _Operands, x: Value) -> Value:
    """Return float32 numbers rounded to numbers of float16."""
    return e.widened(e.narrowed(x, "f16", o.isa), "f16", o.isa)


def _power(o: _Operands) -> Value:
    """Return powers of float32, computed in float64."""
    x, exponent = (e.converted(v, name, "f64") for v, name in zip(o.values, o.spec.operands, strict=True))
    m, size = Mathematics(o.isa), size_of(x)
    result = m.exp(m.log(size) * exponent)
    whole = e.whole(exponent)
    half = exponent * 0.5
    is_odd = whole.equals(exponent) & e.whole(half).differs(half)
    signed = (result * -1.0).where(is_odd & (x.bits(I64) < 0), result)
    is_real = (x >= 0.0) | whole.equals(exponent) | size.equals(float("inf"))
    signed = signed.where(is_real | x.is_nan(), float("nan"))
    is_one = x.equals(1.0) | exponent.equals(0.0) | (x.equals(-1.0) & size_of(exponent).equals(float("inf")))
    return x.like(1.0).where(is_one, signed).halved()


def _compared(relation: Callable[[Value, Value, str], Value]) -> Callable[[_Operands], Value]:
    return lambda o: relation(o.values[0], o.values[1], o.kind).widened(I8, signed=False)


def _at_most(a: Value, c: Value, kind: str) -> Value:
    return a <= c if kind == "f" else e.less(c, a, kind) ^ 1


_OPERATIONS: dict[str, Callable[[_Operands], Value]] = {
    "add": lambda o: reduce(lambda a, c: a + c, o.values),
    "subtract": lambda o: o.values[0] - o.values[1],
    "multiply": lambda o: o.values[0] * o.values[1],
    "divide": _divide,
    "fmod": _remainder,
    "mod": _modulo,
    "prelu": _prelu,
    "maximum": lambda o: reduce(lambda a, c: e.larger(a, c, o.kind), o.values),
    "minimum": lambda o: reduce(lambda a, c: e.smaller(a, c, o.kind), o.values),
    "where": _where,
    "equal": _compared(lambda a, c, _: a.equals(c)),
    "less": _compared(e.less),
    "less_equal": _compared(_at_most),
    "greater": _compared(lambda a, c, kind: e.less(c, a, kind)),
    "greater_equal": _compared(lambda a, c, kind: _at_most(c, a, kind)),
    "logical_and": lambda o: o.values[0] & o.values[1],
    "logical_or": lambda o: o.values[0] | o.values[1],
    "logical_xor": lambda o: o.values[0] ^ o.values[1],
    "logical_not": lambda o: o.values[0] ^ 1,
    "invert": lambda o: o.values[0] ^ -1,
    "shift left": _shift_left,
    "shift right": _shift_right,
    "is nan": lambda o: o.values[0].is_nan().widened(I8, signed=False),
    "is above": lambda o: o.values[0].equals(float("inf")).widened(I8, signed=False),
    "is below": lambda o: o.values[0].equals(float("-inf")).widened(I8, signed=False),
    "is infinite": lambda o: (o.values[0].equals(float("inf")) | o.values[0].equals(float("-inf"))).widened(I8, False),
    "is nothing": lambda o: o.values[0].differs(o.values[0]).widened(I8, signed=False),
    "power": _power,
    "round": lambda o: _half(o, o.values[0]),
    "copy": lambda o: o.values[0],
    "cast to half": lambda o: _half(o, e.converted(o.values[0], o.spec.operands[0], "f16")),
    "cast": lambda o: e.converted(o.values[0], o.spec.operands[0], o.spec.result),
}


def emit(spec: Broadcast, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    b, names, size = a.b, (*spec.operands, spec.result), ELEMENT_BYTES[spec.result]
    widest = max(4 if name in ("f16", "bf16") else ELEMENT_BYTES[name] for name in names)
    lanes = 8 if spec.operation == "power" or spec.rounding else 64 // widest  # those are computed in 64 bits
    exact = ExactOperation(spec, a, lanes) if spec.rounding else None
    bounds = _bounds(spec, isa, a, lanes) if spec.is_bounded else None
    operands = range(len(spec.operands))
    vectors = a.inner.divided_by(lanes)
    rest = a.inner - vectors * lanes

    def loaded(i: int, address: Value, at: Value, mask: Value | None) -> Value:
        element = e.in_memory(spec.operands[i])
        source = address + at * (lanes * ELEMENT_BYTES[spec.operands[i]])
        if mask is None:
            return load(source, element, lanes)
        ones = Value(b, ir.Constant(ir.VectorType(element, lanes), [1] * lanes))  # nothing is divided by 0 there
        return load_masked(source, mask, ones)

    def compute(addresses: Sequence[Value], repeated: dict[int, Value], at: Value, mask: Value | None) -> Value:
        values = [
            repeated[i] if i in repeated else e.widened(loaded(i, addresses[i], at, mask), spec.operands[i], isa)
            for i in operands
        ]
        if exact is not None:
            wide = [
                v.as_integers(I64) if spec.operands[i][0] == "f" else v.widened(I64, signed=spec.operands[i][0] == "i")
                for i, v in enumerate(values)
            ]
            return exact(wide).truncated(e.in_memory(spec.result))
        result = _OPERATIONS[spec.operation](_Operands(spec, isa, values, a.fault))
        if bounds is not None:
            kind = e.kind_of(spec.result)
            result = e.smaller(e.larger(result, bounds[0], kind), bounds[1], kind)
        return e.narrowed(result, spec.result, isa)

    with (
        each_stretch(a, a.mid, ("y", *(f"x{i}" for i in operands))) as (first, end, (y, *xs)),
        counted(end, first) as j,
    ):
        target, sources = y + j * a.y_mid, [x + j * a[f"x{i}_mid"] for i, x in enumerate(xs)]
        repeated = {
            i: e.widened(load_scalar(sources[i], e.in_memory(spec.operands[i])).splat(lanes), spec.operands[i], isa)
            for i in operands
            if spec.repeats[i]
        }
        with counted(vectors) as v:
            compute(sources, repeated, v, None).store(target + v * (lanes * size))
        with b.if_then((rest > 0).v):
            mask = first_lanes(rest, lanes)
            compute(sources, repeated, vectors, mask).store_masked(target + vectors * (lanes * size), mask)


def _bounds(spec: Broadcast, isa: Isa, a: Arguments, lanes: int) -> tuple[Value, Value]:
    element, size = e.in_memory(spec.result), ELEMENT_BYTES[spec.result]
    low, high = (e.widened(load_scalar(a.bounds + i * size, element).splat(lanes), spec.result, isa) for i in range(2))
    return low, high
