"""An independent model of the numerics: exact integers and fractions, one plain loop per operator.

Nothing here comes from the package under test. Codes are Python integers in NumPy object arrays, which
serve as containers only; float64 appears only where the definition asks for it (constants of a folded
BatchNormalization, Resize taps, functions of one variable).

`run` evaluates a small ONNX model. Where the definition cannot pin down a code (a float64 function that
lands within 1e-9 of a rounding step, the float island of Softmax), the tensor carries the set of codes that
are acceptable; a later operator that would read such a code raises `Ambiguous` instead of guessing.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROUNDINGS = ("half_even", "half_up", "half_away", "floor", "trunc")
OVERFLOWS = ("saturate", "wrap")


class Ambiguous(Exception):  # noqa: N818 - not an error: the definition leaves the value open
    """The definition does not pin this value down, or this model of it has no rule for the graph."""


# ----------------------------------------------------------------------------------------------------
# Formats, rounding, overflow


@dataclass(frozen=True)
class Fmt:
    bits: int
    n: int
    signed: bool = True

    @classmethod
    def parse(cls, text: str) -> Fmt:
        u, m, n = re.fullmatch(r"(U?)Q(-?\d+)\.(-?\d+)", text).groups()
        return cls(int(m) + int(n) + (not u), int(n), not u)

    @property
    def low(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    @property
    def dtype(self) -> type:
        if self.bits <= 8:
            return np.int8 if self.signed else np.uint8
        return np.int16 if self.signed else np.uint16

    def __str__(self) -> str:
        return f"{'Q' if self.signed else 'UQ'}{self.bits - self.n - self.signed}.{self.n}"


def round_fraction(v: Fraction, mode: str) -> int:
    below = v.numerator // v.denominator  # Python's // goes toward -inf
    rest = v - below
    if mode == "floor":
        return below
    if mode == "trunc":
        return below if v >= 0 or rest == 0 else below + 1
    half = Fraction(1, 2)
    if rest != half:
        return below if rest < half else below + 1
    if mode == "half_even":
        return below if below % 2 == 0 else below + 1
    if mode == "half_up":
        return below + 1
    if mode == "half_away":
        return below + 1 if v > 0 else below
    raise ValueError(mode)


def overflow_code(code: int, fmt: Fmt, mode: str) -> int:
    if mode == "saturate":
        return min(max(code, fmt.low), fmt.high)
    assert mode == "wrap"
    low = code % 2**fmt.bits
    return low - 2**fmt.bits if fmt.signed and low >= 2 ** (fmt.bits - 1) else low


def scaled(v: Fraction | int, n: int) -> Fraction:
    """v * 2^n."""
    return Fraction(v) * 2**n if n >= 0 else Fraction(v) / 2**-n


def quantize_value(x: float, fmt: Fmt, rounding: str = "half_even", overflow: str = "saturate") -> int:
    x = float(x)
    if math.isnan(x):
        raise ValueError("NaN has no code")
    if math.isinf(x):
        return fmt.high if x > 0 else fmt.low
    return overflow_code(round_fraction(scaled(Fraction(x), fmt.n), rounding), fmt, overflow)


# ----------------------------------------------------------------------------------------------------
# Constants


def fits(value: float, bits: int, n: int) -> bool:
    code = round_fraction(scaled(Fraction(float(value)), n), "half_even")
    return -(2 ** (bits - 1)) <= code <= 2 ** (bits - 1) - 1


def auto_format(values, bits: int) -> Fmt:
    """The signed format of `bits` bits with the largest n at which no value saturates."""
    values = {float(v) for v in np.asarray(values).reshape(-1)}
    if not any(values):
        return Fmt(bits, bits - 1)
    # Only the extremes can leave the range first.
    extremes = {min(values), max(values)}
    for n in range(149, -113, -1):
        if all(fits(v, bits, n) for v in extremes):
            return Fmt(bits, n)
    return Fmt(bits, -112)


def object_array(shape) -> np.ndarray:
    return np.empty(shape, dtype=object)


def quantize_array(values, fmt: Fmt, rounding="half_even", overflow="saturate") -> np.ndarray:
    values = np.asarray(values)
    out = object_array(values.shape)
    for i in np.ndindex(values.shape):
        out[i] = quantize_value(values[i], fmt, rounding, overflow)
    return out


def constant_formats(values, bits: int, axis: int | None) -> list[Fmt]:
    """One format per index of `axis`, or a single one where `axis` is None."""
    values = np.asarray(values)
    if axis is None:
        return [auto_format(values, bits)]
    return [auto_format(values.take(i, axis), bits) for i in range(values.shape[axis])]


def quantize_weights(values, formats: list[Fmt], axis: int | None) -> np.ndarray:
    values = np.asarray(values)
    if len(formats) == 1:
        return quantize_array(values, formats[0])
    out = object_array(values.shape)
    for i in np.ndindex(values.shape):
        out[i] = quantize_value(values[i], formats[i[axis]])
    return out


def bias_code(value: float, n: int, bits: int = 32) -> int:
    return quantize_value(value, Fmt(bits, n))


# ----------------------------------------------------------------------------------------------------
# Tensors and the options of a run


@dataclass
class Codes:
    """Codes in one format; `open` holds, per flat index, all acceptable codes where there are several."""

    codes: np.ndarray
    fmt: Fmt
    open: dict[int, frozenset[int]] = field(default_factory=dict)

    @property
    def shape(self):
        return self.codes.shape

    def exact(self) -> np.ndarray:
        if self.open:
            raise Ambiguous("an operator reads a code that is not pinned down")
        return self.codes


@dataclass(frozen=True)
class Options:
    qformat: Fmt
    rounding: str = "half_even"
    overflow: str = "saturate"
    accumulator_bits: int | None = None
    per_channel: bool = False
    # These exist so that the oracle itself can be checked against float arithmetic at high precision.
    bias_bits: int = 32
    tap_bits: int | None = None
    pinned: bool = False  # True: the exact value's code is the only one

    def requantize(self, v: Fraction, fmt: Fmt) -> int:
        """The one round + overflow; v is in units of the output's step."""
        return overflow_code(round_fraction(v, self.rounding), fmt, self.overflow)


def bring(code: int, source: Fmt, target: Fmt, opt: Options) -> int:
    return opt.requantize(scaled(code, target.n - source.n), target)


def finish(acc: int, n_acc: int, fmt: Fmt, opt: Options) -> int:
    """The end of a linear operator: the simulated accumulator, then one round + overflow."""
    if opt.accumulator_bits is not None:
        acc = overflow_code(acc, Fmt(opt.accumulator_bits, 0), "wrap")
    return opt.requantize(scaled(acc, fmt.n - n_acc), fmt)


# ----------------------------------------------------------------------------------------------------
# Windows: the positions that Conv and the pools read


@dataclass
class Windows:
    """Per spatial axis: input length, kernel, stride, dilation, pads and output length."""

    length: list[int]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    out: list[int]

    def positions(self, out_index):
        """Every kernel index with the input position it reads (which may lie in the padding)."""
        for k in np.ndindex(*self.kernel):
            at = zip(out_index, self.strides, k, self.dilations, self.begin, strict=True)
            yield k, tuple(o * s + kk * d - p for o, s, kk, d, p in at)

    def inside(self, position) -> bool:
        return all(0 <= p < size for p, size in zip(position, self.length, strict=True))

    def inside_padded(self, position) -> bool:
        at = zip(position, self.length, self.begin, self.end, strict=True)
        return all(-b <= p < size + e for p, size, b, e in at)


def make_windows(shape, kernel, attrs: dict) -> Windows:
    rank = len(kernel)
    length = list(shape[2:])
    strides = list(attrs.get("strides", [1] * rank))
    dilations = list(attrs.get("dilations", [1] * rank))
    pads = list(attrs.get("pads", [0] * (2 * rank)))
    auto_pad = attrs.get("auto_pad", "NOTSET")
    ceil_mode = attrs.get("ceil_mode", 0)
    begin, end, out = pads[:rank], pads[rank:], []
    for i in range(rank):
        extent = (kernel[i] - 1) * dilations[i] + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            size = -(-length[i] // strides[i])
            total = max((size - 1) * strides[i] + extent - length[i], 0)
            small, large = total // 2, total - total // 2
            begin[i], end[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        else:
            if auto_pad == "VALID":
                begin[i] = end[i] = 0
            free = length[i] + begin[i] + end[i] - extent
            size = (-(-free // strides[i]) if ceil_mode else free // strides[i]) + 1
            # A window that would start in the padding at the end does not exist.
            if ceil_mode and (size - 1) * strides[i] >= length[i] + begin[i]:
                size -= 1
        out.append(size)
    return Windows(length, list(kernel), strides, dilations, begin, end, out)


# ----------------------------------------------------------------------------------------------------
# Linear operators


def n_of(formats: list[Fmt], channel: int) -> int:
    return formats[channel if len(formats) > 1 else 0].n


def bias_of(bias, channel: int, n_acc: int, opt: Options) -> int:
    return 0 if bias is None else bias_code(bias[channel], n_acc, opt.bias_bits)


def conv(x: Codes, weight, bias, attrs: dict, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    w = quantize_weights(weight, formats, 0)
    out_channels, per_group = w.shape[:2]
    groups = attrs.get("group", 1)
    win = make_windows(x.shape, w.shape[2:], attrs)
    data = x.exact()
    y = object_array((x.shape[0], out_channels, *win.out))
    for b, m, *at in np.ndindex(y.shape):
        n_acc = x.fmt.n + n_of(formats, m)
        acc = bias_of(bias, m, n_acc, opt)
        first = (m // (out_channels // groups)) * per_group
        for c in range(per_group):
            for k, position in win.positions(at):
                if win.inside(position):
                    acc += data[(b, first + c, *position)] * w[(m, c, *k)]
        y[(b, m, *at)] = finish(acc, n_acc, fmt, opt)
    return Codes(y, fmt)


def gemm(x: Codes, weight, bias, attrs: dict, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    if attrs.get("alpha", 1.0) != 1.0 or attrs.get("beta", 1.0) != 1.0:
        raise Ambiguous("alpha and beta other than 1")
    trans_b = attrs.get("transB", 0)
    w = quantize_weights(weight, formats, 0 if trans_b else 1)
    data = x.exact()
    if attrs.get("transA", 0):
        data = data.T
    if trans_b:
        w = w.T
    rows, depth = data.shape
    columns = w.shape[1]
    full_bias = None if bias is None else np.broadcast_to(bias, (rows, columns))
    y = object_array((rows, columns))
    for i, j in np.ndindex(rows, columns):
        n_acc = x.fmt.n + n_of(formats, j)
        acc = 0 if full_bias is None else bias_code(full_bias[i, j], n_acc, opt.bias_bits)
        for k in range(depth):
            acc += data[i, k] * w[k, j]
        y[i, j] = finish(acc, n_acc, fmt, opt)
    return Codes(y, fmt)


def matmul(x: Codes, weight, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    w = quantize_weights(weight, formats, 1)
    data = x.exact()
    y = object_array((*x.shape[:-1], w.shape[1]))
    for *row, j in np.ndindex(y.shape):
        acc = sum(data[(*row, k)] * w[k, j] for k in range(w.shape[0]))
        y[(*row, j)] = finish(acc, x.fmt.n + n_of(formats, j), fmt, opt)
    return Codes(y, fmt)


def batchnorm_scale(gamma, var, eps: float) -> list[float]:
    """gamma / sqrt(var + eps), in float64."""
    return [float(g) / math.sqrt(float(v) + eps) for g, v in zip(gamma, var, strict=True)]


def batchnorm_constants(gamma, beta, mean, var, eps: float):
    """The scale and the shift of a BatchNormalization that stands alone."""
    scale = batchnorm_scale(gamma, var, eps)
    shift = [float(b) - float(m) * s for b, m, s in zip(beta, mean, scale, strict=True)]
    return np.array(scale).astype(np.float32), np.array(shift).astype(np.float32)


def fold_batchnorm(weight, bias, gamma, beta, mean, var, eps: float):
    """The weights and the bias of a Conv that has taken the BatchNormalization after it."""
    scale = batchnorm_scale(gamma, var, eps)
    folded = np.empty(weight.shape, np.float32)
    for i in np.ndindex(weight.shape):
        folded[i] = np.float32(float(weight[i]) * scale[i[0]])
    old = [0.0] * len(scale) if bias is None else [float(b) for b in bias]
    rows = zip(old, mean, scale, beta, strict=True)
    return folded, np.array([(b - float(m)) * s + float(be) for b, m, s, be in rows]).astype(np.float32)


def batchnorm(x: Codes, scale, shift, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    w = quantize_weights(scale, formats, 0)
    data = x.exact()
    y = object_array(x.shape)
    for i in np.ndindex(x.shape):
        c = i[1]
        n_acc = x.fmt.n + n_of(formats, c)
        y[i] = finish(bias_of(shift, c, n_acc, opt) + data[i] * w[c], n_acc, fmt, opt)
    return Codes(y, fmt)


# ----------------------------------------------------------------------------------------------------
# Arithmetic on several tensors


def divide(a: Fraction, b: Fraction, fmt: Fmt, opt: Options) -> int:
    if b == 0:
        return 0 if a == 0 else fmt.high if a > 0 else fmt.low
    return opt.requantize(a / b * Fraction(2) ** fmt.n, fmt)


def arithmetic(op: str, inputs: list[Codes], fmt: Fmt, opt: Options) -> Codes:
    shape = np.broadcast_shapes(*(t.shape for t in inputs))
    spread = [np.broadcast_to(t.exact(), shape) for t in inputs]
    y = object_array(shape)
    for i in np.ndindex(shape):
        values = [scaled(s[i], -t.fmt.n) for s, t in zip(spread, inputs, strict=True)]
        if op in ("Max", "Min"):
            codes = [bring(s[i], t.fmt, fmt, opt) for s, t in zip(spread, inputs, strict=True)]
            y[i] = max(codes) if op == "Max" else min(codes)
        elif op == "Div":
            y[i] = divide(*values, fmt, opt)
        else:
            if op in ("Add", "Sum"):
                v = sum(values)
            elif op == "Sub":
                v = values[0] - values[1]
            else:
                v = values[0] * values[1]
            y[i] = opt.requantize(scaled(v, fmt.n), fmt)
    return Codes(y, fmt)


def concat(inputs: list[Codes], axis: int, fmt: Fmt, opt: Options) -> Codes:
    parts = []
    for t in inputs:
        part = object_array(t.shape)
        for i in np.ndindex(t.shape):
            part[i] = bring(t.exact()[i], t.fmt, fmt, opt)
        parts.append(part)
    return Codes(np.concatenate(parts, axis), fmt)


# ----------------------------------------------------------------------------------------------------
# Pools and reductions


def max_pool(x: Codes, attrs: dict) -> Codes:
    win = make_windows(x.shape, attrs["kernel_shape"], attrs)
    data = x.exact()
    y = object_array((*x.shape[:2], *win.out))
    for b, c, *at in np.ndindex(y.shape):
        read = [data[(b, c, *p)] for _, p in win.positions(at) if win.inside(p)]
        if not read:
            raise Ambiguous("a window that holds padding only")
        y[(b, c, *at)] = max(read)
    return Codes(y, x.fmt)


def mean_code(total: int, count: int, x: Fmt, fmt: Fmt, opt: Options) -> int:
    return opt.requantize(scaled(Fraction(total, count), fmt.n - x.n), fmt)


def average_pool(x: Codes, attrs: dict, fmt: Fmt, opt: Options) -> Codes:
    win = make_windows(x.shape, attrs["kernel_shape"], attrs)
    data = x.exact()
    y = object_array((*x.shape[:2], *win.out))
    for b, c, *at in np.ndindex(y.shape):
        read = [p for _, p in win.positions(at)]
        total = sum(data[(b, c, *p)] for p in read if win.inside(p))
        counted = win.inside_padded if attrs.get("count_include_pad", 0) else win.inside
        count = sum(counted(p) for p in read)
        if not any(win.inside(p) for p in read):
            raise Ambiguous("a window that holds padding only")
        y[(b, c, *at)] = mean_code(total, count, x.fmt, fmt, opt)
    return Codes(y, fmt)


def reduce(x: Codes, axes, keepdims: int, mean: bool, fmt: Fmt, opt: Options) -> Codes:
    rank = len(x.shape)
    axes = {a % rank for a in axes} if axes is not None else set(range(rank))
    kept = tuple(1 if a in axes else size for a, size in enumerate(x.shape))
    groups: dict[tuple, list[int]] = {}
    data = x.exact()
    for i in np.ndindex(x.shape):
        groups.setdefault(tuple(0 if a in axes else j for a, j in enumerate(i)), []).append(data[i])
    y = object_array(kept)
    for i, codes in groups.items():
        y[i] = mean_code(sum(codes), len(codes) if mean else 1, x.fmt, fmt, opt)
    if not keepdims:
        y = y.reshape([size for a, size in enumerate(kept) if a not in axes])
    return Codes(y, fmt)


# ----------------------------------------------------------------------------------------------------
# Functions of one variable. Each returns (value, exact): the value as a Fraction, and whether float64 reaches
# it without error, so that a tie is a tie for everyone.

PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
CTX = Context(prec=60, Emin=-(10**9), Emax=10**9)


def to_decimal(v: Fraction) -> Decimal:
    return CTX.divide(Decimal(v.numerator), Decimal(v.denominator))


def exp(v: Fraction) -> Fraction:
    if v < -2000:
        return Fraction(1, 2**2000)  # exp(-2000) < 2^-2000: zero for every format, yet not zero
    if v > 20000:
        raise Ambiguous("exp far beyond float64")
    return Fraction(CTX.exp(to_decimal(v)))


def log(v: Fraction) -> Fraction:
    return Fraction(CTX.ln(to_decimal(v)))


def sqrt(v: Fraction) -> Fraction:
    return Fraction(CTX.sqrt(to_decimal(v)))


def erf(v: Fraction) -> Fraction:
    if abs(v) > 12:
        tail = 1 - Fraction(1, 2**200)  # 1 - erf(12) < 2^-200
        return tail if v > 0 else -tail
    # 2/sqrt(pi) * sum (-1)^k v^(2k+1) / (k! (2k+1)); the terms reach e^144, so carry 250 bits more.
    bits = 512
    x = round(v * 2**bits)
    x2 = (x * x) >> bits
    term, total, k = x, x, 0
    while term:
        k += 1
        term = -((term * x2) >> bits) // k
        if term == -1:
            term = 0
        total += term // (2 * k + 1)
    return Fraction(total, 2**bits) * 2 / sqrt(PI)


def tanh(v: Fraction) -> Fraction:
    e = exp(-2 * abs(v))
    t = (1 - e) / (1 + e)
    return t if v >= 0 else -t


def sigmoid(v: Fraction) -> Fraction:
    e = exp(-abs(v))
    return 1 / (1 + e) if v >= 0 else e / (1 + e)


def clamp01(v: Fraction) -> Fraction:
    return min(max(v, Fraction(0)), Fraction(1))


def unary(op: str, v: Fraction, attrs: dict) -> tuple[Fraction, bool]:
    a = Fraction(attrs["alpha"]) if isinstance(attrs.get("alpha"), float) else None
    zero = v == 0
    if op == "Abs":
        return abs(v), True
    if op == "Neg":
        return -v, True
    if op == "Floor":
        return Fraction(math.floor(v)), True
    if op == "Ceil":
        return Fraction(math.ceil(v)), True
    if op == "LeakyRelu":
        return (v if v >= 0 else a * v), True
    if op == "HardSigmoid":
        return clamp01(a * v + Fraction(attrs["beta"])), True
    if op == "HardSwish":
        exact = v <= -3 or v >= 3 or zero
        return v * clamp01(v / 6 + Fraction(1, 2)), exact  # 1/6 is not exact in float64
    if op == "Softsign":
        return v / (1 + abs(v)), True  # one exact sum and one division: as for Sqrt
    if op == "Sqrt":
        if v < 0:
            raise Ambiguous("the square root of a negative value")
        # Correctly rounded in float64, and an irrational root is never that close to a tie.
        return sqrt(v), True
    if op == "Pow":
        if attrs["exponent"] == 0.5:
            return unary("Sqrt", v, {})
        return v ** int(attrs["exponent"]), attrs["exponent"] in (2, 3)
    if op == "Exp":
        return (Fraction(1), True) if zero else (exp(v), False)
    if op == "Log":
        if v <= 0:
            raise Ambiguous("the logarithm of a value that is not positive")
        return (Fraction(0), True) if v == 1 else (log(v), False)
    if op == "Sigmoid":
        return (Fraction(1, 2), True) if zero else (sigmoid(v), False)
    if op == "Tanh":
        return (Fraction(0), True) if zero else (tanh(v), False)
    if op == "Erf":
        return (Fraction(0), True) if zero else (erf(v), False)
    if op == "Softplus":
        return (max(v, Fraction(0)) + log(1 + exp(-abs(v)))), False
    if op == "Elu":
        return (v, True) if v >= 0 else (a * (exp(v) - 1), False)
    if op == "Gelu":
        if zero:
            return Fraction(0), True
        if attrs.get("approximate", "none") == "tanh":
            inner = sqrt(2 / PI) * (v + Fraction(44715, 10**6) * v**3)
            return v / 2 * (1 + tanh(inner)), False
        return v / 2 * (1 + erf(v / sqrt(Fraction(2)))), False
    raise Ambiguous(op)


UNARY = (
    *("Abs", "Ceil", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu"),
    *("Log", "Neg", "Pow", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh"),
)
NEAR = Fraction(1, 10**9)


def acceptable(v: Fraction, exact: bool, fmt: Fmt, opt: Options, tolerance=NEAR) -> frozenset[int]:
    """The codes that a float64 evaluation of v (in units of the output's step) may give."""
    if exact or opt.pinned:
        return frozenset({opt.requantize(v, fmt)})
    tolerance = max(tolerance, abs(v) / 2**46)
    # No function here crosses zero by a rounding error.
    low = round_fraction(max(v - tolerance, 0) if v > 0 else v - tolerance, opt.rounding)
    high = round_fraction(min(v + tolerance, 0) if v < 0 else v + tolerance, opt.rounding)
    if high - low > 3 and opt.overflow == "wrap":
        raise Ambiguous("the low bits of a value beyond the precision of float64")
    if opt.overflow == "saturate":
        middle = round_fraction(v, opt.rounding)
        return frozenset(overflow_code(c, fmt, "saturate") for c in (low, middle, high))
    return frozenset(overflow_code(c, fmt, opt.overflow) for c in range(low, high + 1))


def table(x: Codes, op: str, attrs: dict, fmt: Fmt, opt: Options) -> Codes:
    data = x.exact()
    entries: dict[int, tuple[int, frozenset[int]]] = {}
    y, opened = object_array(x.shape), {}
    for flat, i in enumerate(np.ndindex(x.shape)):
        code = data[i]
        if code not in entries:
            v, exact = unary(op, scaled(code, -x.fmt.n), attrs)
            v = scaled(v, fmt.n)
            entries[code] = (opt.requantize(v, fmt), acceptable(v, exact, fmt, opt))
        y[i], allowed = entries[code]
        if len(allowed) > 1:
            opened[flat] = allowed
    return Codes(y, fmt, opened)


def softmax(x: Codes, axis: int, flatten: bool, fmt: Fmt, opt: Options) -> Codes:
    """A float island: exact here, with the codes that float32 rounding may reach within one step."""
    data = x.exact()
    rank = len(x.shape)
    axis %= rank
    axes = set(range(axis, rank)) if flatten else {axis}
    groups: dict[tuple, list] = {}
    for flat, i in enumerate(np.ndindex(x.shape)):
        groups.setdefault(tuple(j for a, j in enumerate(i) if a not in axes), []).append((flat, i))
    y, opened = object_array(x.shape), {}
    for members in groups.values():
        top = max(data[i] for _, i in members)
        powers = [exp(scaled(data[i] - top, -x.fmt.n)) for _, i in members]
        for (flat, i), power in zip(members, powers, strict=True):
            v = scaled(power / sum(powers), fmt.n)
            y[i] = opt.requantize(v, fmt)
            allowed = acceptable(v, False, fmt, opt, max(Fraction(1, 100), abs(v) / 2**18))
            if len(allowed) > 1:
                opened[flat] = allowed
    return Codes(y, fmt, opened)


# ----------------------------------------------------------------------------------------------------
# Resize


def source_coordinate(mode: str, i: int, n_in: int, n_out: int, scale):
    """Where output index i reads, by the formulas of ONNX; the type of `scale` sets the arithmetic."""
    one = type(scale)(1)
    half = one / 2
    if mode == "asymmetric":
        return i / scale
    if mode == "half_pixel":
        return (i + half) / scale - half
    if mode == "pytorch_half_pixel":
        return (i + half) / scale - half if n_out > 1 else 0 * one
    if mode == "align_corners":
        # The resized length before it is cut to a whole number, as in ONNX's own test data.
        return i * (n_in - 1) / (scale * n_in - 1) if n_out > 1 else 0 * one
    if mode == "half_pixel_symmetric":
        adjustment = n_out / (scale * n_in)
        return n_in * half * (1 - adjustment) + (i + half) / scale - half
    raise Ambiguous(mode)


def nearest_index(x, nearest_mode: str) -> int:
    if nearest_mode == "floor":
        return math.floor(x)
    if nearest_mode == "ceil":
        return math.ceil(x)
    below = math.floor(x)
    rest = x - below
    if nearest_mode == "round_prefer_floor":
        return below if rest <= 0.5 else below + 1
    assert nearest_mode == "round_prefer_ceil"
    return below if rest < 0.5 else below + 1


def tap_weights(mode: str, r, a):
    """The weights of the two (linear) or four (cubic) neighbours; r is the fractional part."""
    if mode == "linear":
        return [1 - r, r]

    def outer(t):
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    def inner(t):
        return ((a + 2) * t - (a + 3)) * t * t + 1

    return [outer(r + 1), inner(r), inner(1 - r), outer(2 - r)]


def integer_taps(mode: str, x, n_in: int, a, exclude_outside: int, c: int) -> list[tuple[int, int]]:
    """(input index, integer weight) of one output coordinate; the weights sum to exactly 2^c."""
    below = math.floor(x)
    weights = tap_weights(mode, x - below, a)
    first = below if mode == "linear" else below - 1
    where = [first + k for k in range(len(weights))]
    if exclude_outside:
        weights = [w if 0 <= p < n_in else 0 * w for w, p in zip(weights, where, strict=True)]
        total = sum(weights)
        if abs(total) < 1e-6:
            raise Ambiguous("every sampled position lies outside")
        weights = [w / total for w in weights]
    taps = [round_fraction(scaled(Fraction(w), c), "half_even") for w in weights]
    largest = taps.index(max(taps))
    taps[largest] += 2**c - sum(taps)
    return [(min(max(p, 0), n_in - 1), t) for p, t in zip(where, taps, strict=True)]


def resize_scales(shape, scales, sizes):
    """The output shape and per axis the scale as ONNX has it: a float32 that was given, or out / in."""
    if sizes is not None:
        out = [int(s) for s in sizes]
        return out, [Fraction(o, i) for o, i in zip(out, shape, strict=True)]
    out = [int(np.floor(np.float32(i) * np.float32(s))) for i, s in zip(shape, scales, strict=True)]
    return out, [Fraction(float(np.float32(s))) for s in scales]


def resize(x: Codes, scales, sizes, attrs: dict, fmt: Fmt, opt: Options) -> Codes:
    mode = attrs.get("mode", "nearest")
    coordinates = attrs.get("coordinate_transformation_mode", "half_pixel")
    nearest_mode = attrs.get("nearest_mode", "round_prefer_floor")
    a = attrs.get("cubic_coeff_a", -0.75)
    exclude = attrs.get("exclude_outside", 0)
    if attrs.get("antialias", 0) or attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Ambiguous("an option of Resize that this model leaves out")
    out, exact_scales = resize_scales(x.shape, scales, sizes)
    c = opt.tap_bits or (11 if x.fmt.bits <= 8 else 14)
    # Per axis and output index: the input positions with their integer weights.
    axes, resized = [], 0
    for n_in, n_out, scale in zip(x.shape, out, exact_scales, strict=True):
        if n_in == n_out and scale == 1:
            axes.append([[(i, 1)] for i in range(n_in)])
            continue
        resized += 1
        lines = []
        for i in range(n_out):
            place = source_coordinate(coordinates, i, n_in, n_out, float(scale))
            exact = source_coordinate(coordinates, i, n_in, n_out, scale)
            if mode == "nearest":
                p = nearest_index(place, nearest_mode)
                if p != nearest_index(exact, nearest_mode):
                    raise Ambiguous("the nearest index hangs on the last bit of a float")
                line = [(min(max(p, 0), n_in - 1), 1)]
            else:
                line = integer_taps(mode, place, n_in, a, exclude, c)
                again = integer_taps(mode, exact, n_in, Fraction(a), exclude, c)
                if spread_taps(line) != spread_taps(again):
                    raise Ambiguous("a tap hangs on the last bit of a float")
            lines.append(line)
        axes.append(lines)
    data = x.exact()
    y = object_array(tuple(out))
    for i in np.ndindex(y.shape):
        lines = [axes[d][j] for d, j in enumerate(i)]
        total = 0
        for combination in itertools.product(*lines):
            weight = math.prod(w for _, w in combination)
            if weight:
                total += weight * data[tuple(p for p, _ in combination)]
        # Nearest copies: it has no arithmetic, and its two tensors share one format.
        shift = fmt.n - x.fmt.n - c * resized
        y[i] = total if mode == "nearest" else opt.requantize(scaled(total, shift), fmt)
    return Codes(y, fmt)


def spread_taps(line) -> dict[int, int]:
    total: dict[int, int] = {}
    for p, t in line:
        total[p] = total.get(p, 0) + t
    return {p: t for p, t in total.items() if t}


# ----------------------------------------------------------------------------------------------------
# Operators that only move or clip codes


def clip(x: Codes, low: float | None, high: float | None) -> Codes:
    lo = x.fmt.low if low is None else quantize_value(low, x.fmt)
    hi = x.fmt.high if high is None else quantize_value(high, x.fmt)
    y = object_array(x.shape)
    for i in np.ndindex(x.shape):
        y[i] = min(max(x.exact()[i], lo), hi)
    return Codes(y, x.fmt)


def pad(x: Codes, pads, value: float, mode: str) -> Codes:
    rank = len(x.shape)
    code = quantize_value(value, x.fmt)
    y = object_array(tuple(s + pads[d] + pads[d + rank] for d, s in enumerate(x.shape)))
    for i in np.ndindex(y.shape):
        at = [j - pads[d] for d, j in enumerate(i)]
        if mode == "edge":
            at = [min(max(p, 0), s - 1) for p, s in zip(at, x.shape, strict=True)]
        elif mode == "reflect":
            at = [-p if p < 0 else min(p, 2 * (s - 1) - p) for p, s in zip(at, x.shape, strict=True)]
        inside = all(0 <= p < s for p, s in zip(at, x.shape, strict=True))
        y[i] = x.exact()[tuple(at)] if inside else code
    return Codes(y, x.fmt)


def depth_to_space(data: np.ndarray, block: int, mode: str) -> np.ndarray:
    b, c, h, w = data.shape
    depth = c // (block * block)
    y = object_array((b, depth, h * block, w * block))
    for n, d, i, j in np.ndindex(y.shape):
        inner = (i % block) * block + j % block
        channel = inner * depth + d if mode == "DCR" else d * block * block + inner
        y[n, d, i, j] = data[n, channel, i // block, j // block]
    return y


def space_to_depth(data: np.ndarray, block: int) -> np.ndarray:
    b, c, h, w = data.shape
    y = object_array((b, c * block * block, h // block, w // block))
    for n, d, i, j in np.ndindex(y.shape):
        inner, channel = divmod(d, c)
        y[n, d, i, j] = data[n, channel, i * block + inner // block, j * block + inner % block]
    return y


# ----------------------------------------------------------------------------------------------------
# The interpreter

LINEAR = ("BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul")
# Operators whose input and output share one format.
PRESERVING = (
    *("Clip", "DepthToSpace", "Dropout", "Flatten", "Identity", "MaxPool", "Pad", "Relu", "Reshape", "Slice"),
    *("SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze", "Expand", "Tile", "Gather", "Split"),
)


def attributes(node) -> dict:
    out = {}
    for a in node.attribute:
        value = helper.get_attribute_value(a)
        out[a.name] = value.decode() if isinstance(value, bytes) else value
    # The defaults are float32 in the schema of ONNX.
    defaults = {
        "LeakyRelu": {"alpha": 0.01},
        "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
        "Elu": {"alpha": 1.0},
        "BatchNormalization": {"epsilon": 1e-5},
    }
    for name, value in defaults.get(node.op_type, {}).items():
        out.setdefault(name, float(np.float32(value)))
    return out


def hands_through(node) -> bool:
    return node.op_type in PRESERVING or (
        node.op_type == "Resize" and attributes(node).get("mode", "nearest") == "nearest"
    )


@dataclass
class Net:
    """A model taken apart: constants, readers, folded BatchNormalizations, groups that share a format."""

    model: onnx.ModelProto

    def __post_init__(self):
        graph = self.model.graph
        self.opset = next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.nodes = []
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(attributes(node)["value"])
            else:
                self.nodes.append(node)
        self.inputs = [i.name for i in graph.input if i.name not in self.constants]
        self.outputs = [o.name for o in graph.output]
        self.readers: dict[str, list] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        made_by = {node.output[0]: node for node in self.nodes}
        self.folded = {}  # the output of a Conv that takes a BatchNormalization -> that node
        for node in self.nodes:
            if node.op_type != "BatchNormalization":
                continue
            source = made_by.get(node.input[0])
            if source is None or source.op_type not in LINEAR:
                continue
            if len(self.readers[node.input[0]]) > 1 or node.input[0] in self.outputs:
                continue
            if source.op_type != "Conv":
                raise Ambiguous(f"BatchNormalization after {source.op_type}")
            self.folded[source.output[0]] = node
        # Groups of tensors with one format, by repeated union.
        self.group: dict[str, set[str]] = {}
        for name in self.activations():
            self.group[name] = {name}
        for node in self.nodes:
            if hands_through(node):
                for out in node.output:
                    joined = self.group[node.input[0]] | self.group[out]
                    for member in joined:
                        self.group[member] = joined

    def activations(self) -> list[str]:
        return [*self.inputs, *(o for node in self.nodes for o in node.output if o)]

    def observable(self) -> list[str]:
        """The tensors that exist whatever is fused: all but a Conv's output that a folded node hides."""
        return [o for node in self.nodes for o in node.output if o and o not in self.folded]

    def format_of(self, name: str, formats: dict[str, Fmt], qformat: Fmt) -> Fmt:
        named = {formats[m] for m in self.group[name] if m in formats}
        if len(named) > 1:
            raise Ambiguous(f"two formats for the group of {name}")
        return named.pop() if named else qformat


def run(model: onnx.ModelProto, feeds: dict, options: Options, formats: dict[str, Fmt] | None = None):
    """Every activation of the model as `Codes`, by name."""
    net = Net(model)
    formats = formats or {}
    values: dict[str, Codes] = {}

    def fmt_of(name):
        return net.format_of(name, formats, options.qformat)

    for name in net.inputs:
        fmt = fmt_of(name)
        values[name] = Codes(quantize_array(feeds[name], fmt, options.rounding, options.overflow), fmt)
    hidden = {node.output[0] for node in net.folded.values()}
    for node in net.nodes:
        if node.output[0] in hidden:
            continue  # evaluated with its Conv
        if node.output[0] in net.folded:
            bn = net.folded[node.output[0]]
            values[bn.output[0]] = evaluate(net, node, values, fmt_of(bn.output[0]), options, bn)
            continue
        result = evaluate(net, node, values, fmt_of(node.output[0]), options)
        if node.op_type == "Split":
            values.update(zip(node.output, result, strict=True))
        else:
            values[node.output[0]] = result
    return values


def linear_formats(weight, axis: int, opt: Options) -> list[Fmt]:
    return constant_formats(weight, opt.qformat.bits, axis if opt.per_channel else None)


def evaluate(net: Net, node, values: dict, fmt: Fmt, opt: Options, bn=None):
    op, attrs, k = node.op_type, attributes(node), net.constants
    x = values.get(node.input[0])

    def constant(i):
        return k[node.input[i]] if len(node.input) > i and node.input[i] else None

    def operand(name) -> Codes:
        if name in values:
            return values[name]
        own = auto_format(k[name], opt.qformat.bits)
        return Codes(quantize_array(k[name], own), own)

    if op == "Conv":
        weight, bias = constant(1), constant(2)
        if bn is not None:
            stats = [k[name] for name in bn.input[1:5]]
            weight, bias = fold_batchnorm(weight, bias, *stats, attributes(bn)["epsilon"])
        return conv(x, weight, bias, attrs, linear_formats(weight, 0, opt), fmt, opt)
    if op == "Gemm":
        axis = 0 if attrs.get("transB", 0) else 1
        return gemm(x, constant(1), constant(2), attrs, linear_formats(constant(1), axis, opt), fmt, opt)
    if op == "MatMul":
        return matmul(x, constant(1), linear_formats(constant(1), 1, opt), fmt, opt)
    if op == "BatchNormalization":
        scale, shift = batchnorm_constants(*(k[name] for name in node.input[1:5]), attrs["epsilon"])
        return batchnorm(x, scale, shift, linear_formats(scale, 0, opt), fmt, opt)
    if op in ("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min"):
        return arithmetic(op, [operand(name) for name in node.input], fmt, opt)
    if op == "Concat":
        return concat([values[name] for name in node.input], attrs["axis"], fmt, opt)
    if op == "AveragePool":
        return average_pool(x, attrs, fmt, opt)
    if op == "GlobalAveragePool":
        return reduce(x, range(2, len(x.shape)), 1, True, fmt, opt)
    if op in ("ReduceMean", "ReduceSum"):
        axes = attrs.get("axes", constant(1))
        return reduce(x, axes, attrs.get("keepdims", 1), op == "ReduceMean", fmt, opt)
    if op == "Pow":
        attrs["exponent"] = float(constant(1))
        return table(x, op, attrs, fmt, opt)
    if op in UNARY:
        return table(x, op, attrs, fmt, opt)
    if op == "Softmax":
        old = net.opset < 13
        return softmax(x, attrs.get("axis", 1 if old else -1), old, fmt, opt)
    if op == "Resize":
        scales, sizes = constant(2), constant(3)
        sizes = None if sizes is None or not sizes.size else sizes
        if "axes" in attrs:  # those not named keep their length
            full_scales, full_sizes = [1.0] * len(x.shape), list(x.shape)
            for i, axis in enumerate(attrs["axes"]):
                if sizes is None:
                    full_scales[axis] = scales[i]
                else:
                    full_sizes[axis] = sizes[i]
            scales, sizes = full_scales, sizes if sizes is None else full_sizes
        return resize(x, scales, sizes, attrs, fmt, opt)
    return move(net, node, x, attrs, constant)


def move(net: Net, node, x: Codes, attrs: dict, constant):
    op, rank, data = node.op_type, len(x.shape), x.exact()
    if op in ("Identity", "Dropout"):
        return x
    if op == "Relu":
        return clip(x, 0.0, None)
    if op == "Clip":
        low, high = constant(1), constant(2)
        return clip(x, None if low is None else float(low), None if high is None else float(high))
    if op == "MaxPool":
        return max_pool(x, attrs)
    if op == "Pad":
        value = 0.0 if constant(2) is None else float(constant(2))
        return pad(x, [int(p) for p in constant(1)], value, attrs.get("mode", "constant"))
    if op == "Flatten":
        axis = attrs.get("axis", 1)
        axis = axis + rank if axis < 0 else axis
        y = data.reshape(math.prod(x.shape[:axis]), -1)
    elif op == "Reshape":
        y = data.reshape([x.shape[i] if s == 0 else int(s) for i, s in enumerate(constant(1))])
    elif op == "Transpose":
        y = data.transpose(attrs.get("perm", list(range(rank))[::-1]))
    elif op == "Squeeze":
        axes = attrs.get("axes", constant(1))
        y = data.reshape([s for i, s in enumerate(x.shape) if i not in {int(a) % rank for a in axes}])
    elif op == "Unsqueeze":
        axes = [int(a) for a in attrs.get("axes", constant(1))]
        y = np.expand_dims(data, tuple(axes))
    elif op == "Slice":
        starts, ends, axes, steps = (constant(i) for i in range(1, 5))
        cut = [slice(None)] * rank
        for a, s, e, t in zip(axes, starts, ends, steps, strict=True):
            # ONNX and Python agree but for an end below -length at a negative step, which is None in Python.
            cut[int(a)] = slice(int(s), None if t < 0 and e < -x.shape[int(a)] else int(e), int(t))
        y = data[tuple(cut)]
    elif op == "DepthToSpace":
        y = depth_to_space(data, attrs["blocksize"], attrs.get("mode", "DCR"))
    elif op == "SpaceToDepth":
        y = space_to_depth(data, attrs["blocksize"])
    elif op == "Expand":
        y = np.broadcast_to(data, np.broadcast_shapes(x.shape, tuple(int(s) for s in constant(1))))
    elif op == "Tile":
        y = np.tile(data, [int(r) for r in constant(1)])
    elif op == "Gather":
        y = data.take(constant(1), attrs.get("axis", 0))
    elif op == "Split":
        axis = attrs.get("axis", 0)
        sizes = attrs.get("split", constant(1))
        if sizes is None:
            sizes = [x.shape[axis] // len(node.output)] * len(node.output)
        cuts = list(itertools.accumulate(int(s) for s in sizes))[:-1]
        return [Codes(part, x.fmt) for part in np.split(data, cuts, axis)]
    else:
        raise Ambiguous(op)
    return Codes(y, x.fmt)
