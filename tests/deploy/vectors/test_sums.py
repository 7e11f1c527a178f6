"""Exact numbers of operators, rounded, are the codes of the reference; limits, proofs and steered inputs hold."""

import itertools

import numpy as np
import pytest
from networks import network
from vector_nets import feeds_of, mixed, session_of, weights

from qengine.deploy.vectors.coverage import NEAR, TIES, coverage_of
from qengine.deploy.vectors.equivalence import Proofs
from qengine.deploy.vectors.operator_vectors import operator_vectors
from qengine.deploy.vectors.reach import reach_of
from qengine.deploy.vectors.record import Recorder
from qengine.deploy.vectors.steering import patches
from qengine.deploy.vectors.sums import bounds, sums_of
from qengine.deploy.vectors.taps import NOWHERE, taps_of
from qengine.kernels.reference.requantize import fit

OPERATORS = {
    "mixed": (mixed(), {}),
    "transposed": (
        network(
            [("ConvTranspose", "x w b", "y", {"strides": [2, 1], "pads": [1, 0, 0, 1], "group": 3})],
            constants={"w": weights(3, 2, 3, 2), "b": weights(6)},
        ),
        {},
    ),
    "depthwise": (
        network([("Conv", "x w", "y", {"group": 3, "dilations": [2, 1]})], constants={"w": weights(3, 1, 2, 3)}),
        {},
    ),
    "matmul": (network([("MatMul", "x w", "y")], inputs={"x": [2, 3, 5]}, constants={"w": weights(5, 4)}), {}),
    "two inputs": (network([("MatMul", "x z", "y")], inputs={"x": [2, 3, 5], "z": [2, 5, 4]}), {}),
    "scale": (
        network(
            [("BatchNormalization", "x s b m v", "y")],
            constants={"s": weights(3), "b": weights(3), "m": weights(3), "v": np.abs(weights(3))},
        ),
        {},
    ),
    "elementwise": (
        network(
            [("Sub", "x z", "d"), ("Mul", "d z", "m"), ("Div", "m x", "q"), ("PRelu", "q s", "y")],
            inputs={"x": [1, 3, 4, 4], "z": [1, 3, 4, 4]},
            constants={"s": weights(3, 1, 1)},
        ),
        {},
    ),
    "resize": (
        network([("Resize", "x - s", "y", {"mode": "linear"})], constants={"s": np.float32([1, 1, 2, 1.5])}),
        {},
    ),
    "mean": (network([("ReduceMean", "x", "y", {"axes": [2, 3]})], opset=13), {}),
    "aligned": (
        network([("Add", "x z", "y")], inputs={"x": [1, 9], "z": [1, 9]}),
        {"formats": {"x": "Q1.6", "z": "Q3.4", "y": "Q2.5"}, "qformat": None, "rules": {"aligns_add": True}},
    ),
    "wrapping": (mixed(), {"accumulator_bits": 12}),
    "per channel": (mixed(), {"per_channel": True, "rounding": "half_away", "overflow": "wrap"}),
    "wide": (mixed(), {"qformat": "Q3.12", "rounding": "tflite"}),
    "unsigned": (mixed(), {"qformat": "UQ2.6", "rounding": "floor"}),
    "esp32": (mixed(), {"target": "esp32-s3"}),
    "finer register": (mixed(), {"rules": {"accumulator": {"bits": 14, "fraction_bits": 12}}}),
    "rounds inside": (
        mixed(),
        {"rounding": "half_up", "rules": {"accumulator": {"bits": 12, "rounds_inside": True}}},
    ),
    "computed bias": (
        network([("Gemm", "x w b", "y")], inputs={"x": [2, 5], "b": [4]}, constants={"w": weights(5, 4)}),
        {},
    ),
}


def found_in(name):
    model, options = OPERATORS[name]
    session = session_of(model, **options)
    recorder = Recorder(session, feeds_of(session))
    arrays = recorder.run(feeds_of(session, scale=2.0))
    return [(o, o.operands(arrays), arrays[o.output.name]) for o in recorder.operators if o.bound_step.arithmetic]


@pytest.mark.parametrize("name", OPERATORS)
def test_rounded_sums_are_the_codes(name):
    seen = 0
    for operator, operands, output in found_in(name):
        sums = sums_of(operator.bound_step, operands)
        if sums is None or (operator.operator == "Div" and not operands[1].all()):
            continue
        seen += 1
        step = operator.bound_step.step
        activation = getattr(step, "activation", None)
        low, high = bounds(step, operator.output) if activation else (None, None)
        assert np.array_equal(fit(sums.rounded, sums.word, low=low, high=high), output), operator.name
    assert seen


@pytest.mark.parametrize("name", ["mixed", "transposed", "depthwise", "matmul", "scale", "per channel", "wide"])
def test_taps_add_up_to_the_sums(name):
    for operator, operands, _ in found_in(name):
        taps = taps_of(operator.bound_step)
        if taps is None:
            continue
        sums = sums_of(operator.bound_step, operands).accumulators
        x = np.append(operands[0].reshape(-1).astype(np.int64), 0)  # the last one is the padding
        windows = x[np.where(taps.elements == NOWHERE, x.size - 1, taps.elements)]
        found = np.einsum("gpk,gok->gop", windows, taps.weights) + taps.bias
        assert set(found.reshape(-1).tolist()) <= set(sums.reshape(-1).tolist())


@pytest.mark.parametrize("name", ["mixed", "transposed", "depthwise", "matmul", "scale", "per channel", "unsigned"])
def test_patches_show_what_they_promise(name):
    for operator, operands, _ in found_in(name):
        bound_step = operator.bound_step
        taps = taps_of(bound_step)
        if taps is None:
            continue
        reach = reach_of(bound_step, sums_of(bound_step, operands), taps)
        word, random = bound_step.step.operands[0].one_format.word(), np.random.default_rng(0)
        shown = set()
        for patch in patches(taps, word, bounds(bound_step.step, operator.output), random):
            x = operands[0].copy().reshape(-1)
            x[patch.elements] = patch.codes
            coverage = coverage_of(bound_step, (x.reshape(operands[0].shape), *operands[1:]))
            shown.add(patch.shows)
            if patch.shows in (*TIES, *NEAR):
                assert coverage.counts[patch.shows] > 0
            elif name != "transposed" and patch.shows.endswith("accumulator"):
                shown.add(coverage.most)
                shown.add(coverage.least)
        if name != "transposed":
            assert {reach.least, reach.most} <= shown
        assert set(TIES) - shown <= set(reach.impossible) or name in ("unsigned", "scale")


def every_input(t):
    word = t.one_format.word()
    codes = range(word.least, word.most + 1)
    return np.array(list(itertools.product(codes, repeat=2)), t.one_format.dtype)


@pytest.mark.parametrize("qformat", ["Q1.2", "Q0.3", "UQ1.3"])
@pytest.mark.parametrize(
    ("rounding", "overflow"), [("half_even", "saturate"), ("half_up", "wrap"), ("tflite", "saturate")]
)
@pytest.mark.parametrize("relu", [False, True])
def test_proofs_hold_for_every_input(qformat, rounding, overflow, relu):
    """All inputs of a small operator: what is proven impossible never happens, and hidden faults never show."""
    from qengine.deploy.hypotheses import Operation, all_hypotheses

    nodes = [("Gemm", "x w b", "g"), ("Relu", "g", "y")] if relu else [("Gemm", "x w b", "y")]
    model = network(
        nodes, inputs={"x": ["N", 2]}, constants={"w": np.float32([[1.0], [-0.5]]), "b": np.float32([0.25])}
    )
    session = session_of(model, qformat=qformat, rounding=rounding, overflow=overflow)
    recorder = Recorder(session, {"x": np.zeros((1, 2), np.float32)})
    bound_step = recorder.operators[0].bound_step
    x = every_input(bound_step.step.x)
    whole = Recorder(session, {"x": np.zeros(x.shape, np.float32)}).operators[0].bound_step
    operands = (x, *whole.sources[1:])
    sums = sums_of(whole, operands)
    reach = reach_of(bound_step, sums, taps_of(bound_step))
    coverage = coverage_of(whole, operands)
    assert reach.least == coverage.least
    assert reach.most == coverage.most
    assert not set(reach.impossible) & set(+coverage.counts)
    right, every = whole.kernel(*operands), list(all_hypotheses())
    equal = Proofs(bound_step, sums, reach, taps_of(bound_step), operands).hidden(every)
    for fault in every:
        codes = fault.codes(Operation(whole, operands)) if fault.name in equal else None
        assert codes is None or np.array_equal(codes, right), fault.name
    assert equal


def test_vectors_of_an_operator_detect_what_data_does_not():
    (operator, operands, _), *_ = found_in("wide")
    taps = taps_of(operator.bound_step)
    kept, coverage = operator_vectors(operator, operands, taps, 1000, lambda *_: False, 0)
    again, _ = operator_vectors(operator, operands, taps, 1000, lambda *_: False, 0)
    assert all(coverage.counts[name] for name in ("tie above 0, even", "tie above 0, odd", "high rail", "low rail"))
    assert [v.output.tobytes() for v in kept] == [v.output.tobytes() for v in again]
