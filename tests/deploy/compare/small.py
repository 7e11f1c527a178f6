"""A small network in fixed point, and the codes of all its tensors."""

from functools import cache

import numpy as np
from networks import network

import qengine


@cache
def model():
    random = np.random.default_rng(7)
    constants = {
        "w1": random.standard_normal((6, 3, 3, 3)) / 4, "b1": random.standard_normal(6) / 3,
        "w2": random.standard_normal((5, 6, 1, 1)) / 2, "b2": random.standard_normal(5) / 3,
        "w3": random.standard_normal((5, 5)) / 2, "b3": random.standard_normal(5) / 3,
    }  # fmt: skip
    nodes = [
        ("Conv", "x w1 b1", "first/conv", {"pads": [1, 1, 1, 1]}),
        ("Relu", "first/conv", "first/relu"),
        ("Conv", "first/relu w2 b2", "second.conv"),
        ("GlobalAveragePool", "second.conv", "pool"),
        ("Flatten", "pool", "flat"),
        ("Gemm", "flat w3 b3", "y"),
    ]
    floats = {name: array.astype(np.float32) for name, array in constants.items()}
    return network(nodes, inputs={"x": [1, 3, 9, 7]}, constants=floats)


def session(**options):
    return qengine.InferenceSession(model(), **({"qformat": "Q3.4"} | options))


@cache
def frames():
    random = np.random.default_rng(8)
    slope = np.linspace(-1, 1, 7) + np.linspace(-1, 1, 9)[:, None]
    return [{"x": (random.standard_normal((1, 3, 9, 7)) + slope).astype(np.float32)} for _ in range(3)]


NAMES = ("x", "first/relu", "second.conv", "pool", "flat", "y")


def codes(frame=0, names=NAMES, **options):
    return dict(zip(names, session(**options).run(list(names), frames()[frame], raw=True), strict=True))
