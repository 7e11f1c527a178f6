"""Recipes: what is done in which order, with which formats, and what it gives."""

import numpy as np
import pytest

from qengine import InferenceSession, calibrate, zoo
from qengine.errors import OptionError
from qengine.metrics.sqnr import sqnr
from qengine.model.loader import load
from qengine.quantization.correction import correct, recipe_name, steps_of
from qengine.quantization.correction.weights import on_grid

from .badly_scaled import badly_scaled_digits

IMAGES = zoo.find("digits").sample().feeds["image"]
DATA = [{"image": IMAGES[i : i + 50]} for i in range(0, 200, 50)]
TEST = {"image": IMAGES[200:500]}


def fit(bits):
    return lambda graph: calibrate(graph, [{"image": IMAGES[:100]}], bits=bits, unsigned=True)


def quality(graph, recipe, bits):
    """Return the SQNR of the logits on images that nothing was fitted to."""
    found = correct(graph, fit(bits), DATA, recipe)
    (real,) = InferenceSession(graph).run(None, TEST)
    return sqnr(real, InferenceSession(found.graph, formats=found.formats).run(None, TEST)[0])


@pytest.mark.parametrize(
    ("recipe", "bits", "least"),
    [
        (["fold"], 8, 5),
        (["fold"], 6, 6),
        (["fold", "round"], 6, 2),
        (["fold", "bias"], 6, 1),
        (["fold", "analytic"], 6, 1),
        (["fold", "round", "bias"], 5, 1.5),
    ],
)
def test_each_step_pays_on_digits(recipe, bits, least):
    graph = load(zoo.find("digits").path)
    assert quality(graph, recipe, bits) > quality(graph, recipe[:1] if len(recipe) > 1 else "none", bits) + least


@pytest.mark.parametrize(
    ("recipe", "least"),
    [("none", -9), (["fold"], -9), (["fold", "equalize"], 26), (["fold", "equalize", "analytic"], 28), ("best", 28)],
)
def test_badly_scaled_channels_need_equalization(recipe, least):
    found = quality(badly_scaled_digits(), recipe, 8)
    assert least < found < (5 if least < 0 else 40)


def test_weights_are_on_the_grid_of_the_formats_that_come_with_them():
    found = correct(badly_scaled_digits(), fit(5), DATA[:1])
    session = InferenceSession(found.graph, formats=found.formats)
    names = [name for name in found.graph.constants if name.endswith("weight") and found.graph.constants[name].ndim > 1]
    assert len(names) == 8
    for name in names:
        assert name in found.formats
        weights = found.graph.constants[name]
        np.testing.assert_array_equal(on_grid(weights, session.formats[name]), weights)


def test_formats_are_chosen_on_what_was_equalized():
    seen = []

    def formats_of(graph):
        seen.append(graph)
        return fit(8)(graph)

    graph = badly_scaled_digits()
    found = correct(graph, formats_of, recipe=["fold", "equalize"])
    assert len(seen) == 1
    assert seen[0] is found.graph
    assert not np.array_equal(found.graph.constants["classifier.weight"], graph.constants["classifier.weight"])


def test_what_was_done_is_told():
    found = correct(badly_scaled_digits(), fit(8), DATA)
    assert [one.step for one in found.verdicts] == [
        "fold",
        "equalize",
        "absorb",
        "round",
        "bias",
        "bias=full",
        "logits",
    ]
    kept = [one.step for one in found.verdicts if one.is_kept]
    assert {"equalize", "round"} <= set(kept)
    told = [entry.correction for entry in found.entries]
    assert told == ["fold", *(name for name in kept if name != "fold" for _ in range(8))]
    assert "7 BatchNormalization folded, 0 left" in str(found.entries[0])
    assert str(found.entries[8]).startswith("equalize, node '/classifier/Gemm' (Gemm): left, ")


def test_without_data():
    found = correct(badly_scaled_digits(), fit(8), recipe=["fold", "equalize", "analytic"])
    assert sum(entry.is_done for entry in found.entries if entry.correction == "bias") == 7
    with pytest.raises(OptionError, match="'round' needs data"):
        correct(badly_scaled_digits(), fit(8), recipe="round")
    with pytest.raises(OptionError, match="a guarded recipe, such as 'best', needs data"):
        correct(badly_scaled_digits(), fit(8))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("better", "no recipe or correction is named 'better'; there are none, best"),
        ("best+bias", "'best' is a recipe by itself, and no step of one"),
        ("fold+", "no recipe or correction is named ''"),
        (
            ["fold", "folds"],
            r"named 'folds'; .*there are none, best, or steps with \+: fold, equalize, absorb, round, ",
        ),
        ("bias+analytic", "give one of them"),
        (["bias", "analytic"], "give one of them"),
    ],
)
def test_recipes_that_there_are_not(recipe, message):
    with pytest.raises(OptionError, match=message):
        correct(load(zoo.find("digits").path), fit(8), DATA, recipe)


def test_recipes_are_written_in_one_way():
    spelled = ["guard", "logits", "bias", "round", "bias=full", "equalize", "fold", "absorb"]
    assert steps_of("best") == steps_of(spelled) == steps_of(" + ".join(spelled))
    assert recipe_name("+".join(steps_of("best"))) == "best"
    assert steps_of("none") == steps_of([]) == ()
    assert recipe_name("fold+bias") == "fold+bias"


def test_data_that_can_be_read_only_once_is_kept():
    graph = load(zoo.find("digits").path)
    once, again = (correct(graph, fit(8), data, "round+bias") for data in (iter(DATA), DATA))
    assert once.formats == again.formats
    for name, array in once.graph.constants.items():
        np.testing.assert_array_equal(array, again.graph.constants[name])
