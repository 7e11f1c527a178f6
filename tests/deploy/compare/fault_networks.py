"""Five small networks of different kinds, with formats, and inputs of two frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from networks import network


@dataclass(frozen=True)
class Case:
    """A network: its file, the options of a session, and feeds of two frames."""

    name: str
    model: bytes
    options: dict
    feeds: list


def _weights(random, *shape, gain=1.5):
    fan = int(np.prod(shape[1:]))
    return (random.standard_normal(shape) * gain / np.sqrt(fan)).astype(np.float32)


def _bias(random, n, size=0.4):
    return (random.standard_normal(n) * size).astype(np.float32)


def _frames(random, *shape, scale=1.0):
    """Two frames with slopes in all directions, so that no channel and no place is like another."""
    frames = []
    for _ in range(2):
        noise = random.standard_normal(shape)
        slope = np.linspace(-1, 1, shape[-1]) + 2 * np.linspace(-1, 1, shape[-2])[:, None]
        frames.append({"x": ((noise + 0.7 * slope + 0.1) * scale).astype(np.float32)})
    return frames


def srcnn_like():
    random = np.random.default_rng(1)
    constants = {
        "w1": _weights(random, 8, 3, 5, 5), "b1": _bias(random, 8),
        "w2": _weights(random, 6, 8, 1, 1), "b2": _bias(random, 6),
        "w3": _weights(random, 3, 6, 3, 3), "b3": _bias(random, 3),
    }  # fmt: skip
    nodes = [
        ("Conv", "x w1 b1", "c1", {"pads": [2, 2, 2, 2]}), ("Relu", "c1", "r1"),
        ("Conv", "r1 w2 b2", "c2"), ("Relu", "c2", "r2"),
        ("Conv", "r2 w3 b3", "y", {"pads": [1, 1, 1, 1]}),
    ]  # fmt: skip
    model = network(nodes, inputs={"x": [1, 3, 17, 14]}, constants=constants)
    return Case("srcnn", model, {"qformat": "Q3.4"}, _frames(random, 1, 3, 17, 14))


def digits_like():
    random = np.random.default_rng(2)
    constants = {
        "w1": _weights(random, 6, 1, 3, 3), "b1": _bias(random, 6),
        "w2": _weights(random, 10, 6, 3, 3), "b2": _bias(random, 10),
        "w3": _weights(random, 10, 10, gain=2), "b3": _bias(random, 10),
        "low": np.float32(0), "high": np.float32(1.5),
    }  # fmt: skip
    nodes = [
        ("Conv", "x w1 b1", "c1", {"strides": [2, 2], "pads": [1, 1, 1, 1]}), ("Relu", "c1", "r1"),
        ("Conv", "r1 w2 b2", "c2", {"strides": [2, 2], "pads": [0, 0, 1, 1]}), ("Clip", "c2 low high", "r2"),
        ("GlobalAveragePool", "r2", "p"), ("Flatten", "p", "f"),
        ("Gemm", "f w3 b3", "y", {"transB": 1}),
    ]  # fmt: skip
    model = network(nodes, inputs={"x": [4, 1, 18, 18]}, constants=constants)
    return Case("digits", model, {"qformat": "Q2.5", "per_channel": True}, _frames(random, 4, 1, 18, 18))


def residual():
    random = np.random.default_rng(3)
    constants = {f"w{i}": _weights(random, 8, 8 if i else 3, 3, 3) for i in range(5)}
    constants |= {f"b{i}": _bias(random, 8) for i in range(5)}
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        ("Conv", "x w0 b0", "c0", same), ("Relu", "c0", "r0"),
        ("Conv", "r0 w1 b1", "c1", same), ("Relu", "c1", "r1"),
        ("Conv", "r1 w2 b2", "c2", same), ("Add", "c2 r0", "s1"), ("Relu", "s1", "r2"),
        ("Conv", "r2 w3 b3", "c3", same), ("Relu", "c3", "r3"),
        ("Conv", "r3 w4 b4", "c4", same), ("Add", "c4 r2", "y"),
    ]  # fmt: skip
    formats = {
        "x": "Q2.5",
        "r0": "Q3.4",
        "r1": "Q2.5",
        "c2": "Q2.5",
        "r2": "Q3.4",
        "r3": "Q4.3",
        "c4": "Q1.6",
        "y": "Q4.3",
    }
    model = network(nodes, inputs={"x": [1, 3, 12, 13]}, constants=constants)
    return Case("residual", model, {"qformat": "Q3.4", "formats": formats}, _frames(random, 1, 3, 12, 13))


def mobile():
    random = np.random.default_rng(4)
    constants = {
        "w0": _weights(random, 8, 3, 3, 3), "b0": _bias(random, 8),
        "w1": _weights(random, 8, 1, 3, 3), "b1": _bias(random, 8),
        "w2": _weights(random, 12, 8, 1, 1), "b2": _bias(random, 12),
        "w3": _weights(random, 12, 1, 3, 3), "b3": _bias(random, 12),
        "w4": _weights(random, 12, 4, 3, 3), "b4": _bias(random, 12),
        "low": np.float32(0), "high": np.float32(3),
    }  # fmt: skip
    nodes = [
        ("Conv", "x w0 b0", "c0", {"strides": [2, 2], "pads": [1, 1, 1, 1]}), ("Clip", "c0 low high", "r0"),
        ("Conv", "r0 w1 b1", "c1", {"pads": [1, 1, 1, 1], "group": 8}), ("Clip", "c1 low high", "r1"),
        ("Conv", "r1 w2 b2", "c2"), ("Clip", "c2 low high", "r2"),
        ("Conv", "r2 w3 b3", "c3", {"pads": [2, 2, 2, 2], "dilations": [2, 2], "group": 12}), ("Relu", "c3", "r3"),
        ("Conv", "r3 w4 b4", "y", {"group": 3, "strides": [2, 2]}),
    ]  # fmt: skip
    model = network(nodes, inputs={"x": [1, 3, 20, 22]}, constants=constants)
    return Case("mobile", model, {"qformat": "Q4.11", "weight_qformat": "Q1.6"}, _frames(random, 1, 3, 20, 22))


def branches():
    random = np.random.default_rng(5)
    constants = {
        "w0": _weights(random, 6, 3, 3, 3), "b0": _bias(random, 6),
        "w1": _weights(random, 6, 6, 1, 1), "b1": _bias(random, 6),
        "w2": _weights(random, 6, 6, 3, 3), "b2": _bias(random, 6),
        "w3": _weights(random, 5, 18, 1, 1), "b3": _bias(random, 5),
    }  # fmt: skip
    nodes = [
        ("Conv", "x w0 b0", "c0", {"pads": [1, 1, 1, 1]}),
        ("MaxPool", "c0", "m", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Conv", "m w1 b1", "c1"), ("Sigmoid", "c1", "g"),
        ("Conv", "m w2 b2", "c2", {"pads": [1, 1, 1, 1]}), ("Relu", "c2", "r2"),
        ("AveragePool", "m", "a", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("Concat", "g r2 a", "j", {"axis": 1}),
        ("Conv", "j w3 b3", "y"),
    ]  # fmt: skip
    formats = {"g": "Q0.7", "r2": "UQ3.5", "a": "Q2.5", "j": "Q3.4"}
    model = network(nodes, inputs={"x": [1, 3, 16, 15]}, constants=constants)
    return Case("branches", model, {"qformat": "Q3.4", "formats": formats}, _frames(random, 1, 3, 16, 15))


NETWORKS = (srcnn_like, digits_like, residual, mobile, branches)
