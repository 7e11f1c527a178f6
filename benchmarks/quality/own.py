"""This package as a quantizer: what `qengine quantize` gives, or a formats file at other word lengths."""

from __future__ import annotations

import numpy as np
from cases import Case, Feeds

from qengine import InferenceSession, quantize_model
from qengine.quantization.calibration import CalibrationOptions, choose_formats, observe
from qengine.quantization.correction import correct
from qengine.quantization.qdq.stored_constants import ACTIVATION_BITS

DEFAULT_RECIPE = "fold"


def quantized_session(case: Case, bits: int, recipe: str, options: dict) -> InferenceSession:
    """Return a session in fixed point of a case, with formats chosen on its calibration samples.

    Parameters
    ----------
    case
        Model and samples.
    bits
        Word length of activations and weights.
    recipe
        See `quantize_model`.
    options
        Other fields of `CalibrationOptions`.
    """
    if bits in ACTIVATION_BITS:
        return quantize_model(case.path, case.calibration, recipe=recipe, bits=bits, **options).session
    chosen = CalibrationOptions(bits=bits, **options)
    graph = InferenceSession(case.path).graph
    fixed = correct(graph, lambda g: choose_formats(observe(g, case.calibration), chosen), case.calibration, recipe)
    return InferenceSession(fixed.graph, formats=fixed.formats)


def float_outputs(case: Case) -> list[list[np.ndarray]]:
    """Return the outputs of all measured runs in float32."""
    session = InferenceSession(case.path)
    return [session.run(None, feeds) for feeds in case.test]


def outputs(session: InferenceSession, runs: list[Feeds]) -> list[list[np.ndarray]]:
    """Return the outputs of all runs of a session."""
    return [session.run(None, feeds) for feeds in runs]
