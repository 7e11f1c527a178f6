"""Whole cases: a model, what it is fed, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from oracle import OVERFLOWS, ROUNDINGS, Fmt, Net

from .builder import OPSETS, Builder
from .operators import OPERATORS, conv

# What may follow another operator on a tensor of any rank from three up.
FOLLOWERS = ("Relu", "Clip", "Add", "Mul", "Max", "Transpose", "Conv", "MaxPool", "AveragePool")


@dataclass
class Case:
    """A model, what it is fed, and how it is to be run."""

    seed: int
    operator: str
    trail: list[str]
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    names: list[str]
    options: dict
    formats: dict[str, str]


def random_format(rng: np.random.Generator, bits: int | None = None) -> str:
    """Wide enough for most values, and too narrow for some."""
    word = int(rng.choice([2, 3, 4, 5, 6, 7, 8, 8, 8, 9, 10, 12, 14, 16, 16])) if bits is None else bits
    signed = rng.random() < 0.8
    m = int(rng.integers(-1, 4))
    return f"{'' if signed else 'U'}Q{m}.{word - signed - m}"


def random_case(seed: int, attempt: int = 0, *, is_apart: bool = False) -> Case:
    """Return the case of a seed; each attempt is another graph with the same operator.

    Where it is apart, all tensors that are not fused are outputs: then every operator rounds, as the oracle has it, and
    none is a part of a chain or of weights.
    """
    rng = np.random.default_rng([seed, attempt])
    name = list(OPERATORS)[seed % len(OPERATORS)]
    opset = int(rng.choice([o for o in OPSETS if o >= (14 if name == "HardSwish" else 11)]))
    b = Builder(rng, opset)
    images = name.startswith("Resize") or rng.random() < 0.7
    sizes = (b.whole(2, 8) for _ in range(2 if images else 1))
    first = conv(b, b.feed(b.whole(1, 2), b.pick(1, 2, 3, 4, 6), *sizes))
    last = OPERATORS[name](b, first)
    ranked = len(b.shape(last)) >= 3
    if ranked and rng.random() < 0.5:
        last = OPERATORS[b.pick(*FOLLOWERS)](b, last)
    model = b.model([last], b.shape(last))
    net = Net(model)
    names = net.observable()
    if is_apart:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        others = {value.name: value for value in inferred.value_info}
        model.graph.output.extend(others[name] for name in names if name in others)
    formats = {}
    for group in {id(g): g for g in net.group.values()}.values():
        if rng.random() < 0.5:
            formats[str(rng.choice(sorted(group)))] = random_format(rng)
    options = {
        "qformat": random_format(rng),
        "rounding": b.pick(*ROUNDINGS),
        "overflow": b.pick("saturate", "saturate", *OVERFLOWS),
        "accumulator_bits": b.pick(None, None, 12, 16, 24, 32),
        "per_channel": b.pick(False, True),
    }
    for node in model.graph.node:  # else a Concat has the formats of its parts, where all of them are named
        if node.op_type == "Concat" and node.output[0] in net.group and not net.group[node.output[0]] & formats.keys():
            formats[node.output[0]] = options["qformat"]
    feeds = {n: a.copy() for n, a in b.inputs.items()}
    if rng.random() < 0.2:
        feeds["x"].flat[int(rng.integers(feeds["x"].size))] = np.inf * rng.choice([-1, 1])
    return Case(seed, name, b.trail, model, feeds, names, options, formats)


def expected_options(case: Case) -> dict:
    """The options as the oracle takes them."""
    return {**case.options, "qformat": Fmt.parse(case.options["qformat"])}
