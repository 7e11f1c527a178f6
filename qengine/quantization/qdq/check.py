"""Check of a quantized model: read back, it gives the codes of the session that it was written from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qengine.errors import QEngineError, UnsupportedError
from qengine.quantization.calibration import Feeds
from qengine.quantization.made_up import made_up_feeds
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only


def check_written(session: InferenceSession, model: onnx.ModelProto, data: Feeds | None) -> str:
    """Run a quantized model and its session once, on one sample, and compare all codes of all outputs.

    Parameters
    ----------
    session
        The session that the model was written from.
    model
        The quantized model.
    data
        Feeds, of which the first is used; None for numbers that are made up.

    Returns
    -------
    str
        A phrase that tells what was compared, or why nothing could be.

    Raises
    ------
    UnsupportedError
        If the model cannot be read back or run, or a code differs; the message names the first tensor that differs.
    """
    reason = "there is no sample"
    for feeds in made_up_feeds(session) if data is None else _first(data):
        try:
            expected = session.run(None, feeds, raw=True)
        except QEngineError as error:
            reason = str(error)
            continue
        try:
            back = InferenceSession(model.SerializeToString(), session.options.in_float32())
            found = back.run(None, feeds, raw=True)
            if not back.in_fixed_point:
                raise UnsupportedError(next(iter(back.notes), "it has no formats"))
        except QEngineError as error:
            raise UnsupportedError(f"the quantized model cannot be read back, and is not kept: {error}") from None
        if not _equal(expected, found):
            again = session.run(None, feeds, raw=True)
            if not _equal(expected, again):
                return "not checked: the model gives other numbers in each run"
            name = _first_difference(session, back, feeds)
            raise UnsupportedError(
                f"the quantized model gives other codes than the session, first in '{name}', and is not kept: "
                "run the model itself with these formats (--formats), and report the difference"
            )
        return f"read back: the same codes on {'one sample' if data is not None else 'a sample that was made up'}"
    return f"not checked: {reason}"


def _first(data: Feeds) -> Iterator[Mapping[str, Any]]:
    for feeds in data:
        yield feeds
        return


def _equal(one: Any, other: Any) -> bool:
    """Whether two results are equal to the bit: arrays, and lists of them."""
    if isinstance(one, list | tuple):
        same = isinstance(other, list | tuple) and len(one) == len(other)
        return same and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    if not isinstance(other, np.ndarray) or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))


def _first_difference(session: InferenceSession, back: InferenceSession, feeds: Mapping[str, Any]) -> str:
    """Return the name of the first tensor with other codes, in the order of the run."""
    computed = [name for node in session.optimized.nodes for name in node.outputs if name in session.rounded]
    for name in computed:
        try:
            one, other = (each.run([name], feeds) for each in (session, back))
        except QEngineError:
            continue  # the written model has no tensor of this name
        if not _equal(one, other):
            return name
    return session.graph.outputs[0].name
