"""Quantization of a model as a whole: formats chosen on data, corrections, and the quantized ONNX model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from qengine.errors import OptionError
from qengine.keywords import check_keywords, options_with
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationKeywords, CalibrationOptions, Feeds, choose_formats, observe
from qengine.quantization.correction import CorrectionEntry, correct
from qengine.quantization.qdq.check import check_written
from qengine.quantization.qdq.shape_formats import with_shape_formats
from qengine.quantization.qdq.stored_constants import ACTIVATION_BITS
from qengine.quantization.qdq.write import quantized_model
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized model.

    Attributes
    ----------
    model : the ONNX model, with pairs of QuantizeLinear and DequantizeLinear.
    session : session in fixed point that gives the same bits.
    entries : entry for each layer that a correction changed or left.
    check : what was compared between the model, read back, and the session; or why nothing was.
    """

    model: onnx.ModelProto
    session: InferenceSession
    entries: tuple[CorrectionEntry, ...]
    check: str


def quantize_model(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    data: Feeds | None = None,
    *,
    recipe: str | Sequence[str] = ("fold",),
    formats: FormatsByName | None = None,
    options: CalibrationOptions | None = None,
    **keywords: Unpack[CalibrationKeywords],
) -> QuantizedModel:
    """Return a model as a quantized ONNX model, with its constants corrected and formats chosen on data.

    Parameters
    ----------
    model
        Model that `InferenceSession` takes.
    data
        List or other iterable of feeds that can be read again. Where formats are given, only corrections need it.
    recipe
        "best", "none", or names of corrections; see `qengine.quantization.correction.correct`.
    formats
        Formats of the activations, and of constants if wanted, in place of those that are chosen on the data.
    options, keywords
        See `CalibrationOptions`. Activations have 8 or 16 bits.

    Raises
    ------
    OptionError
        If there are neither formats nor data, or the value of an option is not allowed.
    UnsupportedError
        If the model, read back, gives other codes than the session, on the first sample of the data or, without data,
        on one that is made up.
    QEngineError
        See `calibrate`, `correct` and `quantized_model`.
    """
    check_keywords("quantize_model", keywords, CalibrationKeywords)
    options = options_with(CalibrationOptions, options, keywords)
    if formats is None and data is None:
        raise OptionError("a model is quantized with formats, or with data that they are chosen on: give one of them")
    if formats is None and options.activation_word_length not in ACTIVATION_BITS:
        raise OptionError(f"a quantized model stores activations in 8 or 16 bits, not {options.activation_word_length}")
    graph = model if isinstance(model, Graph) else load(model)

    def formats_of(changed: Graph) -> FormatsByName:
        if formats is not None or data is None:
            return formats or {}
        return choose_formats(observe(changed, data), options).formats

    corrected = correct(graph, formats_of, data, recipe)
    session = with_shape_formats(InferenceSession(corrected.graph, formats=corrected.formats), data)
    written = quantized_model(session)
    return QuantizedModel(written, session, corrected.entries, check_written(session, written, data))
