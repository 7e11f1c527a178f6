"""Corrections of a model's constants after training, with which fixed point loses less.

Each correction is one function in one file of this package, see `registry`. Importing the package finds them all.
"""

from importlib import import_module
from pkgutil import iter_modules

from qengine.quantization.correction.bias import correct_bias
from qengine.quantization.correction.equalization import EqualizedModel, equalize
from qengine.quantization.correction.folding import fold_all_but_batchnorm, fold_graph
from qengine.quantization.correction.recipe import (
    change_ranges,
    correct,
    describe_recipes,
    fit_formats,
    is_guarded,
    needs_data,
    range_steps,
    recipe_name,
    steps_of,
)
from qengine.quantization.correction.registry import Correction, RecipeState, correction, corrections
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry, Verdict
from qengine.quantization.correction.statistics import expected_means
from qengine.quantization.correction.weights import round_weights

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "CorrectedModel",
    "Correction",
    "CorrectionEntry",
    "EqualizedModel",
    "RecipeState",
    "Verdict",
    "change_ranges",
    "correct",
    "correct_bias",
    "correction",
    "corrections",
    "describe_recipes",
    "equalize",
    "expected_means",
    "fit_formats",
    "fold_all_but_batchnorm",
    "fold_graph",
    "is_guarded",
    "needs_data",
    "range_steps",
    "recipe_name",
    "round_weights",
    "steps_of",
]
