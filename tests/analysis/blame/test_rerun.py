"""Runs with chosen tensors rounded, and all figures of blame: the same on native kernels as on the reference."""

import numpy as np
import pytest
from networks import network, weights
from runtime.native.native import ISAS

from qengine import InferenceSession
from qengine.analysis.blame import blame
from qengine.analysis.blame.rerun import Rerun
from qengine.errors import FormatError
from qengine.runtime.native.executor import NativeSegment

NETWORK = network(
    [
        ("Conv", "x a", "p", {"pads": [1] * 4}),
        ("Relu", "p", "q"),
        ("Conv", "q e", "r"),
        ("Add", "r q", "s"),
        ("Softmax", "s", "v", {"axis": 1}),
        ("GlobalAveragePool", "v", "g"),
        ("Flatten", "g", "m"),
        ("Gemm", "m w b", "y"),
    ],
    inputs={"x": [2, 3, 9, 7]},
    outputs=["y", "s"],
    constants={
        "a": weights(20, 3, 3, 3, scale=0.3),
        "e": weights(20, 20, 1, 1, seed=4, scale=0.3),
        "w": weights(20, 5, seed=5),
        "b": weights(5, seed=6),
    },
)
FEEDS = {"x": np.random.default_rng(8).normal(0.3, 1.5, (2, 3, 9, 7)).astype(np.float32)}
WORDS = {
    "int8": {"qformat": "Q2.5"},
    "uint8": {"qformat": "UQ2.6", "weight_qformat": "Q0.7", "rounding": "half_up"},
    "int16 that wraps": {"qformat": "Q2.13", "overflow": "wrap", "rounding": "floor"},
}


def rerun_of(isa, **options):
    fixed = InferenceSession(NETWORK, isa=isa, **options)
    real = fixed.in_float32()
    arrays = fixed.check_feeds(FEEDS)
    rerun = Rerun(fixed.plan(arrays), real.plan(arrays), real)
    rerun.run(arrays)
    return rerun


def assert_close(got, want):
    assert list(got) == list(want)
    for name, array in got.items():
        assert (array.dtype, array.shape) == (want[name].dtype, want[name].shape)
        np.testing.assert_allclose(array, want[name], rtol=0, atol=1e-5 * np.abs(want[name]).max())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("word", WORDS)
def test_runs_with_tensors_rounded(word, isa):
    got, want = rerun_of(isa, **WORDS[word]), rerun_of("reference", **WORDS[word])
    assert_close({name: got.exact[name] for name in want.exact}, want.exact)
    for name, point in want.points.items():
        if point.rounds:
            # The native run may round a number at a tie to the other side: both get the same rounded tensor.
            array = None if point.kind == "constant" else want.rounded(point)
            given = {} if array is None else {name: array}
            assert_close(got.alone([name], given=given), want.alone([name], given=given))
            assert not np.array_equal(want.alone([name])["s"], want.exact["s"]) or name in "vgmywb"
    assert_close(*(r.with_kinds(constants=True, activations=False) for r in (got, want)))


@pytest.mark.parametrize("isa", [ISAS[0], "reference"])
def test_a_run_does_not_depend_on_earlier_ones(isa):
    sets = (["w"], ["w", "y"], ["y"], ["x", "e"], ["e", "s"], ["e"], ["s"], [], ["w"])
    used = rerun_of(isa, **WORDS["int8"])
    for names in sets:
        new = rerun_of(isa, **WORDS["int8"])
        for run in ("alone", "all_but"):
            got, want = (getattr(one, run)(names) for one in (used, new))
            assert all(np.array_equal(got[name], want[name]) for name in want), (names, run)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("word", WORDS)
def test_all_activations_rounded(word, isa):
    """A tie may go the other way in a sum that the native kernel adds up in another order: one step of the format."""
    got, want = rerun_of(isa, **WORDS[word]), rerun_of("reference", **WORDS[word])
    ours, theirs = (r.with_kinds(constants=False, activations=True) for r in (got, want))
    for name, array in ours.items():
        apart = array != theirs[name]
        assert np.count_nonzero(apart) <= 0.01 * array.size
        assert not np.array_equal(theirs[name], want.exact[name])
    (plan,) = got._with_kinds.values()
    executor = got._session_plans.executor(plan, raw=False)
    kernels = [op.kernel for part in executor.parts if isinstance(part, NativeSegment) for op in part.ops]
    assert kernels.count("quantize") >= 4
    assert kernels.count("dequantize") >= 4


@pytest.mark.parametrize("word", WORDS)
def test_figures(word):
    found = [blame(InferenceSession(NETWORK, isa=isa, **WORDS[word]), [FEEDS] * 2) for isa in (ISAS[0], "reference")]
    for whole in ("sqnr_db", "rounded_db", "sum_db", "constants_db", "activations_db"):
        assert getattr(found[0], whole) == pytest.approx(getattr(found[1], whole), abs=0.05)
    ours, theirs = ({t.name: t for t in one.tensors} for one in found)
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        other = theirs[name]
        counts = ("elements", "saturated", "underflowed", "unused_bits", "kind", "operator", "format", "shares")
        assert [getattr(one, count) for count in counts] == [getattr(other, count) for count in counts]
        for figure in ("sqnr_db", "own_db", "output_db", "all_but_db"):
            if getattr(other, figure) is None:
                assert getattr(one, figure) is None
            else:
                decibels = [min(getattr(t, figure), 90.0) for t in (one, other)]  # float32 itself is not much better
                assert decibels[0] == pytest.approx(decibels[1], abs=0.05)


@pytest.mark.parametrize("isa", [ISAS[0], "reference"])
def test_a_number_that_rounding_alone_makes_nan(isa):
    """Rounded to 0, an input divided by itself is NaN."""
    model = network([("Div", "x x", "d"), ("Neg", "d", "y")], inputs={"x": [2, 6]})
    session = InferenceSession(model, isa=isa, qformat="Q4.3")
    feeds = session.check_feeds({"x": np.full((2, 6), 0.01, np.float32)})
    real = session.in_float32()
    rerun = Rerun(session.plan(feeds), real.plan(feeds), real)
    rerun.run(feeds)
    with np.errstate(all="ignore"), pytest.raises(FormatError, match="tensor 'y' became NaN in float32"):
        rerun.with_kinds(constants=False, activations=True)
