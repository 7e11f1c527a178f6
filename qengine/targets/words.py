"""Rules and constraints in plain sentences, to compare with a manual."""

from __future__ import annotations

from collections.abc import Iterator

from qengine.model.rules import EXACT_CONSTANTS, KINDS, Modes, Rules
from qengine.qformat import QFormat, Rounding
from qengine.targets.constraints import Constraints

ROUNDINGS = {
    "half_even": "to nearest, ties to even",
    "half_up": "to nearest, ties up",
    "half_away": "to nearest, ties away from zero",
    "half_down": "to nearest, ties down",
    "half_zero": "to nearest, ties toward zero",
    "floor": "down",
    "ceil": "up",
    "trunc": "toward zero",
    "away": "away from zero",
    "tflite": "half up by one bit, then half away from zero by the others",
    "ruy": "half up by one bit, then half up by the others",
}
"""Roundings in words."""

OVERFLOWS = {
    "saturate": "saturates",
    "wrap": "wraps",
    "symmetric": "saturates, at -(2^(b-1) - 1) below",
    "zero": "becomes 0",
}
"""What happens to a result that a word cannot hold, in words."""

KINDS_IN_WORDS = {
    "linear": "sums of products (Conv, ConvTranspose, Gemm, MatMul)",
    "depthwise": "depthwise convolutions",
    "dense": "Gemm and MatMul with constant weights",
    "add": "Add, Sub, Sum",
    "mul": "Mul, Div, PRelu",
    "mean": "means and sums over windows and axes",
    "convert": "changes of format (Concat, Where, Max, Min)",
    "table": "functions of one variable",
    "resize": "linear and cubic interpolation",
    "softmax": "Softmax, LogSoftmax, Attention",
    "norm": "normalizations",
    "recurrent": "LSTM, GRU, RNN",
    "inputs": "inputs",
    "constants": "weights and other constants",
}
"""Kinds of operators and tensors in words."""

_MEANS = {
    "exact": "the exact quotient, rounded once",
    "two_pass": "along x first and then along y, rounded after each",
    "reciprocal": "the sum times floor(65536 / count), rounded by 16 bits",
    "shifted_count": "the sum divided by the count shifted right by the fraction bits that the output has more",
    "accumulator": "the quotient cut toward zero to the accumulator's fraction bits, or the input's, then rounded",
    "float32": "the sum times the reciprocal of the count, in float32",
}


def rules_in_words(rules: Rules) -> Iterator[tuple[str, str]]:
    """Yield what is computed and how, one pair for each rule that holds."""
    yield "results", _modes(Modes(rules.rounding, rules.overflow))
    for kind in KINDS:
        modes = rules.kinds.get(kind, EXACT_CONSTANTS if kind == "constants" else Modes())
        if modes != Modes():
            yield KINDS_IN_WORDS[kind], _modes(modes)
    for name, modes in rules.operators.items():
        yield name, _modes(modes)
    for name, modes in rules.tensors.items():
        yield f"tensor '{name}'", _modes(modes)
    yield "accumulators", _accumulator(rules)
    yield "biases", _bias(rules)
    yield "means", _mean(rules)
    yield "tables", _table(rules)
    if rules.aligns_add:
        yield "operands of Add", "are brought to the output's format before they are added"
    if not rules.fuses_functions:
        yield "functions in several operators", "are rounded after each operator"
    if rules.islands:
        yield "in float32", ", ".join(sorted(rules.islands))


def constraints_in_words(one: Constraints) -> Iterator[tuple[str, str]]:
    """Yield what a device allows and what it needs, one pair for each constraint."""
    for name, bits in (("activations", one.activation_bits), ("weights", one.weight_bits)):
        if bits is not None:
            yield name, f"{_or(list(map(str, bits)))} bits"
    if one.equal_bits:
        yield "weights", "as many bits as what they are multiplied with"
    if one.signed_only:
        yield "all tensors", "signed formats"
    if one.per_channel != "all":
        yield "weights", "one format" + (", or one per output channel in Conv" if one.per_channel == "conv" else "")
    if one.symmetric_weights:
        yield "weights", "codes from -(2^(b-1) - 1), such as -127"
    if one.shifts is not None:
        least, most = one.shifts
        yield "shifts of sums", f"{least} to {most} to the right (n_x + n_w - n_y)"
    if one.equal_formats:
        yield ", ".join(one.equal_formats), "one format for operands and result"
    if one.equal_operands:
        yield ", ".join(one.equal_operands), "one format for the operands"
    for what, table in (("input of", one.input_formats), ("output of", one.output_formats)):
        for operator, formats in table.items():
            yield f"{what} {operator}", _formats(formats)
    if one.operators is not None:
        yield "operators", ", ".join(one.operators)
    if one.refused:
        yield "not", ", ".join(one.refused)


def _modes(modes: Modes) -> str:
    parts = []
    if modes.rounding is not None:
        parts.append(f"{modes.rounding}: {ROUNDINGS[modes.rounding]}")
    if modes.overflow is not None:
        parts.append(f"too large: {OVERFLOWS[modes.overflow]}")
    return "; ".join(parts)


def _accumulator(rules: Rules) -> str:
    one = rules.accumulator
    parts = ["exact" if one.bits is None else f"{one.bits} bits, which {'wrap' if one.overflow == 'wrap' else 'stop'}"]
    if one.overflow == "saturate":
        order = "row, column, channel" if one.order == "channels_last" else "channel, row, column"
        parts[0] += f" at the rails at every step: first the bias, then {order}"
    if one.rounds_inside and rules.modes("linear", "").rounding == Rounding.HALF_UP:
        parts.append("half a step is added before they wrap")
    if one.fraction_bits is not None:
        parts.append(f"each product is cut to {one.fraction_bits} fraction bits ({one.rounding})")
    return "; ".join(parts)


def _bias(rules: Rules) -> str:
    one = rules.bias
    n = {"sums": "the fraction bits of the sums", "most": "the most fraction bits with which none saturates"}
    places = n[one.fraction_bits] if isinstance(one.fraction_bits, str) else f"{one.fraction_bits} fraction bits"
    less = f" less {one.shift}" if one.shift else ""
    return f"{one.bits} bits, {places}{less}, rounded {one.rounding}"


def _mean(rules: Rules) -> str:
    one = rules.mean
    pads = {None: "pads count as the model says", True: "pads count", False: "pads do not count"}[one.counts_pads]
    return f"{_MEANS[one.method]}; {pads}"


def _table(rules: Rules) -> str:
    one = rules.table
    if one.method == "full":
        return "an entry for every code of the input"
    between = "with lines between them" if one.method == "interpolated" else "the low bits of the input dropped"
    limits = sorted({one.limit, *dict(one.limits).values()}, key=str)
    spans = " or ".join("the input" if limit == "input" else f"[-{limit}, {limit})" for limit in limits)
    entries = f"{one.entries:,} entries over {spans}, {between}"
    if one.method == "shared_sigmoid":
        entries = "TFLite's table of 256 entries, which they share, with lines between them"
    if one.min_bits > 2:
        entries += f", for inputs of {one.min_bits} bits or more"
    return f"{', '.join(one.functions)}: {entries}; others: an entry for every code"


def _formats(formats: tuple[QFormat, ...]) -> str:
    return _or(list(map(str, formats)))


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
