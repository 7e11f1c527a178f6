"""A guarded recipe: what helps at the outputs is kept, what does not is refused, and the figures are told."""

from dataclasses import replace

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, calibrate, zoo
from qengine.errors import ModelError, OptionError
from qengine.metrics.sqnr import sqnr
from qengine.model.loader import load
from qengine.quantization.correction import CorrectedModel, CorrectionEntry, correct, correction, registry
from qengine.quantization.correction.guard import HeldOut, _Output
from qengine.runtime.options import SessionOptions

GRAPH = load(
    network(
        [("Conv", "x w", "a"), ("Relu", "a", "b"), ("Conv", "b v", "y")],
        constants={"w": weights(8, 3, 3, 3), "v": weights(5, 8, 1, 1, seed=2)},
    )
)
FEEDS = [{"x": np.abs(weights(1, 3, 6, 5, seed=i)) + 1} for i in range(9)]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Corrections that a test declares are gone after it."""
    monkeypatch.setattr(registry, "_corrections", dict(registry._corrections))


def fit(bits):
    return lambda graph: calibrate(graph, FEEDS, bits=bits)


def coarse(graph):
    """Return formats in which weights lose most."""
    return calibrate(graph, FEEDS, bits=12, weight_bits=3).formats


def declare(name, factor, **options):
    """Declare a correction that multiplies the weights v."""

    @correction(name, order=35, **options)
    def change(state):
        graph = replace(state.graph, constants={**state.graph.constants, "v": state.graph.constants["v"] * factor})
        return state.after(CorrectedModel(graph, (CorrectionEntry(name, "v", True, f"times {factor}"),)))


def figures(found, feeds):
    """Return the SQNR of all output elements over some feeds."""
    fixed, exact = InferenceSession(found.graph, formats=found.formats), InferenceSession(GRAPH)
    real, rounded = ([one.run(None, feed)[0] for feed in feeds] for one in (exact, fixed))
    return sqnr(np.array(real), np.array(rounded))


@pytest.mark.parametrize("needs_formats", [False, True])
def test_a_step_that_harms_is_refused(needs_formats):
    declare("harm", np.float32(0.5), needs_formats=needs_formats)
    plain = correct(GRAPH, fit(8), FEEDS, "fold")
    found = correct(GRAPH, fit(8), FEEDS, "fold+harm+guard")
    assert {name: array.tobytes() for name, array in found.graph.constants.items()} == {
        name: array.tobytes() for name, array in plain.graph.constants.items()
    }
    assert found.formats == plain.formats
    (verdict,) = found.verdicts
    assert (verdict.step, verdict.is_kept, verdict.runs, verdict.reason) == ("harm", False, 5, "no gain")
    # Every other run is held out, from the first one on, and the figure is that of what the step starts from.
    assert verdict.before_db == pytest.approx(figures(plain, FEEDS[::2]))
    assert verdict.after_db < verdict.before_db - 6
    assert "harm" not in {entry.correction for entry in found.entries}
    harmed = correct(GRAPH, fit(8), FEEDS, "fold+harm")
    assert figures(harmed, FEEDS) < figures(plain, FEEDS) - 6


def test_a_step_that_helps_is_kept():
    found = correct(GRAPH, coarse, FEEDS, "fold+round+guard")
    (verdict,) = found.verdicts
    assert verdict.is_kept
    assert verdict.after_db == pytest.approx(figures(found, FEEDS[::2]))
    assert verdict.after_db > verdict.before_db + 0.1
    assert str(verdict).startswith("round kept: ")
    assert any(entry.correction == "round" for entry in found.entries)


def test_of_steps_that_correct_the_same_the_best_is_kept():
    declare("less", np.float32(0.5), needs_formats=True, corrects="biases")
    found = correct(GRAPH, coarse, FEEDS, "fold+less+bias+bias=full+guard")
    after = {one.step: one.after_db for one in found.verdicts}
    kept = [one.step for one in found.verdicts if one.is_kept]
    assert len(kept) == 1
    assert kept[0] == max(after, key=after.get)
    assert any("gains more" in one.reason for one in found.verdicts)


def test_a_step_that_fails_is_refused_with_its_reason():
    @correction("fail", order=36)
    def fail(state):
        raise ModelError("nothing of the kind")

    (verdict,) = correct(GRAPH, fit(8), FEEDS, "fail+guard").verdicts
    assert (verdict.is_kept, verdict.after_db, verdict.reason) == (False, None, "nothing of the kind")


def test_a_gain_on_few_numbers_is_no_reason():
    graph = load(network([("Conv", "x w", "a"), ("GlobalAveragePool", "a", "y")], constants={"w": weights(2, 3, 3, 3)}))
    found = correct(graph, lambda g: calibrate(g, FEEDS, bits=3), FEEDS, "fold+round+bias+bias=full+guard")
    assert not any(one.is_kept for one in found.verdicts)
    assert {"too few numbers to decide", "no gain"} >= {one.reason for one in found.verdicts}


@pytest.mark.parametrize("bits", [3, 4, 6, 8, 16])
def test_best_is_never_worse(bits):
    plain, best = (correct(GRAPH, fit(bits), FEEDS, recipe) for recipe in ("fold", "best"))
    assert figures(best, FEEDS[::2]) >= figures(plain, FEEDS[::2])
    again = correct(GRAPH, fit(bits), FEEDS, "best")
    assert [vars(one) for one in again.verdicts] == [vars(one) for one in best.verdicts]
    assert all(np.array_equal(again.graph.constants[name], a) for name, a in best.graph.constants.items())


@pytest.mark.parametrize(("count", "held", "rest"), [(1, 1, 0), (2, 1, 1), (5, 3, 2), (9, 5, 4), (200, 32, 168)])
def test_which_runs_are_held_out(count, held, rest):
    data = [FEEDS[0]] * count
    found = HeldOut(GRAPH, data, SessionOptions())
    assert (found.runs, sum(1 for _ in found), sum(1 for _ in found)) == (held, rest, rest)
    assert HeldOut(GRAPH, FEEDS[0], SessionOptions()).runs == 1


def test_no_feeds():
    with pytest.raises(OptionError, match="the data holds no feeds"):
        HeldOut(GRAPH, [], SessionOptions())


def test_outputs_of_whole_numbers_and_of_other_shapes():
    nodes = [("Conv", "x w", "a"), ("ArgMax", "a", "y", {"axis": 1}), ("NonZero", "a", "z")]
    graph = load(network(nodes, outputs=["y", "z"], constants={"w": weights(4, 3, 3, 3)}))
    held_out = HeldOut(graph, FEEDS, SessionOptions())
    exact = InferenceSession(graph)
    score = held_out.score(graph, calibrate(graph, FEEDS, bits=3))
    fixed = InferenceSession(graph, formats=calibrate(graph, FEEDS, bits=3))
    pairs = [(exact.run(["y"], f)[0], fixed.run(["y"], f)[0]) for f in FEEDS[::2]]
    differ = np.array([a != b for a, b in pairs])
    assert 0 < differ.sum() < differ.size
    assert score.outputs[0] == pytest.approx(10 * np.log10(differ.size / (differ.sum() + 0.5)))
    assert score.outputs[1] < 20


def test_elements_that_are_lost_are_noise():
    exact, lost = np.ones(100, np.float32), np.ones(100, np.float32)
    exact[3] = lost[3] = lost[7] = np.nan
    output = _Output()
    output.add(exact, lost)
    assert output.sqnr_db == pytest.approx(10 * np.log10(99))


NORMALIZED = {
    **{
        "w": weights(8, 3, 3, 3),
        "v": weights(5, 8, 1, 1, seed=2),
        "m": np.zeros(8, np.float32),
        "b": np.zeros(8, np.float32),
    },
    **{"s": np.exp2(-np.arange(8.0)).astype(np.float32), "one": np.ones(8, np.float32)},
}


@pytest.mark.parametrize(
    ("recipe", "is_kept", "reason"),
    [("fold+guard", False, "with all steps it has less"), ("best", True, "with all steps it has more")],
)
def test_folding_that_loses(recipe, is_kept, reason):
    """Scales of very different size make weights that one format does not hold; roots make small channels large."""
    nodes = [
        *[("Conv", "x w", "a"), ("BatchNormalization", "a s b m one", "n"), ("Abs", "n", "p")],
        *[("Sqrt", "p", "q"), ("Sqrt", "q", "r"), ("Conv", "r v", "y")],
    ]
    graph = load(network(nodes, constants=NORMALIZED))
    exact = np.array([InferenceSession(graph).run(None, feed)[0] for feed in FEEDS])

    def formats_of(changed):
        weights_only = calibrate(changed, FEEDS, bits=12, weight_bits=3, per_channel=False)
        return {**calibrate(changed, FEEDS, bits=16), "w": weights_only["w"]}

    def figure(recipe):
        found = correct(graph, formats_of, FEEDS, recipe)
        fixed = InferenceSession(found.graph, formats=found.formats)
        return sqnr(exact, np.array([fixed.run(None, feed)[0] for feed in FEEDS])), found.verdicts

    (unfolded, _), (folded, _), (best, verdicts) = (figure(one) for one in ("none", "fold", recipe))
    assert folded < unfolded - 1
    assert best >= unfolded
    first = verdicts[0]
    assert (first.step, first.is_kept, first.reason) == ("fold", is_kept, reason)
    assert first.after_db < first.before_db


def test_formats_of_the_folded_model_are_enough():
    """Formats that were chosen for the folded model do not name what only the other one computes."""
    nodes = [("BatchNormalization", "x s b m one", "n"), ("Conv", "n w", "y")]
    constants = {name: np.ones(3, np.float32) for name in ("s", "b", "m", "one")} | {"w": weights(4, 3, 1, 1)}
    graph = load(network(nodes, constants=constants))
    formats = calibrate(graph, FEEDS, bits=8).formats
    assert "n" not in formats
    found = correct(graph, lambda _: formats, FEEDS, "best")
    assert [node.operator for node in found.graph.nodes] == ["Conv"]


def test_folding_that_helps_is_kept():
    graph = load(zoo.find("digits").path)
    images = zoo.find("digits").sample().feeds["image"]
    data = [{"image": images[i : i + 10]} for i in range(0, 60, 10)]
    found = correct(graph, lambda g: calibrate(g, data, bits=8), data, "fold+guard")
    (verdict,) = found.verdicts
    assert (verdict.step, verdict.is_kept, verdict.reason) == ("fold", True, "")
    assert verdict.after_db > verdict.before_db + 3


def test_one_run_is_cut_where_the_model_can_run_on_parts():
    nodes = [("Conv", "x w", "a"), ("Conv", "a v", "y")]
    constants = {"w": weights(8, 3, 3, 3), "v": weights(5, 8, 1, 1, seed=2)}
    graph = load(network(nodes, inputs={"x": ["n", 3, 6, 5]}, constants=constants))
    data = [{"x": np.concatenate([one["x"] for one in FEEDS])}]
    held_out = HeldOut(graph, data, SessionOptions())
    (rest,) = held_out
    assert (held_out.runs, held_out.is_alone) == (1, False)
    np.testing.assert_array_equal(rest["x"], data[0]["x"][1::2])
    (verdict,) = correct(graph, coarse, data, "fold+round+guard").verdicts
    assert verdict.is_kept
    # An input of one length is the same for both.
    nodes = [("Conv", "x w", "a"), ("Add", "a c", "y")]
    graph = load(network(nodes, inputs={"x": ["n", 3, 6, 5], "c": [1, 8, 1, 1]}, constants={"w": constants["w"]}))
    both = [{**data[0], "c": np.ones((1, 8, 1, 1), np.float32)}]
    (rest,) = HeldOut(graph, both, SessionOptions())
    assert {name: array.shape for name, array in rest.items()} == {"x": (4, 3, 6, 5), "c": (1, 8, 1, 1)}
    # Here the model allows no other length than 9, or says so.
    fixed = [("Conv", "x w", "a"), ("Reshape", "a s", "b"), ("Conv", "b v", "y")]
    constants |= {"s": np.array([9, 8, 4, 3])}
    for length in ("n", 9):
        graph = load(network(fixed, inputs={"x": [length, 3, 6, 5]}, constants=constants))
        held_out = HeldOut(graph, data, SessionOptions())
        assert (held_out.runs, held_out.is_alone, list(held_out)) == (1, True, [])


def test_one_run_alone_decides_nothing_about_what_looks_at_it():
    verdicts = {one.step: one for one in correct(GRAPH, coarse, FEEDS[:1], "best").verdicts}
    assert verdicts["equalize"].after_db is not None
    for step in ("round", "bias", "bias=full", "logits"):
        assert (verdicts[step].is_kept, verdicts[step].after_db) == (False, None)
        assert verdicts[step].reason == "there is one run alone, which cannot be held out"
