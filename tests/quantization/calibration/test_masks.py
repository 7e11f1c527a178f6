"""Masks before a Softmax take no range, and mask in fixed point too."""

import numpy as np
import pytest
from networks import network
from onnx import TensorProto, helper, numpy_helper

import qengine
from qengine.quantization.calibration.masks import VISIBLE, Addend, Scores, scores_of

LOWEST = float(np.finfo(np.float32).min)
VALUES = [-np.inf, -1e9, LOWEST, -65504.0, -1e4]
MASK = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], bool)


def real(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


FEEDS = {"q": real(1, 2, 4, 8), "k": real(1, 2, 8, 5, seed=1), "v": real(1, 2, 5, 8, seed=2)}


def added(value):
    """The mask is a constant that is added."""
    return [("Add", ["s", "m"], ["t"], {})], {"m": np.where(MASK, value, 0)}, {}


def chosen(value):
    """The mask is a number that Where chooses."""
    return [("Where", ["c", "n", "s"], ["t"], {})], {"c": MASK, "n": np.array(value)}, {}


def fed(value):
    """The mask is an input of the model."""
    return [("Add", ["s", "m"], ["t"], {})], {}, {"m": np.where(MASK, value, 0)}


def computed(value):
    """The mask is computed from an input of zeros and ones, as BERT's exports do."""
    nodes = [("Mul", ["f", "n"], ["m"], {}), ("Add", ["s", "m"], ["t"], {})]
    return nodes, {"n": np.array(value if np.isfinite(value) else LOWEST)}, {"f": MASK}


def reshaped(value):
    """The mask is added in another shape, as Swin's exports do."""
    nodes = [
        ("Add", ["s", "m"], ["a"], {}),
        ("Reshape", ["a", "r"], ["t"], {}),
    ]
    return nodes, {"m": np.where(MASK, value, 0), "r": np.array([2, 4, 5])}, {}


def scaled(value):
    """The mask is added before the scores are scaled."""
    return (
        [("Add", ["s", "m"], ["a"], {}), ("Div", ["a", "d"], ["t"], {})],
        {
            "m": np.where(MASK, value, 0),
            "d": np.array(2.0),
        },
        {},
    )


def with_bias(value):
    """The mask is added to a bias, and the sum to the scores, as T5's exports do."""
    nodes = [
        ("Mul", ["f", "n"], ["k1"], {}),
        ("Unsqueeze", ["k1", "a"], ["m"], {}),
        ("Add", ["bias", "m"], ["b"], {}),
        ("Add", ["s", "b"], ["t"], {}),
    ]
    lowest = np.array(value if np.isfinite(value) else LOWEST)
    return nodes, {"n": lowest, "a": np.array([0])}, {"f": MASK, "bias": real(1, 2, 4, 5, seed=5)}


def subtracted(value):
    """The mask is a large number that is subtracted, as GPT-2's exports do."""
    nodes = [("Mul", ["f", "n"], ["m"], {}), ("Sub", ["s", "m"], ["t"], {})]
    return nodes, {"n": -np.array(value if np.isfinite(value) else LOWEST)}, {"f": MASK}


def twice(value):
    """Two masks are added, one of which leaves a row nothing to see."""
    whole = MASK | np.array([[0], [0], [1], [0]], bool)
    nodes, constants, feeds = computed(value)
    return (
        [("Add", ["s", "m0"], ["r"], {}), nodes[0], ("Add", ["r", "m"], ["t"], {})],
        {
            **constants,
            "m0": np.where(whole, value if np.isfinite(value) else LOWEST / 4, 0),
        },
        feeds,
    )


def attention(form, value, opset=17, axis=-1):
    nodes, constants, inputs = form(value)
    v = "v" if form is not reshaped else "w"
    spelled = [
        ("MatMul", ["q", "k"], ["s"], {}),
        *nodes,
        ("Softmax", ["t"], ["p"], {"axis": axis}),
        ("MatMul", ["p", v], ["y"], {}),
    ]
    if form is reshaped:
        spelled.insert(0, ("Reshape", ["v", "rv"], ["w"], {}))
        constants["rv"] = np.array([2, 5, 8])
    feeds = {**FEEDS, **{name: np.asarray(a, np.float32) for name, a in inputs.items()}}
    stored = {n: a.astype(np.float32) if np.asarray(a).dtype.kind == "f" else a for n, a in constants.items()}
    graph = helper.make_graph(
        [helper.make_node(op, i, o, **attributes) for op, i, o, attributes in spelled],
        "attention",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in feeds.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), feeds


def sqnr(wanted, given):
    return 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - given) ** 2))


@pytest.mark.parametrize("form", [added, chosen, fed, computed, reshaped, scaled, with_bias, subtracted])
@pytest.mark.parametrize("value", VALUES)
def test_a_mask_costs_the_scores_nothing_and_masks(form, value):
    model, feeds = attention(form, value)
    wanted = qengine.InferenceSession(model).run(None, feeds)[0].astype(np.float64)
    for bits, least in ((16, 55), (8, 15)):
        formats = qengine.calibrate(model, [feeds], bits=bits)
        runs = [
            qengine.InferenceSession(model, formats=formats, isa=isa).run(None, feeds)[0] for isa in ("reference", None)
        ]
        np.testing.assert_array_equal(*runs)
        assert sqnr(wanted, runs[0]) >= least, (bits, sqnr(wanted, runs[0]))


@pytest.mark.parametrize("value", VALUES)
def test_a_row_that_is_masked_as_a_whole_takes_no_range(value):
    model, feeds = attention(twice, value)
    exact, given = (
        np.delete(qengine.InferenceSession(model, formats=formats).run(None, feeds)[0], 2, axis=2)
        for formats in (None, qengine.calibrate(model, [feeds], bits=16))
    )
    assert sqnr(exact.astype(np.float64), given) >= 70


def test_what_leads_to_a_softmax_is_found_through_other_shapes_and_axes():
    nodes = [
        ("Cast", "a", "b", {"to": TensorProto.FLOAT}),
        ("Transpose", "b", "c", {"perm": [0, 2, 1]}),
        ("Softmax", "c", "p", {"axis": 2}),
        ("Add", "p m", "q"),
        ("Neg", "x", "a"),
    ]
    nodes.insert(0, nodes.pop())
    model = network(nodes, inputs={"x": [2, 3, 4], "m": [2, 4, 3]}, outputs=["q"])
    assert scores_of(qengine.InferenceSession(model).graph) == {
        "a": Scores(1, False, VISIBLE),
        "b": Scores(1, False, VISIBLE),
        "c": Scores(2, False, VISIBLE),
    }


def test_only_what_is_added_to_scores_and_is_no_product_is_a_mask():
    nodes = [
        ("MatMul", "x x", "s"),
        ("Sub", "s m", "t"),
        ("Softmax", "t", "p", {"axis": 2}),
        ("Mul", "p n", "u"),
        ("Add", "u o", "y"),
    ]
    inputs = {name: [2, 3, 3] for name in "xmno"}
    found = scores_of(qengine.InferenceSession(network(nodes, inputs=inputs)).graph)
    assert found == {"m": Addend(is_negated=True), "t": Scores(2, False, VISIBLE)}
    given = np.float32([1.0, 8192.0, 8191.0, -1e9])
    np.testing.assert_array_equal(found["m"].visible(given), np.float32([1.0, np.inf, 8191.0, -1e9]))
    np.testing.assert_array_equal(Addend().visible(given), np.float32([1.0, 8192.0, 8191.0, -np.inf]))


def test_before_opset_13_a_row_lies_along_all_axes_from_the_axis_on():
    model, feeds = attention(added, -1e9, opset=11, axis=3)
    assert scores_of(qengine.InferenceSession(model).graph)["t"] == Scores(3, True, VISIBLE)
    formats = qengine.calibrate(model, [feeds], bits=16)
    assert qengine.QFormat.parse(formats["t"]).max < 64


@pytest.mark.parametrize("value", VALUES)
def test_formats_without_data_leave_room_for_an_infinite_mask(value):
    model, feeds = attention(added, value)
    session = qengine.InferenceSession(model, qformat="Q5.10")
    p = session.run(["p"], feeds)[0]
    assert p[..., MASK].max() < 2**-10


def test_scores_that_something_else_reads_keep_their_range():
    model, feeds = attention(added, -1e4)
    model.graph.output.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, None))
    formats = qengine.calibrate(model, [feeds], bits=16)
    assert qengine.QFormat.parse(formats["t"]).min <= -1e4


@pytest.mark.parametrize(
    ("scores", "axis", "is_rest", "expected"),
    [
        ([[0.0, -100.0, 5.0]], -1, False, [[0.0, -5.0, 5.0]]),
        ([[0.0, -100.0], [-np.inf, -np.inf]], 1, False, [[0.0, -10.0], [-np.inf, -np.inf]]),
        ([[0.0, -100.0], [-9e3, -1e4]], 1, False, [0.0, -10.0]),
        ([[0.0, -100.0], [20.0, 3.0]], 0, True, [[10.0, 10.0], [20.0, 10.0]]),
        ([[0.0, -100.0], [20.0, 3.0]], 0, False, [[10.0, -7.0], [20.0, 3.0]]),
        (np.zeros((2, 0)), -1, False, np.zeros((2, 0))),
    ],
)
def test_a_score_far_below_the_greatest_of_its_row_counts_as_the_distance(scores, axis, is_rest, expected):
    given = np.array(scores, np.float32)
    np.testing.assert_array_equal(Scores(axis, is_rest, 10.0).visible(given), np.array(expected, np.float32))


def test_a_mask_is_not_told_of_as_weights_with_a_bias():
    mask = np.where(np.arange(5) > 2, -np.inf, 0.25).astype(np.float32)
    model = network([("Add", "x m", "s"), ("Softmax", "s", "y")], constants={"m": mask})
    (note,) = qengine.calibrate(model, [{"x": real(1, 3, 6, 5)}]).notes
    assert note == "constant 'm' has fewer fraction bits than it could: its infinities must saturate what reads them"
