"""LSTM, GRU and RNN, one number at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from .codes import Fmt, Options, bias_code, bring, object_array, overflow_code, quantize_array, round_fraction, scaled

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
FUNCTIONS = {
    "sigmoid": lambda x, _a, _b: 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)),
    "tanh": lambda x, _a, _b: math.tanh(x),
    "relu": lambda x, _a, _b: max(x, 0.0),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, _b: x if x >= 0 else a * x,
    "thresholdedrelu": lambda x, a, _b: x if x >= a else 0.0,
    "scaledtanh": lambda x, a, b: a * math.tanh(b * x),
    "hardsigmoid": lambda x, a, b: min(max(a * x + b, 0.0), 1.0),
    "elu": lambda x, a, _b: x if x >= 0 else a * math.expm1(x),
    "softsign": lambda x, _a, _b: x / (1 + abs(x)),
    "softplus": lambda x, _a, _b: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}
ALPHA = {"affine": 1.0, "leakyrelu": 0.01, "thresholdedrelu": 1.0, "hardsigmoid": 0.2, "elu": 1.0}
BETA = {"affine": 0.0, "hardsigmoid": 0.5}
TAKES_ALPHA = {*ALPHA, "scaledtanh"}
TAKES_BETA = {*BETA, "scaledtanh"}


@dataclass(frozen=True)
class Function:
    name: str
    alpha: float | None
    beta: float | None

    def __call__(self, code: int, fmt: Fmt) -> Fraction:
        return Fraction(FUNCTIONS[self.name](float(scaled(code, -fmt.n)), self.alpha, self.beta))

    @cache  # noqa: B019 - a few functions in all
    def fraction_bits(self, fmt: Fmt) -> int:
        """The most fraction bits, up to 15, with which no entry of the table exceeds 2^15."""
        largest = max(abs(self(code, fmt)) for code in range(fmt.low, fmt.high + 1))
        return next((n for n in range(15, 0, -1) if largest * 2**n <= 2**15), 0)

    def entry(self, code: int, fmt: Fmt, opt: Options) -> Fraction:
        n = self.fraction_bits(fmt)
        found = round_fraction(scaled(self(code, fmt), n), opt.rounding)
        return scaled(min(max(found, -(2**15)), 2**15), -n)


def functions_of(op, attrs, directions) -> list[list[Function]]:
    names = [name.lower() for name in attrs.get("activations") or DEFAULTS[op] * directions]
    alpha, beta = (iter([float(np.float32(v)) for v in attrs.get(f"activation_{k}", ())]) for k in ("alpha", "beta"))
    found = []
    for name in names:
        a = next(alpha, ALPHA.get(name)) if name in TAKES_ALPHA else None
        found.append(Function(name, a, next(beta, BETA.get(name)) if name in TAKES_BETA else None))
    count = len(DEFAULTS[op])
    return [found[d * count : (d + 1) * count] for d in range(directions)]


@dataclass
class Recurrent:
    """A node: real numbers of its constants and codes of its data, and the formats of both."""

    op: str
    attrs: dict
    opt: Options
    x: np.ndarray
    x_fmt: Fmt
    w: np.ndarray
    w_fmts: list[Fmt]
    r: np.ndarray
    r_fmts: list[Fmt]
    b: np.ndarray | None
    lens: list[int] | None
    states: dict[str, tuple[np.ndarray, Fmt]]
    p: tuple[np.ndarray, Fmt] | None
    fmts: dict[str, Fmt]

    def run(self) -> dict[str, np.ndarray]:
        layout = self.attrs.get("layout", 0)
        x = self.x.swapaxes(0, 1) if layout else self.x
        time, batch, _ = x.shape
        directions, rows, hidden = self.r.shape
        self.hidden = hidden
        out = {name: np.zeros((time, directions, batch, hidden), int).astype(object) for name in ("y", "cell")}
        out["gates"] = np.zeros((time, directions, batch, rows), int).astype(object)
        last = {name: np.zeros((directions, batch, hidden), int).astype(object) for name in ("h", "c")}
        way = self.attrs.get("direction", "forward")
        for d in range(directions):
            self.d, self.functions = d, functions_of(self.op, self.attrs, directions)[d]
            w = self.coded(self.w[d], self.w_fmts)
            r = self.coded(self.r[d], self.r_fmts)
            for s in range(batch):
                length = time if self.lens is None else self.lens[s]
                h = self.first("h", d, s, layout, self.fmts["y"])
                c = self.first("c", d, s, layout, self.fmts.get("cell"))
                steps = range(length)
                for t in reversed(steps) if d == 1 or way == "reverse" else steps:
                    h, c, gates = getattr(self, self.op.lower())(list(x[t, s]), w, r, h, c)
                    out["y"][t, d, s], out["gates"][t, d, s] = h, gates
                    if c is not None:
                        out["cell"][t, d, s] = c
                if length:
                    last["h"][d, s] = h
                    if c is not None:
                        last["c"][d, s] = c
        if layout:
            out["y"] = out["y"].transpose(2, 0, 1, 3)
            last = {name: a.swapaxes(0, 1) for name, a in last.items()}
        return {**out, **last}

    def coded(self, matrix, fmts):
        out = object_array(matrix.shape)
        for i in range(len(matrix)):
            out[i] = quantize_array(matrix[i], fmts[i if len(fmts) > 1 else 0])
        return out

    def first(self, name, d, s, layout, fmt):
        if fmt is None:
            return None
        if name not in self.states:
            return [0] * self.hidden
        codes, source = self.states[name]
        return [bring(code, source, fmt, self.opt) for code in (codes[s, d] if layout else codes[d, s])]

    def n_x(self, row):
        return self.x_fmt.n + self.w_fmts[row if len(self.w_fmts) > 1 else 0].n

    def n_h(self, row):
        return self.fmts["y"].n + self.r_fmts[row if len(self.r_fmts) > 1 else 0].n

    def bias(self, row, n, parts=("w", "r")):
        if self.b is None:
            return 0
        half = len(self.b[self.d]) // 2
        both = {"w": float(self.b[self.d][row]), "r": float(self.b[self.d][half + row])}
        return bias_code(sum(both[part] for part in parts), n)

    def gate(self, row, x, w, r, h, peephole=None):
        """The code of a gate: `peephole` has the code of the cell and that of the weight."""
        n = [self.n_x(row), self.n_h(row)]
        terms = [(sum(a * b for a, b in zip(x, w[row], strict=True)), n[0])]
        terms.append((sum(a * b for a, b in zip(h, r[row], strict=True)), n[1]))
        if self.p is not None and row < 3 * self.hidden:
            n.append(self.fmts["cell"].n + self.p[1].n)
            terms.append((peephole[0] * peephole[1], n[2]))
        return self.finish(sum(v * 2 ** (max(n) - m) for v, m in terms) + self.bias(row, max(n)), max(n))

    def wrapped(self, acc):
        bits = self.opt.accumulator_bits
        return acc if bits is None else overflow_code(acc, Fmt(bits, 0), "wrap")

    def finish(self, acc, n):
        return self.bounded(scaled(self.wrapped(acc), -n), n)

    def bounded(self, v, n):
        fmt = self.fmts["gates"]
        code = self.coarse(v, fmt, n)
        if "clip" in self.attrs:
            bound = round_fraction(scaled(Fraction(float(np.float32(self.attrs["clip"]))), fmt.n), "half_even")
            code = min(max(code, -bound, fmt.low), bound) if bound <= fmt.high else max(code, -bound, fmt.low)
            code = max(code, 0) if not fmt.signed else code
        return code

    def coarse(self, v, fmt, n):
        """The code of a number with n fraction bits."""
        return self.opt.requantize(scaled(v, fmt.n), fmt, n - fmt.n)

    def bits(self, k, fmt):
        """The fraction bits of the entries of a function."""
        return self.functions[k].fraction_bits(fmt)

    def peep(self, c, gate, unit):
        return None if self.p is None else (c[unit], self.p[0][self.d, gate * self.hidden + unit])

    def lstm(self, x, w, r, h, c):
        f, g = (lambda code, one=one: one.entry(code, self.fmts["gates"], self.opt) for one in self.functions[:2])
        size, cell, state = self.hidden, self.fmts["cell"], self.fmts["y"]
        entering = [self.gate(u, x, w, r, h, self.peep(c, 0, u)) for u in range(size)]
        keeping = [self.gate(2 * size + u, x, w, r, h, self.peep(c, 2, u)) for u in range(size)]
        new = [self.gate(3 * size + u, x, w, r, h) for u in range(size)]
        gates, after = self.fmts["gates"], []
        n = self.bits(0, gates) + max(cell.n, self.bits(1, gates))
        for u in range(size):
            enter = f(entering[u])
            keep = 1 - enter if self.attrs.get("input_forget") else f(keeping[u])
            after.append(self.coarse(keep * scaled(c[u], -cell.n) + enter * g(new[u]), cell, n))
        leaving = [self.gate(size + u, x, w, r, h, self.peep(after, 1, u)) for u in range(size)]
        last = [self.functions[2].entry(code, cell, self.opt) for code in after]
        n = self.bits(0, gates) + self.bits(2, cell)
        h = [self.coarse(f(leaving[u]) * last[u], state, n) for u in range(size)]
        return h, after, [*entering, *leaving, *keeping, *new]

    def gru(self, x, w, r, h, c):
        f, g = (lambda code, one=one: one.entry(code, self.fmts["gates"], self.opt) for one in self.functions)
        size, state, gates = self.hidden, self.fmts["y"], self.fmts["gates"]
        n_f, n_g = self.bits(0, gates), self.bits(1, gates)
        keeping = [self.gate(u, x, w, r, h) for u in range(size)]
        resetting = [self.gate(size + u, x, w, r, h) for u in range(size)]
        if self.attrs.get("linear_before_reset"):
            new = []
            for u in range(size):
                row = 2 * size + u
                of_x = sum(a * b for a, b in zip(x, w[row], strict=True)) + self.bias(row, self.n_x(row), "w")
                of_h = sum(a * b for a, b in zip(h, r[row], strict=True)) + self.bias(row, self.n_h(row), "r")
                total = scaled(self.wrapped(of_x), -self.n_x(row))
                total += f(resetting[u]) * scaled(self.wrapped(of_h), -self.n_h(row))
                new.append(self.bounded(total, max(self.n_x(row), self.n_h(row) + n_f)))
        else:
            reset = [self.coarse(f(resetting[u]) * scaled(h[u], -state.n), state, n_f + state.n) for u in range(size)]
            new = [self.gate(2 * size + u, x, w, r, reset) for u in range(size)]
        after = []
        for u in range(size):
            z = f(keeping[u])
            after.append(self.coarse((1 - z) * g(new[u]) + z * scaled(h[u], -state.n), state, n_f + max(n_g, state.n)))
        return after, c, [*keeping, *resetting, *new]

    def rnn(self, x, w, r, h, c):
        fmt, state = self.fmts["gates"], self.fmts["y"]
        gates = [self.gate(u, x, w, r, h) for u in range(self.hidden)]
        return [self.coarse(self.functions[0](g, fmt), state, state.n) for g in gates], c, gates
