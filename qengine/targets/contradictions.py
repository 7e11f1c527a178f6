"""Contradictions: rules and constraints that no device can have together, or of which one has no effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from qengine.model.rules import AccumulatorRule, BiasRule, MeanRule, Rules, TableRule
from qengine.qformat import Rounding
from qengine.targets.constraints import Constraints
from qengine.targets.key_lines import Path

_NO_WIDTH = "{} has no effect on a register without a width; give accumulator.bits"
_FULL = "{} has no effect on full tables; give method cut, interpolated or shared_sigmoid"


@dataclass(frozen=True)
class Contradiction:
    """Keys that do not go together.

    Attributes
    ----------
    keys : the keys, as paths in `[rules]` or `[constraints]`.
    reason : sentence that says why, without a full stop.
    """

    keys: tuple[Path, ...]
    reason: str


def contradictions(rules: Rules) -> Iterator[Contradiction]:
    """Yield what contradicts in rules."""
    yield from _of_accumulator(rules)
    yield from _of_bias(rules.bias, rules.accumulator)
    yield from _of_table(rules.table)
    yield from _of_mean(rules.mean)


def _of_accumulator(rules: Rules) -> Iterator[Contradiction]:
    one, usual = rules.accumulator, AccumulatorRule()
    bits, inside, order = ("accumulator", "bits"), ("accumulator", "rounds_inside"), ("accumulator", "order")
    if one.bits is None and one.overflow == "saturate":
        yield Contradiction((bits, ("accumulator", "overflow")), _NO_WIDTH.format("overflow saturate"))
    if one.bits is None and one.rounds_inside:
        yield Contradiction((bits, inside), _NO_WIDTH.format("rounds_inside"))
    if one.overflow == "wrap" and one.order != usual.order:
        yield Contradiction(
            (("accumulator", "overflow"), order),
            "the order has no effect on sums that wrap; give overflow saturate",
        )
    rounding = rules.modes("linear", "").rounding
    if one.rounds_inside and rounding not in (Rounding.HALF_UP, Rounding.FLOOR):
        yield Contradiction(
            (("rounding",), ("linear", "rounding"), inside),
            f"rounds_inside adds the constant of half_up in the register, and sums are rounded {rounding}; allowed: "
            "half_up, floor",
        )
    if one.fraction_bits is None and one.rounding != usual.rounding:
        yield Contradiction(
            (("accumulator", "fraction_bits"), ("accumulator", "rounding")),
            "no product is cut; give accumulator.fraction_bits",
        )


def _of_bias(bias: BiasRule, accumulator: AccumulatorRule) -> Iterator[Contradiction]:
    n, most = bias.fraction_bits, accumulator.fraction_bits
    if bias.shift and n != "sums":
        yield Contradiction(
            (("bias", "fraction_bits"), ("bias", "shift")),
            "the shift counts from the fraction bits of the sums; give fraction_bits sums",
        )
    if isinstance(n, int) and most is not None and n > most:
        yield Contradiction(
            (("accumulator", "fraction_bits"), ("bias", "fraction_bits")),
            f"the bias has {n} fraction bits, more than the {most} of the accumulator that it is added to",
        )


def _of_table(table: TableRule) -> Iterator[Contradiction]:
    usual = TableRule()
    if table.method != "full":
        if not table.functions:
            yield Contradiction((("table", "functions"),), "no function has such a table; give their operators")
        return
    for name in (field.name for field in fields(table)):
        if getattr(table, name) != getattr(usual, name):
            yield Contradiction(
                (("table", "method"), ("table", name)),
                _FULL.format(name),
            )


def _of_mean(mean: MeanRule) -> Iterator[Contradiction]:
    if mean.method == "two_pass" and mean.counts_pads:
        yield Contradiction(
            (("mean", "method"), ("mean", "counts_pads")),
            "each pass of two_pass divides by the elements that it has added, without pads",
        )


def contradictions_of_constraints(one: Constraints) -> Iterator[Contradiction]:
    """Yield what contradicts in constraints."""
    for first, second in (("equal_formats", "equal_operands"), ("operators", "refused")):
        both = [name for name in getattr(one, first) or () if name in getattr(one, second)]
        if both:
            yield Contradiction(((first,), (second,)), f"{first} and {second} both name {both[0]}")
    if one.equal_bits and one.activation_bits and one.weight_bits and not {*one.activation_bits} & {*one.weight_bits}:
        yield Contradiction(
            (("activation_bits",), ("weight_bits",), ("equal_bits",)),
            "no word length is allowed for weights and activations alike",
        )
    for name in ("activation_bits", "weight_bits"):
        if getattr(one, name) == ():
            yield Contradiction(((name,),), "the list is empty, and no tensor could have a format")
    for name in ("input_formats", "output_formats"):
        for operator, formats in getattr(one, name).items():
            if not formats:
                yield Contradiction(((name, operator),), "the list is empty, and the operator could not be used")
            if not one.allows_operator(operator):
                refused = "refused" if operator in one.refused else "operators"
                yield Contradiction(((refused,), (name, operator)), f"{refused} rules out {operator}")
            for fmt in formats:
                if one.activation_bits and fmt.bits not in one.activation_bits:
                    yield Contradiction(
                        (("activation_bits",), (name, operator)),
                        f"{operator} has {fmt}, and activation_bits rules out {fmt.bits}",
                    )
