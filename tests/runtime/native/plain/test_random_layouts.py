"""Random graphs of steps that work in blocks, in plain order and on turned tensors: every way from one to another."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS, both

MODES = [(np.float32, {}), (np.float32, {"qformat": "Q3.4"}), (np.float32, {"qformat": "Q3.12"}), (np.float16, {})]
TOLERANCE = {np.float32: 1e-5, np.float16: 2e-2}
MOST_ELEMENTS = 20_000


class RandomGraph:
    """Nodes in a row or beside each other, with the shapes of what they compute."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        shape = (2, 5, 6, 7) if self.rng.random() < 0.5 else (2, 6, 7, 20)
        self.nodes, self.constants, self.tensors = [], {}, [("x", shape)]
        for i in range(int(self.rng.integers(4, 11))):
            self.add(*self.tensors[self.rng.integers(max(0, i - 2), len(self.tensors))] if i else self.tensors[0])

    def add(self, name, shape):
        kinds = [self.unary, self.constant, self.pair, self.joined]
        kinds += (
            [self.last, self.second, self.conv, self.pool, self.pad, self.mean, self.flat] if len(shape) == 4 else []
        )
        found = kinds[self.rng.integers(len(kinds))](name, shape)
        if found is not None and prod(found[-1]) <= MOST_ELEMENTS:
            operator, inputs, attributes, out = found
            self.nodes.append((operator, inputs, f"t{len(self.nodes)}", attributes))
            self.tensors.append((self.nodes[-1][2], out))

    def given(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def unary(self, x, shape):
        return self.one_of("Relu", "Sigmoid", "Identity"), x, {}, shape

    def constant(self, x, shape):
        given = self.one_of(shape[-1:], (shape[-2], 1), (1,), shape, (shape[1], *(1,) * (len(shape) - 2)))
        c = self.given(self.rng.normal(size=given).astype(np.float32))
        return self.one_of("Add", "Mul", "Sub"), f"{x} {c}", {}, shape

    def pair(self, x, shape):
        others = [name for name, other in self.tensors if other == shape]
        return self.one_of("Add", "Mul", "Max"), f"{x} {self.one_of(*others)}", {}, shape

    def joined(self, x, shape):
        axis = int(self.rng.integers(len(shape)))
        return "Concat", f"{x} {x}", {"axis": axis}, tuple(n * (1 + (i == axis)) for i, n in enumerate(shape))

    def last(self, x, shape):
        return "Transpose", x, {"perm": [0, 2, 3, 1]}, (shape[0], *shape[2:], shape[1])

    def second(self, x, shape):
        return "Transpose", x, {"perm": [0, 3, 1, 2]}, (shape[0], shape[3], *shape[1:3])

    def conv(self, x, shape):
        filters = int(self.one_of(3, 16, 20))
        w = self.given((self.rng.normal(size=(filters, shape[1], 2, 2)) / np.sqrt(4 * shape[1])).astype(np.float32))
        return "Conv", f"{x} {w}", {"pads": [1, 0, 0, 1]}, (shape[0], filters, *shape[2:])

    def pool(self, x, shape):
        if min(shape[2:]) < 2:
            return None
        return "MaxPool", x, {"kernel_shape": [2, 2]}, (*shape[:2], shape[2] - 1, shape[3] - 1)

    def pad(self, x, shape):
        pads = np.zeros((2, 4), np.int64)
        pads[:, self.rng.choice(4, 2, replace=False)] = self.rng.integers(0, 3, (2, 2))
        return "Pad", f"{x} {self.given(pads.ravel())}", {}, tuple(int(n) for n in shape + pads.sum(0))

    def mean(self, x, shape):
        axes = self.one_of([1, 2], [2, 3])
        return "ReduceMean", x, {"axes": axes}, tuple(1 if i in axes else n for i, n in enumerate(shape))

    def flat(self, x, shape):
        out = shape[0], shape[1] * shape[2], shape[3]
        return "Reshape", f"{x} {self.given(np.array(out))}", {}, out


@pytest.mark.parametrize("seed", range(48))
def test_native_equals_the_reference(seed):
    graph, (dtype, options) = RandomGraph(seed), MODES[seed % len(MODES)]
    shape = graph.tensors[0][1]
    outputs = tuple(dict.fromkeys((graph.tensors[-1][0], graph.tensors[1][0])))
    constants = {n: c.astype(dtype) if c.dtype == np.float32 else c for n, c in graph.constants.items()}
    model = network(graph.nodes, inputs={"x": (dtype, list(shape))}, outputs=outputs, constants=constants, opset=13)
    feeds = {"x": graph.rng.normal(size=shape).astype(dtype)}
    got, want, _ = both(model, feeds, ISAS[0], 1 + seed % 3, **options)
    for a, b in zip(got, want, strict=True):
        if options:
            np.testing.assert_array_equal(a, b, strict=True)
        else:
            a, b = a.astype(np.float64), b.astype(np.float64)
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype] * max(1.0, np.abs(b).max()))
