"""Calibration: formats for every tensor of a model, chosen from the values that it takes on data."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from qengine.data.datasets import DataKeywords, data_keywords, graph_of, provenance_of, runs_of
from qengine.data.scale_check import notes_on_runs
from qengine.keywords import check_keywords, options_with
from qengine.quantization.calibration.choose import Method
from qengine.quantization.calibration.formats import FormatChooser, choose_formats
from qengine.quantization.calibration.observation_file import load_observation, save_observation
from qengine.quantization.calibration.observe import Feeds, Observation, observe
from qengine.quantization.calibration.options import AUTO, CalibrationKeywords, CalibrationOptions
from qengine.quantization.calibration.result import Calibration, TensorRange
from qengine.runtime.options import SessionOptions

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

    from qengine.model.graph import Graph


class CalibrateKeywords(CalibrationKeywords, DataKeywords, total=False):
    """The fields of `CalibrationOptions`, those of `SessionOptions` that limit a run, and how data is read."""

    threads: int | None
    max_elements: int
    max_memory: int | str | None
    max_iterations: int


_LIMITS = frozenset({"threads", "max_elements", "max_memory", "max_iterations"})


def calibrate(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    data: Any,
    options: CalibrationOptions | None = None,
    session: SessionOptions | None = None,
    **keywords: Unpack[CalibrateKeywords],
) -> Calibration:
    """Return a format for every tensor of a model, chosen from the values that the tensor takes on data.

    The model runs in float32, on one feed after the other, in the memory of one run.

    Parameters
    ----------
    model
        Model that `InferenceSession` takes.
    data
        Data that `open_dataset` takes. An iterable of mappings that `InferenceSession.run` takes is fed unchanged, one
        mapping a run, and is read once and lazily.
    options
        Rules by which formats are chosen; None for the defaults.
    session
        Options of the runs, see `observe`; None for the defaults. Its target is that of the options that have none.
    keywords
        Single fields of `CalibrationOptions`, such as ``bits=6``, and `threads` and the limits (``max_...``) of
        `SessionOptions`; they replace those of `options` and `session`. And `preprocessing`, `batch`, `limit` and
        `labels` of the data, see `open_dataset`.

    Returns
    -------
    Calibration
        A mapping that `InferenceSession(formats=...)` takes, with `qformat` left out.

    Raises
    ------
    OptionError
        If the value of an option is not allowed.
    FeedError
        If there are no feeds, one does not fit the model, or an input holds NaN.
    QEngineError
        If the model cannot be read or run, or no format holds its numbers.

    Examples
    --------
    >>> import qengine
    >>> from qengine import zoo
    >>> srcnn = zoo.find("srcnn")
    >>> formats = qengine.calibrate(srcnn.path, [srcnn.sample().feeds], bits=8)
    >>> formats["input"], formats["conv1.weight"][:2]
    ('UQ0.8', ['Q-1.8', 'Q-1.8'])
    >>> session = qengine.InferenceSession(srcnn.path, formats=formats)
    """
    check_keywords("calibrate", keywords, CalibrateKeywords)
    options = options_with(CalibrationOptions, options, keywords)
    limits = {name: value for name, value in keywords.items() if name in _LIMITS}
    session = options_with(SessionOptions, session, limits)
    options = options.for_runs(session)
    graph = graph_of(model)
    runs = runs_of(data, graph, data_keywords(keywords))
    notes, feeds = notes_on_runs(graph, runs, session)
    chosen = choose_formats(observe(graph, feeds, options.for_observing(session)), options)
    return replace(chosen, provenance=provenance_of(_name(model), runs), notes=(*chosen.notes, *notes))


def _name(model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph) -> str:
    """Return the name of a model for files: that of its file or graph."""
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    return str(getattr(getattr(model, "graph", model), "name", ""))


__all__ = [
    "AUTO",
    "Calibration",
    "CalibrationKeywords",
    "CalibrationOptions",
    "Feeds",
    "FormatChooser",
    "Method",
    "Observation",
    "TensorRange",
    "calibrate",
    "choose_formats",
    "load_observation",
    "observe",
    "save_observation",
]
