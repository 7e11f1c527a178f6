"""LSTM, GRU and RNN in fixed point against an oracle that computes one number at a time, with Python's integers."""

from __future__ import annotations

import re
from contextlib import nullcontext
from itertools import product

import numpy as np
import pytest
from networks import network
from oracle.codes import OVERFLOWS, ROUNDINGS, Fmt, Options
from oracle.recurrent import DEFAULTS, FUNCTIONS, GATES, Recurrent

import qengine
from qengine.errors import UnsupportedError

BOTH = "bidirectional"
NAMES = {"y": "y", "h": "h", "c": "c", "gates": "y (gates)", "cell": "y (cell)"}


class Node:
    """A model of one node with random inputs; `given` are the optional ones: b, h, c and p."""

    def __init__(
        self,
        operator,
        *,
        given="",
        lens=None,
        computed="h0 c0",
        time=3,
        batch=2,
        size=3,
        hidden=3,
        seed=0,
        changed=None,
        **attributes,
    ):
        rng = np.random.default_rng([len(operator), batch, hidden, seed])
        n, gates = 2 if attributes.get("direction") == BOTH else 1, GATES[operator]
        layout = attributes.get("layout", 0)

        def real(*shape):
            return rng.uniform(-1, 1, shape).astype(np.float32)

        given = given if operator == "LSTM" else given.replace("c", "").replace("p", "")
        self.operator, self.attributes, self.lens = operator, attributes, lens
        arrays = {"x": 3 * real(*((batch, time) if layout else (time, batch)), size)}
        arrays |= {"w": real(n, gates * hidden, size), "r": real(n, gates * hidden, hidden)}
        arrays |= {"b": real(n, 2 * gates * hidden)} if "b" in given else {}
        arrays |= {s: 2 * real(*((batch, n) if layout else (n, batch)), hidden) for s in ("h0", "c0") if s[0] in given}
        arrays |= {"p": real(n, 3 * hidden)} if "p" in given else {}
        arrays |= {"lens": np.array(lens, np.int32)} if lens is not None else {}
        arrays |= changed or {}
        self.arrays = arrays
        self.feeds = {name: a for name, a in arrays.items() if name in {"x", "lens", *computed.split()}}
        names = ["x", "w", "r", "b", "lens", "h0", *(("c0", "p") if operator == "LSTM" else ())]
        self.outputs = ["y", "h", "c"] if operator == "LSTM" else ["y", "h"]
        self.model = network(
            [(operator, " ".join(n if n in arrays else "-" for n in names), " ".join(self.outputs), attributes)],
            inputs={name: (a.dtype, list(a.shape)) for name, a in self.feeds.items()},
            outputs=self.outputs,
            constants={name: a for name, a in arrays.items() if name not in self.feeds},
        )
        self.names = [*self.outputs, "y (gates)", *(["y (cell)"] if operator == "LSTM" else [])]

    def expected(self, session, options):
        """Return what the oracle gives for all outputs, with the formats of a session."""
        formats = session.formats
        opt = Options(None, **options)

        def fmts(name):
            found = formats[name]
            return [Fmt.parse(str(one)) for one in getattr(found, "formats", [found])]

        def codes(name):
            (array,) = session.run([name], self.feeds, raw=True)
            return array.astype(object), fmts(name)[0]

        x, x_fmt = codes("x")
        b = self.arrays.get("b")
        return Recurrent(
            self.operator,
            self.attributes,
            opt,
            x,
            x_fmt,
            self.arrays["w"],
            fmts("w"),
            self.arrays["r"],
            fmts("r"),
            None if b is None else b.astype(np.float64),
            self.lens,
            {name[0]: codes(name) for name in ("h0", "c0") if name in self.arrays},
            codes("p") if "p" in self.arrays else None,
            {key: fmts(NAMES[key])[0] for key in ("y", "gates", "cell") if NAMES[key] in self.names},
        ).run()


def check(node, *, qformat="Q3.4", formats=None, fixed=None, **options):
    session = qengine.InferenceSession(
        node.model, isa="reference", qformat=qformat, formats=formats or {}, strict=True, **options
    )
    arithmetic = {k: v for k, v in options.items() if k in ("rounding", "overflow", "accumulator_bits")}
    want = node.expected(session, arithmetic)
    for name, array in zip(node.names, session.run(node.names, node.feeds, raw=True), strict=True):
        place = {v: k for k, v in NAMES.items()}[name]
        np.testing.assert_array_equal(array, want[place].astype(np.int64), err_msg=name)
    return session


FORMATS_16 = {"x": "Q2.13", "y": "Q0.15", "y (gates)": "Q4.11", "y (cell)": "Q2.13"}
CASES = {
    "LSTM": ("LSTM", "bhc", {}),
    "LSTM in both directions, ragged": ("LSTM", "bhcp", {"lens": [3, 0], "direction": BOTH}),
    "LSTM backwards, batch first": ("LSTM", "bhc", {"lens": [1, 3], "direction": "reverse", "layout": 1}),
    "LSTM with coupled gates and bounds": ("LSTM", "bp", {"input_forget": 1, "clip": 0.8}),
    "LSTM of constant states": ("LSTM", "bhc", {"computed": ""}),
    "LSTM of one unit": ("LSTM", "", {"hidden": 1, "size": 1, "batch": 1, "time": 1}),
    "LSTM of other functions": (
        "LSTM",
        "b",
        {
            "activations": ["HardSigmoid", "Elu", "LeakyRelu"],
            "activation_alpha": [0.3, 0.7],
            "activation_beta": [0.4],
        },
    ),
    "GRU": ("GRU", "bh", {"direction": BOTH, "lens": [2, 3]}),
    "GRU that resets after": ("GRU", "bh", {"direction": BOTH, "linear_before_reset": 1, "lens": [2, 0]}),
    "GRU without a bias": ("GRU", "", {"linear_before_reset": 1, "clip": 0.5}),
    "GRU, batch first, bounds": ("GRU", "h", {"layout": 1, "direction": "reverse", "clip": 1.3}),
    "GRU of other functions": ("GRU", "b", {"activations": ["Affine", "Relu"], "activation_alpha": [0.2]}),
    "RNN": ("RNN", "bh", {"direction": "reverse", "lens": [1, 3]}),
    "RNN with bounds, batch first": ("RNN", "b", {"clip": 0.7, "layout": 1, "direction": BOTH}),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", CASES)
def test_against_the_oracle(name, bits):
    operator, given, attributes = CASES[name]
    formats = FORMATS_16 if bits == 16 else {"y": "Q0.7", "y (gates)": "Q3.4"}
    if operator != "LSTM":
        formats = {key: value for key, value in formats.items() if key != "y (cell)"}
    check(Node(operator, given=given, **attributes), qformat="Q4.11" if bits == 16 else "Q2.5", formats=formats)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions(function):
    numbers = {"activation_alpha": [0.8], "activation_beta": [1.5]} if function == "scaledtanh" else {}
    check(Node("RNN", given="b", activations=[function], **numbers), formats={"y (gates)": "Q2.3"})
    if not numbers:
        names = [function, *DEFAULTS["LSTM"][1:]]
        check(Node("LSTM", given="b", activations=names), formats={"y": "Q0.5", "y (gates)": "Q3.4"})


@pytest.mark.parametrize(("rounding", "overflow"), [*product(ROUNDINGS, OVERFLOWS)])
@pytest.mark.parametrize("operator", GATES)
def test_arithmetic(operator, rounding, overflow):
    more = {"linear_before_reset": 1} if operator == "GRU" else {}
    node = Node(operator, given="bhcp", **more)
    check(node, qformat="Q1.5", formats={"x": "Q2.3"}, rounding=rounding, overflow=overflow, per_channel=True)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("operator", GATES)
def test_random_formats(operator, seed):
    """Words of 2 to 16 bits, signed and not, far from each other."""
    rng = np.random.default_rng([seed, len(operator)])

    def fmt(least=2):
        bits, signed = int(rng.integers(least, 17)), bool(rng.integers(0, 4))
        n = int(rng.integers(-2, bits + 3))
        return f"{'' if signed else 'U'}Q{bits - n - signed}.{n}"

    formats = {name: fmt() for name in ("x", "y", "y (gates)")} | ({"y (cell)": fmt()} if operator == "LSTM" else {})
    attributes = {} if operator != "GRU" else {"linear_before_reset": seed % 2}
    attributes |= {"clip": 0.9} if seed % 3 == 0 else {}
    node = Node(operator, given="bhcp" if seed % 2 else "b", computed="", seed=seed, **attributes)
    wrapping = {"accumulator_bits": int(rng.integers(8, 33)), "overflow": "wrap"} if seed % 4 == 1 else {}
    check(node, qformat=fmt(4), formats=formats, per_channel=bool(seed % 3), **wrapping)


@pytest.mark.parametrize("operator", GATES)
def test_no_bias_saturates(operator):
    """Products of small weights have more than 31 fraction bits; biases fit 32 bits alone, their sum does not."""
    rows = 3 * GATES[operator]
    small = {"w": np.full((1, rows, 3), 0.01), "r": np.full((1, rows, 3), 0.01), "b": np.full((1, 2 * rows), 0.24)}
    small |= {"p": np.full((1, 9), 0.01)} if operator == "LSTM" else {}
    changed = {name: array.astype(np.float32) for name, array in small.items()}
    node = Node(operator, given="bp", changed=changed)
    session = qengine.InferenceSession(node.model, isa="reference", qformat="Q2.13", formats={"y": "Q0.15"})
    for got, want in zip(session.run(None, node.feeds), session.in_float32().run(None, node.feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=5e-4)


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_a_register_that_may_stop_sums_is_refused(operator):
    """A wide one is as good as none; of a narrow one only the wrap at the end of a sum is defined."""
    node = Node(operator, given="b", computed="")
    options = {"isa": "reference", "qformat": "Q3.4", "strict": True}
    (want,) = qengine.InferenceSession(node.model, **options).run(["y"], node.feeds, raw=True)
    for rule in ({"overflow": "saturate"}, {"rounds_inside": True}):
        rules = {"recurrent": {"rounding": "half_even"}, "linear": {"rounding": "half_up"}}
        wide = qengine.InferenceSession(node.model, rules={**rules, "accumulator": {"bits": 40, **rule}}, **options)
        np.testing.assert_array_equal(wide.run(["y"], node.feeds, raw=True)[0], want)
        narrow = qengine.InferenceSession(node.model, rules={**rules, "accumulator": {"bits": 20, **rule}}, **options)
        remedies = r"--rule accumulator.bits=(\d+), rules=.* float32 \(--islands recurrent, islands=\)$"
        with pytest.raises(UnsupportedError, match=remedies) as refused:
            narrow.run(["y"], node.feeds)
        needed = int(re.search(remedies, str(refused.value))[1])
        for bits in (needed, needed - 1):
            enough = {**rules, "accumulator": {"bits": bits, **rule}}
            with nullcontext() if bits == needed else pytest.raises(UnsupportedError):
                qengine.InferenceSession(node.model, rules=enough, **options).run(["y"], node.feeds)
    cut = qengine.InferenceSession(node.model, rules={"accumulator": {"fraction_bits": 4}}, **options)
    with pytest.raises(UnsupportedError, match=r"or are cut, .* have no rule: compute them in float32"):
        cut.run(["y"], node.feeds)
