"""Small networks whose packs are tested."""

import numpy as np
from networks import network

import qengine


def weights(*shape, seed=0, scale=0.4):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def mixed(channels=3):
    """Return a network with most kinds of steps."""
    return network(
        [
            ("Conv", "x w b", "c", {"pads": [1, 0, 0, 1], "strides": [2, 1]}),
            ("Relu", "c", "r"),
            ("Sigmoid", "r", "s"),
            ("Add", "r s", "a"),
            ("AveragePool", "a", "p", {"kernel_shape": [2, 2]}),
            ("Flatten", "p", "f"),
            ("Gemm", "f v u", "y", {"transB": 1}),
        ],
        inputs={"x": [1, channels, 6, 5]},
        constants={"w": weights(4, channels, 3, 3), "b": weights(4), "v": weights(5, 24, seed=1), "u": weights(5)},
    )


def feeds_of(session, count=1, seed=0, scale=1.0):
    random = np.random.default_rng(seed)
    found = [
        {v.name: (random.normal(size=v.shape) * scale).astype(np.float32) for v in session.get_inputs()}
        for _ in range(count)
    ]
    return found[0] if count == 1 else found


def session_of(model=None, **options):
    return qengine.InferenceSession(model or mixed(), **({"qformat": "Q2.5"} | options))
