"""LSTM, GRU and RNN against ONNX Runtime, torch and their equations."""

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from model.ops.cases import NEWEST, Case, by_onnxruntime, each
from onnx import helper

import qengine

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
WAYS = (("forward", 1), ("reverse", 1), ("bidirectional", 2))
STEPS, BATCH, SIZE, HIDDEN = 5, 3, 4, 6


def inputs(operator, directions, *, dtype=np.float32, hidden=HIDDEN, **given):
    """Return inputs; `given` are sequence_lens, and whether bias, h, c and p are present."""
    rng = np.random.default_rng([len(operator), directions])
    n = GATES[operator]

    def real(*shape):
        return (0.4 * rng.normal(size=shape)).astype(dtype)

    lens = given.get("lens")
    arrays = [real(STEPS, BATCH, SIZE), real(directions, n * hidden, SIZE), real(directions, n * hidden, hidden)]
    arrays += [
        real(directions, 2 * n * hidden) if given.get("bias", True) else None,
        None if lens is None else np.array(lens, np.int32),
        real(directions, BATCH, hidden) if given.get("h") else None,
    ]
    if operator == "LSTM":
        arrays += [
            real(directions, BATCH, hidden) if given.get("c") else None,
            real(directions, 3 * hidden) if given.get("p") else None,
        ]
    while arrays[-1] is None:
        arrays.pop()
    return tuple(arrays)


def case(operator, way, directions, attributes=None, follows="onnxruntime", **given):
    # onnx.reference ignores sequence_lens, clip, activations, input_forget and the direction of RNN.
    outputs = 3 if operator == "LSTM" else 2
    attributes = {"hidden_size": HIDDEN, "direction": way, **(attributes or {})}
    return Case(operator, inputs(operator, directions, **given), attributes, outputs=outputs, follows=follows)


def with_activations(operator, way, directions, names, alpha=(), beta=()):
    attributes = {"activations": list(names) * directions}
    if alpha:
        attributes["activation_alpha"] = list(alpha) * directions
    if beta:
        attributes["activation_beta"] = list(beta) * directions
    return case(operator, way, directions, attributes, h=True)


CASES = [
    *(
        case(operator, way, n, lens=lens, h=h, c=h, p=h, bias=lens is None or h)
        for operator, (way, n) in product(GATES, WAYS)
        for lens, h in product((None, [5, 3, 1], [2, 1, 2]), (False, True))
    ),
    # A sequence of length 0; ONNX Runtime's RNN reads memory before its output then.
    *(
        case(o, way, n, lens=lens, h=True)
        for o in ("LSTM", "GRU")
        for way, n in WAYS
        for lens in ([0, 5, 2], [0, 0, 0])
    ),
    *(case(operator, way, n, {"clip": 0.3}, h=True) for operator in GATES for way, n in WAYS),
    *(case("LSTM", way, n, {"input_forget": 1}, c=True, p=True) for way, n in WAYS),
    *(case("GRU", way, n, {"linear_before_reset": 1}, h=True, bias=b) for way, n in WAYS for b in (True, False)),
    *(
        with_activations("RNN", way, n, *activation)
        for way, n in WAYS[1:]
        for activation in (
            (["Relu"],),
            (["Sigmoid"],),
            (["Softsign"],),
            (["Softplus"],),
            (["LeakyRelu"], [0.3]),
            (["ThresholdedRelu"], [0.2]),
            (["Elu"], [0.7]),
            (["Affine"], [0.3], [0.1]),
            (["ScaledTanh"], [0.8], [1.5]),
            (["HardSigmoid"], [0.4], [0.6]),
        )
    ),
    with_activations("LSTM", "bidirectional", 2, ["HardSigmoid", "Tanh", "LeakyRelu"], [0.3, 0.2], [0.4]),
    with_activations("LSTM", "forward", 1, ["HardSigmoid", "Elu", "LeakyRelu"]),  # the defaults of alpha and beta
    with_activations("GRU", "bidirectional", 2, ["hardsigmoid", "AFFINE"], [0.3, 0.5], [0.4, 0.2]),
]


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case, version):
    case.check(version)


def node(operator, arrays, outputs=2, opset=NEWEST, **attributes):
    """Return the outputs of qengine for one node."""
    model, feeds = Case(operator, arrays, attributes, outputs=outputs).model(opset, constant=False)
    return qengine.InferenceSession(model).run(None, feeds)


@pytest.mark.parametrize("operator", GATES)
def test_layout_1_has_the_batch_first(operator):
    given = inputs(operator, 2, lens=[5, 3, 1], h=True, c=True)
    outputs = 3 if operator == "LSTM" else 2
    y, *states = node(operator, given, outputs, direction="bidirectional")
    swapped = [np.swapaxes(a, 0, 1) if i in (0, 5, 6) else a for i, a in enumerate(given)]
    y1, *states1 = node(operator, tuple(swapped), outputs, direction="bidirectional", layout=1)
    np.testing.assert_array_equal(y1, y.transpose(2, 0, 1, 3))
    for one, other in zip(states1, states, strict=True):
        np.testing.assert_array_equal(one, other.swapaxes(0, 1))


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("way", ["forward", "reverse"])
def test_a_sequence_is_computed_as_if_it_were_alone(operator, way):
    x, *rest = inputs(operator, 1, lens=[5, 0, 2])
    x[2:, 2] = np.nan  # what pads a sequence is not read
    y, h = node(operator, (x, *rest), direction=way)[:2]
    alone, alone_h = node(operator, (x[:2, 2:], *rest[:3]), direction=way)[:2]
    np.testing.assert_allclose(y[:2, :, 2:], alone, rtol=1e-6)
    np.testing.assert_allclose(h[:, 2:], alone_h, rtol=1e-6)
    assert not y[2:, :, 2].any()
    assert not y[:, :, 1].any()
    assert not h[:, 1].any()


@pytest.mark.parametrize("operator", GATES)
def test_outputs_that_are_left_out(operator):
    given = inputs(operator, 1)
    y, h = node(operator, given)[:2]
    info = [helper.make_tensor_value_info(f"x{i}", 1, a.shape) for i, a in enumerate(given)]
    only_h = helper.make_node(operator, [f"x{i}" for i in range(len(given))], ["", "h"])
    graph = helper.make_graph([only_h], "g", info, [helper.make_empty_tensor_value_info("h")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    found = qengine.InferenceSession(model).run(None, {f"x{i}": a for i, a in enumerate(given)})
    np.testing.assert_array_equal(found[0], h)
    np.testing.assert_array_equal(y[-1], h)


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types(operator, dtype):
    given = inputs(operator, 1, dtype=dtype, h=True)
    model, feeds = Case(operator, tuple(a if a is None else a.astype(np.float32) for a in given), {}).model(14, False)
    model = onnx.load_from_string(model)
    model.graph.node[0].attribute.append(helper.make_attribute("hidden_size", HIDDEN))
    (wanted,) = by_onnxruntime(model.SerializeToString(), feeds)
    found = node(operator, given, 1)[0]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=2e-3 if dtype == np.float16 else 1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_packed_sequences_of_torch(kind):
    torch.manual_seed(0)
    net = kind(SIZE, HIDDEN, bidirectional=True)
    parts = [[getattr(net, f"{name}_l0{end}").detach().numpy() for end in ("", "_reverse")] for name in
             ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]  # fmt: skip
    order = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}[kind.__name__]  # of torch's gates in ONNX

    def stacked(pair):
        blocks = [np.split(a, len(order)) for a in pair]
        return np.stack([np.concatenate([one[i] for i in order]) for one in blocks])

    w, r, wb, rb = map(stacked, parts)
    x, lens = torch.randn(STEPS, BATCH, SIZE), torch.tensor([5, 3, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lens)
    wanted, state = net(packed)
    wanted = torch.nn.utils.rnn.pad_packed_sequence(wanted)[0].detach().numpy()
    state = (state[0] if isinstance(state, tuple) else state).detach().numpy()
    given = (x.numpy(), w, r, np.concatenate([wb, rb], 1), lens.numpy().astype(np.int32))
    more = {"linear_before_reset": 1} if kind is torch.nn.GRU else {}
    y, h = node(kind.__name__, given, direction="bidirectional", **more)
    np.testing.assert_allclose(y.transpose(0, 2, 1, 3).reshape(STEPS, BATCH, -1), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(h, state, rtol=1e-5, atol=1e-6)


def test_defaults_are_those_of_onnx_operators():
    x, w, r = np.float32([[[0.9]], [[1.5]]]), np.float32([[[1]]]), np.float32([[[0]]])
    assert node("RNN", (x, w, r), activations=["ThresholdedRelu"])[0].ravel().tolist() == [0, 1.5]
    assert node("RNN", (x, w, r), activations=["Affine"])[0].ravel().tolist() == x.ravel().tolist()


X, W, R = inputs("RNN", 1, bias=False)


@pytest.mark.parametrize(
    ("arrays", "attributes", "message"),
    [
        ((X, W, R), {"hidden_size": 7}, "hidden_size is 7"),
        ((X, W, R), {"hidden_size": 2**31 - 1}, "hidden_size is"),
        ((X, W, R), {"direction": "sideways"}, "forward, reverse or bidirectional"),
        ((X, W, R), {"direction": "bidirectional"}, "R has the shape"),
        ((X, W[:, :, 1:], R), {}, "W has the shape"),
        ((X[0], W, R), {}, "First input tensor must have rank 3|X has the shape"),
        ((X, W, R[:, 1:]), {}, "R has the shape"),
        ((X, W, R, np.zeros((1, 3), np.float32)), {}, "B has the shape"),
        ((X, W, R), {"clip": -1.0}, "clip is -1.0"),
        ((X, W, R), {"layout": 2}, "layout is 2"),
        ((X, W, R), {"activations": ["Nothing"]}, "'Nothing' does not exist"),
        ((X, W, R), {"activations": ["Tanh", "Tanh"]}, "2 names"),
        ((X, W, R), {"activations": ["Elu"], "activation_alpha": [1.0, 2.0]}, "2 numbers, 1 of 1"),
        ((X, W, R), {"activations": ["ScaledTanh"]}, "no default"),
        ((X, W, R, None, np.int32([5, 6, 1])), {}, "the length 6, X has steps for 0 to 5"),
        ((X, W, R, None, np.int32([-1, 3, 1])), {}, "the length -1, X"),
        ((X, W, R, None, np.int32([5, 3])), {}, "sequence_lens has the shape"),
        ((X, W, R, None, None, X), {}, "initial_h has the shape"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_fit_is_an_error(arrays, attributes, message):
    with pytest.raises(qengine.QEngineError, match=message):
        node("RNN", arrays, 1, opset=14, **attributes)


def test_empty_batch_and_no_steps():
    x, w, r = inputs("LSTM", 1, bias=False)
    y, h, c = node("LSTM", (x[:, :0], w, r), 3)
    assert (y.shape, h.shape, c.shape) == ((STEPS, 1, 0, HIDDEN), (1, 0, HIDDEN), (1, 0, HIDDEN))
    y, h, c = node("LSTM", (x[:0], w, r), 3)
    assert (y.shape, h.shape, c.shape) == ((0, 1, BATCH, HIDDEN), (1, BATCH, HIDDEN), (1, BATCH, HIDDEN))
