"""Softmax and normalizations of codes in plain order, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network
from oracle import OVERFLOWS, ROUNDINGS
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas

from qengine import QFormat


def rows(operator, shape, *parameters, x="Q4.11", y="Q3.12", opset=23, options=None, **attributes):
    """A node on codes that reach over the format of its input."""
    rng = np.random.default_rng(len(parameters) + sum(shape))
    given = {f"p{i}": rng.standard_normal(p).astype(np.float32) + np.float32(0.5) for i, p in enumerate(parameters)}
    fmt = QFormat.parse(x)
    values = np.clip(rng.standard_normal(shape) * fmt.max / 3, fmt.min, fmt.max)
    values.reshape(-1)[::7] = fmt.min
    model = network(
        [(operator, " ".join(["x", *given]), "y", attributes)],
        inputs={"x": list(shape)},
        constants=given,
        opset=opset,
    )
    kernel = "code_softmax" if "Softmax" in operator else "code_normalize"
    return PlainCase(
        model, {"x": values.astype(np.float32)}, kernel, options={"formats": {"x": x, "y": y}, **(options or {})}
    )


WRAPS = {"rounding": "half_away", "overflow": "wrap"}
CASES = {
    "softmax": rows("Softmax", (2, 3, 50), y="UQ0.16"),
    "softmax, bytes": rows("Softmax", (4, 197), x="Q4.3", y="UQ0.8"),
    "softmax, bytes, short": rows("Softmax", (5, 3), x="UQ4.4", y="Q0.7", options={"rounding": "floor"}),
    "softmax, axis": rows("Softmax", (2, 19, 5), x="Q4.3", y="Q0.7", axis=1),
    "softmax, axis, wide": rows("Softmax", (2, 5, 37), y="Q0.15", axis=1, options={"rounding": "half_up"}),
    "softmax, coerced": rows("Softmax", (2, 5, 7), y="UQ0.8", opset=11, options=WRAPS),
    "softmax, coarse": rows("Softmax", (3, 40), x="Q9.-2", y="UQ4.-1"),
    "logarithm": rows("LogSoftmax", (2, 3, 50), y="Q5.10"),
    "logarithm, axis": rows("LogSoftmax", (2, 19, 5), x="UQ3.5", y="Q4.3", axis=1, options=WRAPS),
    "logarithm, fine": rows("LogSoftmax", (2, 40), x="Q-2.17", y="Q3.4", options={"rounding": "trunc"}),
    "layer": rows("LayerNormalization", (2, 9, 256), (256,), (256,)),
    "layer, bytes": rows("LayerNormalization", (3, 33), (33,), (33,), x="Q4.3", y="Q2.5"),
    "layer, one number": rows("LayerNormalization", (4, 50), (1,), x="UQ3.5", y="UQ2.6", options=WRAPS),
    "layer, long": rows("LayerNormalization", (2, 20000), (20000,), (20000,), options={"rounding": "half_up"}),
    "layer, fine": rows("LayerNormalization", (4, 50), (50,), (50,), x="Q-14.29", epsilon=1.0),
    "layer, two axes": rows("LayerNormalization", (2, 5, 7), (5, 7), (7,), axis=1, options={"rounding": "floor"}),
    "root mean square": rows("RMSNormalization", (2, 9, 256), (256,), x="UQ0.16"),
    "instance": rows("InstanceNormalization", (2, 6, 5, 7), (6,), (6,), options={"rounding": "trunc"}),
    "groups": rows("GroupNormalization", (2, 6, 5, 7), (6,), (6,), num_groups=3, x="Q4.3"),
    "groups, gains of groups": rows("GroupNormalization", (2, 6, 5, 7), (3,), (3,), num_groups=3, opset=18),
    "norm": rows("LpNormalization", (3, 40), y="Q0.15"),
    "norm, axis": rows("LpNormalization", (2, 40, 3), axis=1, x="Q4.3", y="Q0.7"),
    "mean and variance": rows("MeanVarianceNormalization", (2, 6, 5, 7), axes=[2, 3]),
    "mean and variance, an axis": rows("MeanVarianceNormalization", (2, 6, 17), axes=[1], options=WRAPS),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


FEW = {
    "softmax": rows("Softmax", (3, 37), x="Q4.3", y="UQ-1.8"),
    "logarithm": rows("LogSoftmax", (3, 37), x="Q4.3", y="Q2.3"),
    "layer": rows("LayerNormalization", (4, 50), (50,), (50,), x="Q4.3", y="Q1.6"),
}


@pytest.mark.parametrize(("name", "rounding", "overflow", "isa"), covering(FEW, ROUNDINGS, OVERFLOWS, ISAS))
def test_every_rounding_and_overflow(name, rounding, overflow, isa):
    case = FEW[name]
    check(case._replace(options={**case.options, "rounding": rounding, "overflow": overflow}), isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", ["softmax, bytes", "softmax, axis, wide", "layer", "groups"])
def test_threads(name, threads):
    check(CASES[name], ISAS[0], threads)
