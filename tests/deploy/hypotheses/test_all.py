"""Every hypothesis has a name of its own, and gives codes of the right shape where it applies."""

import numpy as np
import pytest
from networks import network

import qengine
from qengine.deploy.hypotheses import Operation, Variant, all_hypotheses


def operations(model="digits", **options):
    """Return the operators of a bundled model with the codes that they read."""
    session = qengine.InferenceSession(qengine.zoo.path_of(model), **options)
    sample = qengine.zoo.find(model).sample(qengine.Preprocessing())
    feeds = session.check_feeds({name: array[:2] for name, array in sample.feeds.items()})
    arrays, found = {}, {}
    for event in session.trace(feeds):
        arrays[event.tensor.name] = event.array
        if event.bound_step is not None:
            before = {name: array[::-1] for name, array in arrays.items()}
            found[event.tensor.name] = Operation.of(event.bound_step, arrays, before)
    return found


@pytest.fixture(scope="module")
def digits():
    return operations(qformat="Q4.3")


def test_names_are_unique_and_sorted():
    hypotheses = all_hypotheses()
    assert len({h.name for h in hypotheses}) == len(hypotheses)
    assert [h.rank for h in hypotheses] == sorted(h.rank for h in hypotheses)
    assert all(h.name.startswith(f"{h.family}:") for h in hypotheses)


@pytest.mark.parametrize("tensor", ["block1.relu1", "pool", "logits"])
def test_the_exact_results_give_the_definition(digits, tensor):
    variant = Variant.of(digits[tensor])
    assert variant.exact is not None
    np.testing.assert_array_equal(variant.codes(), digits[tensor].codes)
    index = np.arange(digits[tensor].codes.size)[::7]
    np.testing.assert_array_equal(variant.codes(index), digits[tensor].codes.reshape(-1)[index])


def test_no_epilogue_describes_a_register_with_fraction_bits_of_its_own():
    rules = {"accumulator": {"bits": 40, "fraction_bits": 16}}
    (operation,) = (o for name, o in operations(qformat="Q4.3", rules=rules).items() if name == "logits")
    assert Variant.of(operation).exact is None


def test_codes_have_the_shape_of_the_output(digits):
    applied = set()
    for tensor in ("relu", "pool", "logits"):
        for hypothesis in all_hypotheses():
            codes = hypothesis.codes(digits[tensor])
            if codes is not None:
                assert codes.shape == digits[tensor].codes.shape
                applied.add(hypothesis.family)
                assert hypothesis.describe(Variant.of(digits[tensor]))
    expected = {"rounding", "overflow", "shift", "bias", "activation", "accumulator", "pad", "input", "weights", "mean"}
    assert expected <= applied


def fault(operation, name):
    return next(h for h in all_hypotheses() if h.name == name).codes(operation)


def pooled(shape, window, fmt="Q3.4"):
    """Return the operators of a mean and a table, with noise as their input."""
    nodes = [("AveragePool", "x", "mean", {"kernel_shape": window}), ("Tanh", "mean", "table")]
    session = qengine.InferenceSession(network(nodes, inputs={"x": shape}, outputs=("table",)), qformat=fmt)
    feeds = session.check_feeds({"x": np.random.default_rng(3).normal(size=shape).astype(np.float32) * 3})
    events = list(session.trace(feeds))
    arrays = {event.tensor.name: event.array for event in events}
    return {e.tensor.name: Operation.of(e.bound_step, arrays, {}) for e in events if e.bound_step is not None}


@pytest.mark.parametrize(
    ("name", "change"),
    [("output:channels_reversed", lambda y: y[:, ::-1]), ("output:inverted", lambda y: -1 - y.astype(np.int64))],
)
@pytest.mark.parametrize("tensor", ["relu", "logits"])
def test_what_an_operator_writes(digits, tensor, name, change):
    np.testing.assert_array_equal(fault(digits[tensor], name), change(digits[tensor].codes))


def test_a_mean_along_one_axis_has_one_pass():
    assert fault(pooled([1, 2, 9], [3])["mean"], "mean:two_pass") is None
    assert fault(pooled([1, 2, 9, 9], [3, 3])["mean"], "mean:two_pass") is not None


@pytest.mark.parametrize("tensor", ["mean", "table"])
def test_a_relu_too_many_behind_any_operator(tensor):
    operation = pooled([1, 2, 9], [3])[tensor]
    np.testing.assert_array_equal(fault(operation, "activation:relu"), np.maximum(operation.codes, 0))
    assert operation.codes.min() < 0


def test_no_relu_where_nothing_is_below_0_and_no_clip_beyond_the_word():
    operations = pooled([1, 2, 9], [3], "UQ3.5")
    assert fault(operations["mean"], "activation:relu") is None
    assert fault(operations["table"], "activation:relu") is None
    assert fault(pooled([1, 2, 9], [3], "Q2.5")["mean"], "activation:relu6") is None
