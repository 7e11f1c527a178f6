"""Declarations of corrections: one function is all that a recipe, the command line and a sweep need."""

from dataclasses import replace

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, cli
from qengine.analysis.sweep.points import Grid
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.correction import (
    CorrectedModel,
    CorrectionEntry,
    change_ranges,
    correct,
    correction,
    corrections,
    describe_recipes,
    fit_formats,
    needs_data,
    range_steps,
    recipe_name,
    registry,
    steps_of,
)
from qengine.quantization.qdq import quantize_model

GRAPH = load(network([("Conv", "x w b", "y")], constants={"w": weights(4, 3, 3, 3), "b": weights(4)}))
FEEDS = [{"x": weights(1, 3, 6, 5)}]
FORMATS = {"x": "Q3.4", "y": "Q5.2"}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Corrections that a test declares are gone after it."""
    monkeypatch.setattr(registry, "_corrections", dict(registry._corrections))


def scaled(state, name, factor):
    """Return the state after the weights are multiplied."""
    graph = replace(state.graph, constants={**state.graph.constants, "w": state.graph.constants["w"] * factor})
    return state.after(CorrectedModel(graph, (CorrectionEntry(name, "all", True, f"times {factor}"),)))


def declare_halve(**options):
    @correction("halve", order=22, **options)
    def halve(state):
        return scaled(state, "halve", np.float32(0.5))


def test_those_that_there_are():
    assert [one.name for one in corrections()] == [
        *("fold", "equalize", "absorb", "round", "bias", "bias=full", "analytic", "logits")
    ]
    assert steps_of("best") == ("fold", "equalize", "absorb", "round", "bias", "bias=full", "logits", "guard")
    assert [one.name for one in corrections() if one.needs_data] == ["round", "bias", "bias=full", "logits"]
    assert range_steps("best") == ("fold", "equalize", "absorb")
    assert [needs_data(recipe) for recipe in ("none", "fold+equalize+analytic", "bias", "best")] == [
        *(False, False, True, True)
    ]
    assert describe_recipes() == "none, best, or steps with +: fold, equalize, absorb, round, bias, " + (
        "bias=full, analytic, logits, guard"
    )


def test_a_new_one_that_changes_ranges(capsys, tmp_path):
    declare_halve()
    assert steps_of("bias+halve+fold") == ("fold", "halve", "bias")
    assert range_steps("bias+halve+fold") == ("fold", "halve")
    seen = []

    def formats_of(graph):
        seen.append(graph.constants["w"])
        return FORMATS

    found = correct(GRAPH, formats_of, recipe="halve+fold")
    for array in (seen[0], found.graph.constants["w"]):
        np.testing.assert_array_equal(array, weights(4, 3, 3, 3) / 2)
    assert [str(entry) for entry in found.entries[1:]] == ["halve, all: times 0.5"]
    quantized = quantize_model(GRAPH, FEEDS, recipe="halve")
    halves = InferenceSession(replace(GRAPH, constants={**GRAPH.constants, "w": weights(4, 3, 3, 3) / 2}))
    np.testing.assert_allclose(quantized.session.run(None, FEEDS[0])[0], halves.run(None, FEEDS[0])[0], atol=0.1)
    points = Grid(bits=[8], recipes=["fold", "halve+fold"]).points()
    assert [point.recipe for point in points] == [None, "fold", "fold+halve"]
    assert cli.main(["quantize", "digits", "--recipe", "half", "-o", str(tmp_path / "q.onnx")]) == 2
    assert "fold, equalize, halve, absorb, round" in " ".join(capsys.readouterr().err.split())


def test_a_new_one_that_needs_formats_and_data():
    seen = []

    @correction("double", order=35, needs_formats=True, needs_data=True, in_best=True)
    def double(state):
        seen.append(state)
        return scaled(state, "double", np.float32(2))

    names = "fold+equalize+absorb+round+double+bias+bias=full+logits+guard"
    assert steps_of("best") == tuple(names.split("+"))
    assert recipe_name(names) == "best"
    assert range_steps("fold+double") == ("fold",)
    with pytest.raises(OptionError, match="the correction 'double' needs data"):
        correct(GRAPH, lambda _: FORMATS, recipe="fold+double")
    once, again = (correct(GRAPH, lambda _: FORMATS, data, "double+bias") for data in (iter(FEEDS), FEEDS))
    np.testing.assert_array_equal(once.graph.constants["w"], again.graph.constants["w"])
    seen.clear()
    state = change_ranges(GRAPH, "fold+double")
    found = fit_formats(state, FORMATS, iter(FEEDS))
    assert seen[0].reference is state.graph
    assert seen[0].original is GRAPH
    assert seen[0].steps == ("fold", "double")
    # The format of the weights is that from before they changed.
    assert seen[0].formats.keys() == found.formats.keys() == {"x", "y", "w"}
    assert found.formats["w"] == str(InferenceSession(GRAPH, formats=FORMATS).formats["w"])
    np.testing.assert_array_equal(found.graph.constants["w"], weights(4, 3, 3, 3) * 2)


def test_what_is_done_where_a_recipe_leaves_it_out():
    declare_halve(otherwise=lambda graph: replace(graph, constants={**graph.constants, "w": 3 * graph.constants["w"]}))
    np.testing.assert_array_equal(change_ranges(GRAPH, "none").graph.constants["w"], 3 * weights(4, 3, 3, 3))
    np.testing.assert_array_equal(change_ranges(GRAPH, "halve").graph.constants["w"], weights(4, 3, 3, 3) / 2)


def test_two_that_correct_the_same():
    declare_halve(needs_formats=True, corrects="biases")
    assert steps_of("halve+round") == ("halve", "round")
    with pytest.raises(OptionError, match="'halve' and 'bias' correct the same biases: give one of them"):
        steps_of("bias+halve")


def test_declarations_that_are_refused():
    with pytest.raises(ValueError, match="'fold' is declared twice"):
        correction("fold", order=1)
    with pytest.raises(ValueError, match="'early' needs data before formats are chosen"):
        correction("early", order=1, needs_data=True)
