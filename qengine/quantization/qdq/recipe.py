"""From a model and data to a quantized model: formats, corrections, pairs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qengine.errors import OptionError
from qengine.model.formats.files import FormatsByName, parse_format
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions, choose_formats, observe
from qengine.quantization.correction import Corrected, Entry, correct
from qengine.quantization.qdq.stored import ACTIVATION_BITS, first_opset
from qengine.quantization.qdq.write import quantized_model
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only


@dataclass(frozen=True)
class Quantized:
    """A model that was quantized.

    Attributes
    ----------
    model : the ONNX model, with pairs of QuantizeLinear and DequantizeLinear.
    session : runs the same in fixed point.
    entries : what the corrections did, layer by layer.
    """

    model: onnx.ModelProto
    session: InferenceSession
    entries: tuple[Entry, ...]


def quantize_model(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    data: Iterable[Mapping[str, Any]] | None = None,
    *,
    recipe: str | Sequence[str] = ("fold",),
    formats: FormatsByName | None = None,
    options: CalibrationOptions = CalibrationOptions(),  # noqa: B008 - it is frozen
) -> Quantized:
    """Return a model with formats chosen on data, corrected, as a quantized ONNX model.

    Parameters
    ----------
    model
        As for `InferenceSession`. Before opset 13, or 21 for 16 bits, it is converted by onnx; a graph is of
        `opset_for` already.
    data
        Feeds as `InferenceSession.run` takes them: a list, or what else can be read again. Where formats are given,
        only corrections from data need it.
    recipe
        "best", "none", or steps; see `qengine.quantization.correction.correct`.
    formats
        Of activations and, if wanted, of weights, instead of those that are chosen on the data.
    options
        How formats are chosen. Activations have 8 or 16 bits.

    Raises
    ------
    QEngineError
        As `calibrate`, `correct` and `quantized_model`.
    """
    if formats is None and data is None:
        raise OptionError("a model is quantized with formats, or with data that they are chosen on: give one of them")
    if formats is None and options.of_activations not in ACTIVATION_BITS:
        raise OptionError(f"a quantized model stores activations in 8 or 16 bits, not {options.of_activations}")
    graph = model if isinstance(model, Graph) else load(model, least_opset=opset_for(formats, options))

    def formats_of(changed: Graph) -> FormatsByName:
        if formats is not None or data is None:
            return formats or {}
        return choose_formats(observe(changed, data), options).formats

    corrected: Corrected = correct(graph, formats_of, data, recipe)
    session = InferenceSession(corrected.graph, formats=corrected.formats)
    return Quantized(quantized_model(session), session, corrected.entries)


def opset_for(formats: FormatsByName | None, options: CalibrationOptions) -> int:
    """Return the first opset that has the word lengths of formats or, without any, those that are chosen.

    Raises
    ------
    FormatError
        If a format is none.
    """
    if formats is None:
        return first_opset(max(options.of_activations, options.of_weights))
    found = [parse_format(name, given) for name, given in formats.items()]
    each = [one for form in found for one in (form if isinstance(form, tuple) else (form,))]
    return first_opset(max((one.bits for one in each), default=8))
