"""`bench`: the measurement of a model as a person names it, with an input that it needs, and of other runtimes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.bench.model import Report, executor_of, measure
from qengine.analysis.bench.rivals import RivalSetup, check_names, rival_runs
from qengine.data import zoo
from qengine.errors import OptionError
from qengine.keywords import check_keywords, options_with
from qengine.model.graph import of_one_sample
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    from onnx import ModelProto  # noqa: TID251 - a type


def bench(
    model: str | os.PathLike[str] | bytes | ModelProto | InferenceSession,
    feeds: Mapping[str, Any] | None = None,
    vs: Sequence[str] | Mapping[str, Callable[[], object] | str] = (),
    seconds: float = 3.0,
    options: SessionOptions | None = None,
    **keywords: Unpack[SessionKeywords],
) -> Report:
    """Measure a model on native kernels: whole runs, each kernel alone, and the peak of a core.

    Parameters
    ----------
    model
        A path, the name of a bundled model, the bytes of a model, a ModelProto, or a session.
    feeds
        Arrays by input name. What is left out is the sample of a bundled model, or random numbers where the model
        fixes the shape.
    vs
        Names of other runtimes that are measured in turn, such as "onnxruntime", for a model that is a path; or runs
        of them by name, or the reason why there is none.
    seconds
        Approximate duration of the measurement of whole runs.
    options, **keywords
        See `SessionOptions`; not for a session, which has its own.

    Returns
    -------
    Report
        The measurements that `qengine bench` shows.

    Raises
    ------
    QEngineError
        If the session runs on the reference, a feed is not valid or missing, or there is no such runtime.

    Examples
    --------
    >>> import qengine
    >>> found = qengine.bench("digits", seconds=0.1, qformat="Q4.3", isa="generic", threads=1)
    >>> found.run.best_ms > 0, found.isa
    (True, 'generic')
    """
    path = zoo.path_of(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else None
    if isinstance(model, InferenceSession):
        if options is not None or keywords:
            raise OptionError("a session has options of its own: leave out those of bench, or give a model")
        session = model
    else:
        check_keywords("bench", keywords, SessionKeywords)
        source: Any = model if path is None else path
        session = InferenceSession(source, options_with(SessionOptions, options, keywords))
    entry = zoo.find(model) if isinstance(model, str) else None
    found = with_inputs(session, {**(entry.sample().feeds if entry else {}), **(feeds or {})})
    if isinstance(vs, Mapping):
        return measure(session, found, vs, seconds)
    names = [vs] if isinstance(vs, str) else list(vs)
    check_names(names)
    if names and path is None:
        raise OptionError("other runtimes read the file of a model: give its path")
    rivals = {}
    if path is not None and names:
        executor = executor_of(session, found)
        rivals = rival_runs(names, RivalSetup(path, found, longest_word(session), executor.threads))
    return measure(session, found, rivals, seconds)


def with_inputs(session: InferenceSession, given: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return a feed for every input: random numbers where none is given, if the model fixes the shape.

    An input of which only the batch is open has one sample.

    Raises
    ------
    OptionError
        If an input that is not given has no fixed shape, or does not hold real numbers.
    """
    rng = np.random.default_rng(0)
    feeds = dict(given)
    for value in session.graph.inputs:
        if value.name in feeds:
            continue
        shape, dtype = value.shape, value.dtype
        if one := of_one_sample(shape):
            logging.getLogger("qengine").warning("input '%s' has an open batch: measured on 1 sample", value.name)
            shape = one
        if shape is None or not all(isinstance(n, int) for n in shape):
            raise OptionError(f"input '{value.name}' has no fixed shape: give it with -i, or in feeds")
        if dtype is None or dtype.kind != "f":
            raise OptionError(
                f"input '{value.name}' does not hold real numbers ({dtype}): give it with -i, or in feeds"
            )
        feeds[value.name] = rng.random(tuple(int(n or 0) for n in shape), np.float32).astype(dtype)
    return feeds


def longest_word(session: InferenceSession) -> int | None:
    """Return the longest word length of the model's tensors; None in float32."""
    return max((fmt.bits for fmt in session.formats.values() if hasattr(fmt, "bits")), default=None)
