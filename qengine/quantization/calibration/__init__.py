"""Formats for a model from what its tensors hold on data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qengine.quantization.calibration.choose import Method
from qengine.quantization.calibration.formats import choose_formats
from qengine.quantization.calibration.observe import Feeds, Observation, observe
from qengine.quantization.calibration.options import CalibrationOptions
from qengine.quantization.calibration.result import Calibration, TensorRange
from qengine.quantization.calibration.stored import load_observation, save_observation
from qengine.runtime.plan.plan import MAX_ELEMENTS

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

    from qengine.model.graph import Graph


def calibrate(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    feeds: Feeds,
    *,
    bits: int = 8,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    method: str = "mse",
    percentile: float = 99.99,
    headroom: float = 1.0,
    per_channel: bool = False,
    unsigned: bool = False,
    tie_joins: bool = False,
    threads: int | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Calibration:
    """Return formats of a word length for every tensor of a model, chosen from what it computes on data.

    The model runs in float32, on one feed after the other, in the memory of one run.

    Parameters
    ----------
    model, threads, max_elements
        As for `InferenceSession`.
    feeds
        What `InferenceSession.run` takes, any number of times: any iterable, read once and lazily.
    bits, weight_bits, activation_bits, method, percentile, headroom, per_channel, unsigned, tie_joins
        See `CalibrationOptions`.

    Returns
    -------
    Calibration
        A mapping that `InferenceSession(formats=...)` takes, with `qformat` left out.

    Raises
    ------
    OptionError
        If an option has no meaning.
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
    >>> formats["input"], formats["conv1.weight"]
    ('Q0.7', 'Q-1.8')
    >>> session = qengine.InferenceSession(srcnn.path, formats=formats)
    """
    options = CalibrationOptions(
        bits=bits,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        method=method,
        percentile=percentile,
        headroom=headroom,
        per_channel=per_channel,
        unsigned=unsigned,
        tie_joins=tie_joins,
    )
    return choose_formats(observe(model, feeds, threads=threads, max_elements=max_elements), options)


__all__ = [
    "Calibration",
    "CalibrationOptions",
    "Feeds",
    "Method",
    "Observation",
    "TensorRange",
    "calibrate",
    "choose_formats",
    "load_observation",
    "observe",
    "save_observation",
]
