"""Corrections of a model's constants after training, so that fixed point costs less."""

from qengine.correction.bias import correct_bias
from qengine.correction.equalization import Equalized, equalize
from qengine.correction.folding import folded, keep_batchnorm
from qengine.correction.recipe import RECIPES, STEPS, correct
from qengine.correction.result import Corrected, Data, Entry
from qengine.correction.statistics import expected_means
from qengine.correction.weights import round_weights

__all__ = [
    "RECIPES",
    "STEPS",
    "Corrected",
    "Data",
    "Entry",
    "Equalized",
    "correct",
    "correct_bias",
    "equalize",
    "expected_means",
    "folded",
    "keep_batchnorm",
    "round_weights",
]
