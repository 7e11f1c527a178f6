import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

from qengine import InferenceSession, QFormat, quantize
from qengine.errors import OptionError, UnsupportedError
from qengine.model.formats.assign import FormatRequest
from qengine.model.loader import load
from qengine.runtime.plan.network import Network

X = weights(2, 3, 6, 5, seed=1, scale=2.0)
NORM = {name: weights(4, seed=i, scale=0.4) ** 2 + np.float32(0.3) for i, name in enumerate("gmvh")}
W = weights(4, 3, 3, 3)
CONV, NORMALIZE = ("Conv", "x W", "c"), ("BatchNormalization", "c g h m v", "n")
CHAIN = [CONV, NORMALIZE, ("Relu", "n", "r"), ("Conv", "r V", "y")]
FIXED = [{"qformat": "Q4.3"}, {"qformat": "Q3.12", "per_channel": True}, {"qformat": "Q2.5", "overflow": "wrap"}]


def model(nodes=CHAIN, **options):
    constants = {"W": W, "V": weights(4, 4, 1, 1, seed=8), **NORM, **options.pop("constants", {})}
    return network(nodes, inputs={"x": ["N", 3, "H", "W"]}, constants=constants, **options)


def run(built, names, **options):
    return InferenceSession(built, **options).run(names, {"x": X}, raw=True)


def operators(graph):
    return [node.operator for node in graph.nodes]


def folded():
    """Weights and bias that make a Conv of the Conv and the BatchNormalization."""
    g, m, v, h = (NORM[name].astype(np.float64) for name in "gmvh")
    scale = g / np.sqrt(v + float(np.float32(1e-5)))
    return {"F": (W * scale.reshape(4, 1, 1, 1)).astype(np.float32), "b": (h - m * scale).astype(np.float32)}


# --- tensors that a pass removed


@pytest.mark.parametrize("options", FIXED)
def test_what_an_activation_took_in_is_computed_as_just_before(options):
    n, r = run(model(), ["n", "r"], **options)
    (wanted,) = run(model([("Conv", "x F b", "y")], constants=folded()), ["y"], **options)
    np.testing.assert_array_equal(n, wanted, strict=True)
    np.testing.assert_array_equal(r, np.maximum(n, 0), strict=True)
    assert (n < 0).any()


@pytest.mark.parametrize("options", FIXED)
def test_what_a_normalization_took_in_is_computed_as_the_model_says(options):
    (c,) = run(model(), ["c"], **options)
    np.testing.assert_array_equal(c, run(model([("Conv", "x W", "y")]), ["y"], **options)[0], strict=True)


@pytest.mark.parametrize("options", FIXED)
def test_bounds_cut_the_codes_before_them(options):
    nodes = [CONV, ("Clip", "c low high", "y")]
    c, y = run(model(nodes, constants={"low": -0.5, "high": 1.25}), ["c", "y"], **options)
    form = QFormat.parse(options["qformat"])
    np.testing.assert_array_equal(y, np.clip(c, *quantize([-0.5, 1.25], form)), strict=True)
    assert 0.1 < (c != y).mean() < 0.9


@pytest.mark.parametrize("options", FIXED)
def test_the_factors_of_a_gemm(options):
    nodes = [("Flatten", "x", "f"), ("Gemm", "f G k", "c", {"alpha": 0.5, "beta": 2.0}), NORMALIZE, ("Relu", "n", "y")]
    constants = {"G": weights(90, 4, scale=0.2), "k": weights(4, seed=3)}
    c, n, y = run(model(nodes, constants=constants), ["c", "n", "y"], **options)
    halves = {"G": constants["G"] / 2, "k": constants["k"] * 2}
    plain = model([("Flatten", "x", "f"), ("Gemm", "f G k", "y")], constants=halves)
    np.testing.assert_array_equal(c, run(plain, ["y"], **options)[0], strict=True)
    np.testing.assert_array_equal(y, np.maximum(n, 0), strict=True)


EVERY = {
    "chain": (CHAIN, "xcnry"),
    "two readers": ([*CHAIN[:-1], ("Add", "r n", "y")], "xcnry"),
    "alone": ([("Sigmoid", "x", "c"), ("BatchNormalization", "c p q q p", "n"), ("Relu", "n", "y")], "xcny"),
    "sum": ([CONV, ("Add", "c c", "n"), ("Clip", "n low high", "r"), ("Neg", "r", "y")], "xcnry"),
    "folded constants": ([("Mul", "W two", "U"), ("Conv", "x U", "c"), ("Relu", "c", "y")], "xUcyW"),
    "nothing reads it": ([*CHAIN, ("Sigmoid", "c", "d"), ("Tanh", "d", "e")], "xcnryde"),
    "a part of it": ([("Split", "x", "s t u", {"axis": 1}), ("Neg", "t", "y")], "xstuy"),
}
SPARE = {"p": np.float32([0.5, 1, 2]), "q": np.float32([0.25, -0.5, 0.5]), "low": -0.5, "high": 0.75, "two": 2.0}


@pytest.mark.parametrize("kind", EVERY)
def test_every_tensor_in_float32_is_that_of_onnxruntime(kind):
    nodes, names = EVERY[kind]
    built = model(nodes, constants=SPARE)
    asked = [name for name in names if name not in "xW"]
    for found, wanted in zip(run(built, asked), run_onnxruntime(built, {"x": X}, asked), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("options", [{}, *FIXED])
def test_asking_for_more_changes_nothing(kind, options):
    nodes, names = EVERY[kind]
    built = model(nodes, constants=SPARE)
    together = dict(zip(names, run(built, list(names), **options), strict=True))
    (alone,) = run(built, None, **options)
    np.testing.assert_array_equal(together["y"], alone, strict=True)
    for name in names:
        beside = run(built, ["y", name], **options)
        np.testing.assert_array_equal(beside[0], alone, strict=True)
        np.testing.assert_array_equal(beside[1], together[name], strict=True)
        np.testing.assert_array_equal(run(built, [name], **options)[0], together[name], strict=True)


# --- the graph that computes them


def test_only_what_is_asked_for_is_computed():
    found = Network(load(model()), None)
    assert operators(found.model) == ["Conv", "BatchNormalization", "Relu", "Conv"]
    assert operators(found.optimized) == ["Conv", "Conv"]
    for names, wanted in (
        ("y", ["Conv", "Conv"]),
        ("r", ["Conv"]),
        ("n", ["Conv"]),
        ("c", ["Conv"]),
        ("nr", ["Conv", "Conv"]),
        ("yc", ["Conv", "Conv", "Conv"]),
        ("ycn", ["Conv"] * 4),
        ("x", []),
        ("W", []),
    ):
        graph = found.graph_with_outputs(tuple(names))
        assert operators(graph) == wanted
        assert [value.name for value in graph.outputs] == list(names)
    assert found.graph_with_outputs(("y",)) == found.optimized


def test_constants_come_with_what_reads_them():
    found = Network(load(model()), None)
    assert set(found.graph_with_outputs(("c",)).constants) == {"W"}
    (node,) = found.graph_with_outputs(("n",)).nodes
    assert set(found.graph_with_outputs(("n",)).constants) == set(node.inputs[1:])
    np.testing.assert_allclose(found.graph_with_outputs(("n",)).constants[node.inputs[1]], folded()["F"], rtol=1e-6)
    np.testing.assert_array_equal(found.graph_with_outputs(("W",)).constants["W"], W, strict=True)


def test_formats():
    assert Network(load(model()), None).table is None
    table = Network(load(model()), FormatRequest(QFormat(4, 3), None, {"n": "Q2.5"}, False)).table
    assert {name: str(table.by_model_name()[name]) for name in "xcnry"} == {
        "x": "Q4.3",
        "c": "Q4.3",
        "n": "Q2.5",
        "r": "Q2.5",
        "y": "Q4.3",
    }


def test_inputs_that_decide_shapes():
    nodes = [("Resize", "x - factor", "y", {"mode": "nearest"})]
    built = network(nodes, inputs={"x": [1, 3, 6, 5], "factor": [4]})
    assert Network(load(built), None).value_inputs == {"factor"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("conv_1",), r"the model has no tensor 'conv_1'; did you mean 'conv1'\?"),
        (("y", "Conv1"), r"the model has no tensor 'Conv1'; did you mean 'conv1'\?"),
        (("quite another",), r"the model has no tensor 'quite another'"),
        (("",), r"the model has no tensor ''"),
        ((3,), r"the model has no tensor '3'"),
        (("W with n",), r"the model has no tensor 'W with n'"),
    ],
)
def test_a_name_that_there_is_not(names, message):
    nodes = [("Conv", "x W", "conv1"), ("BatchNormalization", "conv1 g h m v", "n"), ("Relu", "n", "y")]
    with pytest.raises(OptionError, match=f"^{message}$"):
        Network(load(model(nodes)), None).graph_with_outputs(names)


def test_operators_that_are_not_supported_are_refused_even_where_nothing_reads_them():
    built = model([*CHAIN, ("NoSuch", "y", "z"), ("NoSuch", "z", "u"), ("Nor", "z", "w")])
    with pytest.raises(UnsupportedError, match=r"^operators not supported: NoSuch-17 \(x2\), Nor-17; replace"):
        Network(load(built), None)
