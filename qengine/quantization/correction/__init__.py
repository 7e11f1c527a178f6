"""Corrections of a model's constants after training, so that fixed point costs less."""

from qengine.quantization.correction.bias import correct_bias
from qengine.quantization.correction.equalization import Equalized, equalize
from qengine.quantization.correction.folding import folded, keep_batchnorm
from qengine.quantization.correction.recipe import (
    FROM_DATA,
    RECIPES,
    STEPS,
    Ranged,
    change_ranges,
    correct,
    fit_formats,
    ranges_of,
    recipe_name,
    steps_of,
)
from qengine.quantization.correction.result import Corrected, Data, Entry
from qengine.quantization.correction.statistics import expected_means
from qengine.quantization.correction.weights import round_weights

__all__ = [
    "FROM_DATA",
    "RECIPES",
    "STEPS",
    "Corrected",
    "Data",
    "Entry",
    "Equalized",
    "Ranged",
    "change_ranges",
    "correct",
    "correct_bias",
    "equalize",
    "expected_means",
    "fit_formats",
    "folded",
    "keep_batchnorm",
    "ranges_of",
    "recipe_name",
    "round_weights",
    "steps_of",
]
