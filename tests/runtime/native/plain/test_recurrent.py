"""LSTM, GRU and RNN on native kernels; the equations are tested in tests/model/eager/test_recurrent.py."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas

import qengine
from qengine.errors import ModelError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
TOLERANCE = 5e-6


def case(
    operator, *, time=5, batch=3, size=5, hidden=19, keep="y h c", given=(), lens=None, constant=True, **attributes
):
    """A node with random inputs; `given` are the optional ones (b, h, c, p), `keep` the outputs that it has."""
    rng = np.random.default_rng([len(operator), batch, hidden])
    n, gates = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[operator]
    layout = attributes.get("layout", 0)

    def real(*shape):
        return rng.uniform(-0.6, 0.6, shape).astype(np.float32)

    weights = {"w": real(n, gates * hidden, size), "r": real(n, gates * hidden, hidden)}
    weights |= {"b": real(n, 2 * gates * hidden)} if "b" in given else {}
    weights |= {"p": real(n, 3 * hidden)} if "p" in given else {}
    states = {s: real(*((batch, n) if layout else (n, batch)), hidden) for s in ("h0", "c0") if s[0] in given}
    feeds = {"x": 3 * real(*((batch, time) if layout else (time, batch)), size), **states}
    if lens is not None:
        feeds["lens"] = np.array(lens, np.int32)
    if not constant:
        feeds |= weights
    names = ["x", "w", "r", "b", "lens", "h0", *(("c0", "p") if operator == "LSTM" else ())]
    present = {**weights, **feeds}
    outputs = [name if name in keep.split() else "-" for name in ("y", "h", "c")[: 3 if operator == "LSTM" else 2]]
    model = network(
        [(operator, " ".join(n if n in present else "-" for n in names), " ".join(outputs), attributes)],
        inputs={name: (a.dtype, list(a.shape)) for name, a in feeds.items()},
        outputs=[name for name in outputs if name != "-"],
        constants=weights if constant else {},
    )
    return PlainCase(model, feeds, operator.lower(), TOLERANCE)


BOTH = "bidirectional"
CASES = {
    "LSTM": case("LSTM", given="bhc"),
    "LSTM in both directions, ragged": case("LSTM", given="bhcp", lens=[5, 0, 2], direction=BOTH),
    "LSTM backwards, batch first": case("LSTM", given="bhc", lens=[1, 4, 5], direction="reverse", layout=1),
    "LSTM, both, batch first": case("LSTM", given="bh", direction=BOTH, layout=1, batch=7),
    "LSTM with coupled gates and bounds": case("LSTM", given="bp", input_forget=1, clip=0.3),
    "LSTM whose weights are computed": case("LSTM", given="bcp", constant=False, direction=BOTH),
    "LSTM without a sequence": case("LSTM", given="b", keep="h"),
    "LSTM of one unit": case("LSTM", given="bhc", hidden=1, size=1, batch=1, time=1),
    "LSTM of large batches": case("LSTM", given="b", batch=37, hidden=32),
    "LSTM of long sums": case("LSTM", given="b", size=600, hidden=48, batch=1),
    "GRU": case("GRU", given="bh", direction=BOTH, lens=[2, 5, 0]),
    "GRU that resets after": case("GRU", given="bh", direction=BOTH, lens=[2, 5, 0], linear_before_reset=1),
    "GRU that resets after, without a bias": case("GRU", linear_before_reset=1, clip=0.5),
    "GRU whose weights are computed": case("GRU", given="bh", linear_before_reset=1, constant=False, direction=BOTH),
    "GRU whose weights are computed, too": case("GRU", given="b", constant=False, batch=9),
    "GRU without a state": case("GRU", keep="y", layout=1),
    "RNN": case("RNN", given="bh", direction="reverse", lens=[3, 1, 4]),
    "RNN of many": case("RNN", given="b", batch=11, hidden=16),
    # Functions that are not 0 at 0 must not reach the units behind the last one.
    "RNN, Affine and Softplus": case(
        "RNN",
        activations=["Affine", "Softplus"],
        activation_alpha=[0.2],
        activation_beta=[30.0],
        direction=BOTH,
    ),
    "RNN, Relu and Elu": case("RNN", activations=["Relu", "Elu"], activation_alpha=[0.7], direction=BOTH),
    "RNN, LeakyRelu and HardSigmoid": case("RNN", activations=["LeakyRelu", "HardSigmoid"], direction=BOTH),
    "RNN, ThresholdedRelu and ScaledTanh": case(
        "RNN",
        activations=["ThresholdedRelu", "ScaledTanh"],
        activation_alpha=[0.2, 0.8],
        activation_beta=[1.5],
        direction=BOTH,
    ),
    "RNN, Softsign and Sigmoid": case("RNN", activations=["Softsign", "Sigmoid"], direction=BOTH),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("operator", GATES)
def test_threads_give_the_same(operator, threads):
    check(case(operator, given="b", batch=9, hidden=40, direction=BOTH, time=9), ISAS[0], threads)


@pytest.mark.parametrize("isa", [ISAS[0], "reference"])
@pytest.mark.parametrize("length", [-1, 6])
def test_a_length_out_of_range_is_an_error(length, isa):
    model, feeds, *_ = case("GRU", lens=[5, length, 2])
    with pytest.raises(ModelError, match=f"the_y.*sequence_lens has the length {length}, X has steps for 0 to 5"):
        qengine.InferenceSession(model, isa=isa).run(None, feeds)


@pytest.mark.parametrize("operator", GATES)
def test_infinite_and_missing_numbers_stay_in_their_sequence(operator):
    model, feeds, *_ = case(operator, given="b")
    feeds["x"][1, 0, 2], feeds["x"][2, 1, 0] = np.inf, np.nan
    got = qengine.InferenceSession(model, isa=ISAS[0]).run(["y"], feeds)[0]
    want = qengine.InferenceSession(model, isa="reference").run(["y"], feeds)[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)
    assert np.isnan(got[2:, 0, 1]).all()
    assert np.isfinite(got[:, 0, 2]).all()
