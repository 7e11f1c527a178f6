"""Deeper cases: several operators in a row, with tensors that are read again later, under rules of a device."""

from __future__ import annotations

import numpy as np
import onnx
from oracle import OVERFLOWS, ROUNDINGS, Options

from qengine.model.rules import Rules
from qengine.targets.target import names as targets

from .builder import OPSETS, Builder
from .cases import Case, random_format
from .more_operators import FIRST, MORE
from .operators import OPERATORS, conv
from .rules import random_rules

ALL = OPERATORS | {name: build for name, build in MORE.items() if name not in OPERATORS} | {"Softmax": MORE["Softmax"]}
LARGEST = 4000  # elements of a tensor that another operator follows
_MOVES = ("Relu", "Clip", "Identity", "MaxPool", "Pad", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
_RANKS = 3  # axes that operators need


def deep_case(seed: int, attempt: int = 0) -> tuple[Case, Rules | None]:
    """Return the case of a seed, and rules for one in four; each attempt is another graph that begins the same way.

    The operators of the cases go round; those that follow are drawn by chance. Where the tensors are outputs, every
    operator rounds and none is fused.
    """
    rng = np.random.default_rng([seed, attempt, 17])
    name = list(ALL)[seed % len(ALL)]
    b = Builder(rng, int(rng.choice([o for o in OPSETS if o >= FIRST.get(name, 11)])))
    axes = 2 if name.startswith("Resize") or rng.random() < 0.7 else 1
    is_wide = rng.random() < 0.2  # as many channels as the fast kernels take together, and rests of them
    channels = b.pick(8, 12, 16, 17, 24, 32, 36) if is_wide else b.pick(1, 2, 3, 4, 6, 8)
    x = b.feed(b.pick(1, 1, 2), channels, *(b.whole(3, 13) if is_wide else b.whole(2, 8) for _ in range(axes)))
    last = _followed(b, x, name)
    others = [last]
    for _ in range(b.pick(0, 1, 2, 3, 5)):
        shape = b.shape(last)
        if len(shape) < _RANKS or np.prod(shape) > LARGEST:
            break
        equal = [t for t in others if t != last and b.shape(t) == shape]
        if equal and rng.random() < 0.5:
            last = b.node(b.pick("Add", "Sub", "Mul", "Max"), [last, b.pick(*equal)])
        else:
            allowed = [other for other in ALL if FIRST.get(other, 11) <= b.opset]
            last = _followed(b, last, b.pick(*allowed))
        others.append(last)
    outputs = _outputs(b, last, others)
    return _case(seed, name, b, outputs)


def _followed(b: Builder, x: str, name: str) -> str:
    """Add an operator, mostly after a convolution, unless it does not fit the tensor."""
    made = len(b.nodes), len(b.trail), len(b.inputs)
    try:
        y = ALL[name](b, conv(b, x) if b.rng.random() < 0.5 else x)
        return y if y not in b.inputs and np.prod(b.shape(y)) > 0 else b.node("Tanh", [x])
    except (onnx.shape_inference.InferenceError, IndexError, ValueError):
        b.nodes[made[0] :], b.trail[made[1] :] = [], []
        for extra in list(b.inputs)[made[2] :]:
            del b.inputs[extra]
        return b.node("Tanh", [x])


def _outputs(b: Builder, last: str, others: list[str]) -> list[str]:
    """Return the last tensor, perhaps with others, perhaps with all."""
    kind = b.pick("last", "last", "last", "some", "all")
    if kind == "last":
        return [last]
    return list(dict.fromkeys([last, *(t for t in others if kind == "all" or b.rng.random() < 0.3)]))


def _case(seed: int, name: str, b: Builder, outputs: list[str]) -> tuple[Case, Rules | None]:
    rng = b.rng
    model = b.model(outputs)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
    real = {v.name for v in (*inferred.graph.value_info, *inferred.graph.output) if _is_real(v)}
    made = [o for node in b.nodes for o in node.output if o in real]
    formats = {t: random_format(rng) for t in made if rng.random() < 0.25}
    options = {"qformat": random_format(rng), "per_channel": b.pick(False, True)}
    kind = b.pick("plain", "plain", "rules", "target")
    rules = None
    if kind == "target":
        options["target"] = b.pick(*targets())
    elif kind == "rules":
        rounding = [n.output[0] for n in b.nodes if n.op_type not in _MOVES and n.output[0] in real]
        rules, _ = random_rules(rng, sorted(rounding), Options(None, per_channel=options["per_channel"]))
    else:
        options |= {
            "rounding": b.pick(*ROUNDINGS),
            "overflow": b.pick("saturate", "saturate", *OVERFLOWS),
            "accumulator_bits": b.pick(None, None, 12, 16, 24, 32),
        }
    feeds = {n: a.copy() for n, a in b.inputs.items()}
    return Case(seed, name, b.trail, model, feeds, made, options, formats), rules


def _is_real(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
