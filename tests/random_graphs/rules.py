"""Random rules of a device, as the package takes them and as the oracle does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from oracle import OVERFLOWS, ROUNDINGS, Options

from qengine.model.rules import KINDS, AccumulatorRule, BiasRule, MeanRule, Modes, Rules
from qengine.qformat import Overflow, Rounding

SHIFTS_ONLY = ("tflite", "ruy")  # the oracle does not know how softmax, norm and resize come to their quotients
ROUND_AS_QUOTIENTS = ("softmax", "norm", "resize", "recurrent")


def random_rules(rng: np.random.Generator, tensors: list[str], options: Options) -> tuple[Rules, Options]:
    """Rules for a model with some tensors, on top of options of the oracle."""

    def one_of(*values):
        return values[int(rng.integers(len(values)))]

    roundings = [name for name in ROUNDINGS if name not in SHIFTS_ONLY]
    rounding, overflow = one_of(*roundings), one_of(*OVERFLOWS, "saturate", "saturate")
    kinds, by_tensor = {}, {}
    for kind in KINDS:
        if rng.random() < 0.6:
            choices = roundings if kind in ROUND_AS_QUOTIENTS else ROUNDINGS
            kinds[kind] = one_of(*choices, None), one_of(*OVERFLOWS, None, None)
    for name in tensors:
        if rng.random() < 0.2:
            by_tensor[name] = one_of(*roundings, None), one_of(*OVERFLOWS, None)
    bits = one_of(None, 10, 12, 16, 20, 24, 32)
    saturates = bits is not None and rng.random() < 0.4
    rounds_inside = bits is not None and not saturates and rng.random() < 0.4
    fraction_bits = int(rng.integers(0, 14)) if rng.random() < 0.2 and not rounds_inside else None
    of_products = one_of("floor", "half_up", "trunc") if fraction_bits is not None else "floor"
    order = one_of("channels_first", "channels_last") if saturates else "channels_first"
    if rounds_inside:
        kinds |= {kind: ("half_up", kinds.get(kind, (None, None))[1]) for kind in ("linear", "depthwise", "dense")}
        by_tensor = {}
    bias = one_of((32, "sums"), (8, "most"), (16, "most"), (20, "sums"), (64, "sums"))
    bias_rounding = one_of("half_even", "half_up", "floor")
    counts_pads, aligns = one_of(None, True, False), rng.random() < 0.3

    def modes(pair):
        return Modes(pair[0] and Rounding(pair[0]), pair[1] and Overflow(pair[1]))

    rules = Rules(
        Rounding(rounding),
        Overflow(overflow),
        kinds={kind: modes(pair) for kind, pair in kinds.items()},
        tensors={name: modes(pair) for name, pair in by_tensor.items()},
        accumulator=AccumulatorRule(
            bits, "saturate" if saturates else "wrap", order, rounds_inside, fraction_bits, Rounding(of_products)
        ),
        bias=BiasRule(*bias, Rounding(bias_rounding)),
        mean=MeanRule(counts_pads=counts_pads),
        aligns_add=aligns,
    )
    expected = replace(
        options,
        rounding=rounding,
        overflow=overflow,
        kinds=tuple((kind, *pair) for kind, pair in kinds.items()),
        tensors=tuple((name, *pair) for name, pair in by_tensor.items()),
        accumulator_bits=bits,
        accumulator_overflow="saturate" if saturates else "wrap",
        order=order,
        rounds_inside=rounds_inside,
        accumulator_n=fraction_bits,
        product_rounding=of_products,
        bias_bits=bias[0],
        bias_n=bias[1],
        bias_rounding=bias_rounding,
        counts_pads=counts_pads,
        aligns_add=aligns,
    )
    return rules, expected
