"""Comparison of the codes of a device with those of the definition, operator by operator, down to the cause.

`compare` reads a dump in any form, matches its tensors with those of a model or a golden pack, and computes each
operator again from the dump's own inputs. The first one with an error of its own is computed again under the hypotheses
of `qengine.deploy.hypotheses`. The simplest that gives every code of the dump is the answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from qengine.data.datasets import DataKeywords, data_keywords, runs_of
from qengine.deploy.c_folder import is_c_folder
from qengine.deploy.compare.c_subject import subject_of_c
from qengine.deploy.compare.comparison import compare_dump
from qengine.deploy.compare.dump import Dump, DumpedTensor
from qengine.deploy.compare.from_inputs import subject_of_inputs
from qengine.deploy.compare.pack_subject import is_pack_folder, subject_of_pack
from qengine.deploy.compare.readers import read_dump
from qengine.deploy.compare.result import Cause, Comparison, Fault, TensorResult
from qengine.deploy.compare.subject import Subject
from qengine.errors import DumpError, OptionError
from qengine.keywords import check_keywords, options_with
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.session import InferenceSession

__all__ = ["Cause", "Comparison", "Fault", "Subject", "TensorResult", "compare", "compare_dump", "read_dump"]


class CompareKeywords(SessionKeywords, DataKeywords, total=False):
    """The fields of `SessionOptions`, and how data is read, as keyword arguments."""


def compare(
    model: Any,
    dump: str | os.PathLike[str] | Mapping[str, Any] | Dump | InferenceSession,
    data: Any = None,
    *,
    element_order: str = "auto",
    pairs: bool = True,
    **options: Unpack[CompareKeywords],
) -> Comparison:
    """Compare what a device computed with what a model computes in fixed point, and name the cause of a difference.

    Parameters
    ----------
    model
        A session in fixed point; a model as `InferenceSession` takes it, with `options`; the folder of a pack, or that
        of a network in C with its model.
    dump
        A path, see `read_dump`; arrays by name; or another session of the model, which runs on the feeds.
    data
        Data that `open_dataset` takes: inputs of the run, or a list of those of several samples, are fed unchanged.
        None where the dump has the inputs, or for a pack.
    element_order
        Order of the elements in the dump, such as "NHWC"; "auto" to find it.
    pairs
        Whether two faults at once are tried where no single one explains everything.
    options
        Fields of `SessionOptions`, such as ``formats="formats.json"``; those of a session are replaced. And
        `preprocessing`, `batch`, `limit` and `labels` of the data, see `open_dataset`.

    Returns
    -------
    Comparison
        The tensors that differ, the first error that was not inherited, and its cause.

    Raises
    ------
    DumpError
        If the dump cannot be read, or is not one of this model.
    QEngineError
        If the model or an option is not valid.

    Examples
    --------
    >>> import qengine
    >>> digits = qengine.zoo.find("digits")
    >>> right = qengine.InferenceSession(digits.path, qformat="Q4.3")
    >>> device = qengine.InferenceSession(digits.path, qformat="Q4.3", rounding="floor")
    >>> found = qengine.compare(right, device, digits.sample().feeds["image"][:2])
    >>> found.equal, found.first.tensor, found.cause.name
    (False, 'image', 'rounding:floor')
    """
    check_keywords("compare", options, CompareKeywords)
    subject = subject_of(model, data, options)
    read = _dump_of_session(dump, subject) if isinstance(dump, InferenceSession) else _dump(dump)
    if not subject.samples:
        subject = subject_of_inputs(subject.session, read, subject.aliases)
    return compare_dump(subject, read, element_order, pairs=pairs)


def subject_of(model: Any, feeds: Any, options: Mapping[str, Any]) -> Subject:
    """Return what a dump is compared with; see `compare`."""
    if isinstance(model, Subject):
        return model
    reading = data_keywords(options)
    options = {name: value for name, value in options.items() if name not in reading}
    if is_pack_folder(model):
        if feeds is not None or options:
            given = "data" if feeds is not None else next(iter(options))
            raise OptionError(f"a pack has inputs, formats and rules of its own: leave out {given}")
        return subject_of_pack(model)
    if is_c_folder(model):
        if options:
            raise OptionError(f"a network in C has formats and rules of its own: leave out {next(iter(options))}")
        found = subject_of_c(model)
        if feeds is None:
            return found
        own = list(runs_of(feeds, found.session, reading))
        return Subject(found.session, own, [str(i) for i in range(len(own))], found.aliases)
    if not isinstance(model, InferenceSession):
        session = InferenceSession(model, **options)
    else:
        session = model.with_options(options_with(SessionOptions, model.options, options)) if options else model
    if feeds is None:
        return Subject(session)
    samples = list(runs_of(feeds, session, reading))
    return Subject(session, samples, [str(i) for i in range(len(samples))])


def _dump_of_session(session: InferenceSession, subject: Subject) -> Dump:
    """Return the codes of another session of the model on all samples."""
    if not subject.samples:
        raise OptionError("two sessions are compared on feeds: give them")
    if not session.in_fixed_point:
        raise OptionError("the other session runs in float32, and has no codes: give it formats")
    names = sorted(session.rounded)
    samples = []
    for feeds in subject.samples:
        arrays = session.run(names, feeds, raw=True)
        samples.append(tuple(DumpedTensor.of_array(n, f"'{n}'", a) for n, a in zip(names, arrays, strict=True)))
    return Dump("session", tuple(samples), tuple(subject.labels))


def _dump(dump: str | os.PathLike[str] | Mapping[str, Any] | Dump) -> Dump:
    if isinstance(dump, Dump):
        return dump
    if isinstance(dump, Mapping):
        return Dump("arrays", (tuple(_of_array(name, a, i) for i, (name, a) in enumerate(dump.items())),))
    return read_dump(dump)


def _of_array(name: Any, given: Any, number: int) -> DumpedTensor:
    if not isinstance(name, str):
        raise DumpError(f"arrays of a dump are given by name, not by {name!r}")
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DumpError(f"array '{name}': {error}") from None
    if array.dtype.kind not in "biuf":
        raise DumpError(f"array '{name}' holds {array.dtype}, and a dump holds numbers")
    return DumpedTensor.of_array(name, f"array '{name}'", array, number)
