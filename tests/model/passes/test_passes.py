"""Properties of all passes together: no bit changes, and no tensor is lost."""

import itertools

import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.model.loader import load
from qengine.model.passes import (
    PASSES,
    fold_affine,
    fold_constants,
    fold_gemm_factors,
    fuse_chains,
    join_affine,
    name_hidden_tensors,
    optimize,
    read_quantized,
    remove_dead,
    take_joins_apart,
)
from qengine.qformat import Overflow, Rounding

FOLDS = (
    read_quantized,
    name_hidden_tensors,
    take_joins_apart,
    remove_dead,
    fold_constants,
    fold_gemm_factors,
    fold_affine,
)
"""What these fold is another model by definition; all other passes keep every bit of it."""
ARITHMETIC = list(itertools.product(Rounding, Overflow))


class RandomNetwork:
    """A chain of operators with branches, dead nodes, and constants that depend on constants."""

    def __init__(self, seed, norms):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants, self.outputs = [], {}, []
        self.images = ["x"]  # all of [2, 4, 5, 6]
        kinds = [self.conv, self.relu, self.clip, self.combine, self.constant, self.join, self.table, self.move]
        for _ in range(11):
            kinds[self.rng.integers(len(kinds))]()
            if norms and self.rng.random() < 0.4:
                self.norm()
        self.nodes.append(("ReduceMean", self.images[-1], "pooled", {"axes": [2, 3], "keepdims": 0}))
        factors = {"alpha": float(self.rng.choice([1.0, 0.5])), "beta": float(self.rng.choice([1.0, 2.0]))}
        self.nodes.append(("Gemm", f"pooled {self.array(4, 3)} {self.array(3)}", "g", factors))
        self.nodes.append(("Relu", "g", "y"))
        self.nodes.append(("Conv", f"{self.images[1]} {self.array(2, 4, 1, 1)}", "dead"))
        self.outputs = ["y", *self.rng.choice(self.images[1:], 2, replace=False).tolist()]
        self.outputs = list(dict.fromkeys(self.outputs))

    def array(self, *shape, scale=0.6):
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(self.rng.normal(size=shape) * scale, np.float32)
        return name

    def image(self):
        """Return the newest image, or sometimes an older one."""
        newest = self.rng.random() < 0.8
        return self.images[-1] if newest else str(self.rng.choice(self.images))

    def add(self, operator, inputs, attributes=None):
        out = f"t{len(self.nodes)}"
        self.nodes.append((operator, inputs, out, attributes or {}))
        self.images.append(out)

    def conv(self):
        group = int(self.rng.choice([1, 2, 4]))
        bias = self.array(4) if self.rng.random() < 0.5 else ""
        self.add(
            "Conv",
            f"{self.image()} {self.array(4, 4 // group, 3, 3)} {bias}",
            {"group": group, "pads": [1, 1, 1, 1]},
        )

    def relu(self):
        self.add("Relu", self.images[-1])

    def clip(self):
        low, high = np.sort(self.rng.normal(size=2)).astype(np.float32)
        self.constants |= {f"lo{len(self.nodes)}": low, f"hi{len(self.nodes)}": high}
        bounds = [f"lo{len(self.nodes)} hi{len(self.nodes)}", f"lo{len(self.nodes)}", f"- hi{len(self.nodes)}"]
        self.add("Clip", f"{self.images[-1]} {self.rng.choice(bounds)}")

    def combine(self):
        operator = str(self.rng.choice(["Add", "Sub", "Mul", "Div", "Sum"]))
        other = self.image() if self.rng.random() < 0.5 else self.array(4, 1, 1, scale=1.0)
        self.add(operator, f"{self.images[-1]} {other}")

    def constant(self):
        a, b = self.array(4, 1, 1), self.array(1)
        out = f"folded{len(self.nodes)}"
        self.nodes.append(("Mul", f"{a} {b}", out))
        self.add("Add", f"{self.images[-1]} {out}")

    def join(self):
        self.add("Max", f"{self.images[-1]} {self.image()}")

    def table(self):
        self.add(str(self.rng.choice(["Sigmoid", "LeakyRelu", "Abs"])), self.image())

    def move(self):
        self.add("MaxPool", self.image(), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})

    def norm(self):
        gamma, beta, mean = self.array(4), self.array(4), self.array(4)
        var = f"v{len(self.nodes)}"
        self.constants[var] = self.rng.uniform(0.3, 2, 4).astype(np.float32)
        self.add("BatchNormalization", f"{self.images[-1]} {gamma} {beta} {mean} {var}")

    def build(self):
        return network(
            self.nodes, inputs={"x": ["N", 4, 5, 6]}, outputs=self.outputs, constants=self.constants, opset=13
        )


def feeds(seed, scale=1.5):
    return {"x": (np.random.default_rng(seed).normal(size=(2, 4, 5, 6)) * scale).astype(np.float32)}


OPTIONS = [
    {"qformat": "Q4.3"},
    {"qformat": "Q2.5", "per_channel": True},
    {"qformat": "Q3.12"},
    {"qformat": "UQ2.6", "weight_qformat": "Q1.4"},
    {"qformat": "Q1.2", "accumulator_bits": 12},
    {"qformat": "Q-1.6"},
]


@pytest.mark.parametrize(("rounding", "overflow"), ARITHMETIC)
def test_no_pass_changes_a_bit(monkeypatch, rounding, overflow):
    fused = 0
    others = tuple(one for one in PASSES if one not in (fuse_chains, join_affine))  # both leave out roundings
    monkeypatch.setattr("qengine.model.passes.PASSES", others)
    for seed in range(48):
        model = RandomNetwork(seed, norms=seed % 3 == 0).build()
        optimized = optimize(load(model))[-1]
        fused += sum(node.activation is not None for node in optimized.nodes)
        survivors = [name for node in optimized.nodes for name in node.outputs]
        options = {**OPTIONS[seed % len(OPTIONS)], "rounding": rounding, "overflow": overflow}
        found = qengine.InferenceSession(model, **options).run(survivors, feeds(seed), raw=True)
        with monkeypatch.context() as patch:
            patch.setattr("qengine.model.passes.PASSES", FOLDS)
            plain = qengine.InferenceSession(model, **options).run(survivors, feeds(seed), raw=True)
        for name, ours, theirs in zip(survivors, found, plain, strict=True):
            assert ours.dtype.kind in "iu"
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{seed} {name}", strict=True)
    assert fused > 60


@pytest.mark.parametrize("seed", range(25))
def test_float32_is_that_of_onnxruntime(seed):
    model = RandomNetwork(seed, norms=seed % 2 == 1).build()
    names = [value.name for value in load(model).outputs]
    found = qengine.InferenceSession(model).run(None, feeds(seed))
    for name, ours, theirs in zip(names, found, run_onnxruntime(model, feeds(seed)), strict=True):
        # Div by what is next to nothing makes numbers in which a last digit is large.
        tolerance = 2e-5 * max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_in_float32_no_pass_but_the_folds_changes_a_bit(monkeypatch, seed):
    model = RandomNetwork(seed, norms=False).build()
    others = tuple(one for one in PASSES if one is not join_affine)  # it computes in float64, as the norms do
    monkeypatch.setattr("qengine.model.passes.PASSES", others)
    found = qengine.InferenceSession(model).run(None, feeds(seed))
    monkeypatch.setattr("qengine.model.passes.PASSES", FOLDS)
    for ours, theirs in zip(found, qengine.InferenceSession(model).run(None, feeds(seed)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", range(12))
def test_asking_for_a_tensor_changes_no_other(seed):
    """Each tensor that the passes removed is requested alone and with the outputs."""
    model = RandomNetwork(seed, norms=True).build()
    graph = load(model)
    computed = [name for node in graph.nodes for name in node.outputs]
    outputs = [value.name for value in graph.outputs]
    floats = qengine.InferenceSession(model)
    everything = floats.run([*outputs, *computed], feeds(seed))
    for name, found, wanted in zip(
        [*outputs, *computed],
        everything,
        run_onnxruntime(model, feeds(seed), [*outputs, *computed]),
        strict=True,
    ):
        tolerance = 2e-5 * max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=tolerance, err_msg=name)
    fixed = qengine.InferenceSession(model, qformat="Q3.6")
    plain = fixed.run(outputs, feeds(seed), raw=True)
    together = dict(zip(computed, fixed.run(computed, feeds(seed), raw=True), strict=True))
    for name in computed:
        *kept, one = fixed.run([*outputs, name], feeds(seed), raw=True)
        np.testing.assert_array_equal(one, together[name])
        for ours, theirs in zip(kept, plain, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_tensors_before_a_relu_and_before_a_norm():
    model = network(
        [
            ("Conv", "x W", "c"),
            ("BatchNormalization", "c gamma beta mean var", "n"),
            ("Relu", "n", "r"),
            ("Mul", "two three", "six"),
            ("Mul", "r six", "y"),
        ],
        constants={
            "W": weights(2, 3, 3, 3),
            "gamma": [2.0, -1.0],
            "beta": [0.1, 0.2],
            "mean": [0.0, 0.3],
            "var": [1.0, 0.5],
            "two": 2.0,
            "three": 3.0,
        },
    )
    fed = {"x": weights(1, 3, 6, 5, seed=2)}
    assert [node.operator for node in optimize(load(model))[-1].nodes] == ["Conv", "Mul"]
    names = ["c", "n", "r", "six", "y", "x", "W", "mean"]
    s = qengine.InferenceSession(model)
    for found, wanted in zip(s.run(names[:5], fed), run_onnxruntime(model, fed, names[:5]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    x, w, mean = s.run(names[5:], fed)
    np.testing.assert_array_equal(x, fed["x"])
    np.testing.assert_array_equal(w, weights(2, 3, 3, 3))
    np.testing.assert_array_equal(mean, np.float32([0, 0.3]))
    # Beside, the weights have a format of their own, not that of the folded ones.
    fixed = qengine.InferenceSession(model, qformat="Q4.11")
    (c,) = fixed.run(["c"], fed)
    np.testing.assert_allclose(c, s.run(["c"], fed)[0], atol=5e-3)


def test_passes_are_in_one_tuple_and_may_run_twice():
    for seed in range(6):
        once = optimize(load(RandomNetwork(seed, norms=True).build()))[-1]
        twice = optimize(once)[-1]
        assert [node.operator for node in twice.nodes] == [node.operator for node in once.nodes]
        assert set(twice.constants) == set(once.constants)
    assert len(PASSES) == len(set(PASSES)) + 1  # what the others leave is removed in the end, too
