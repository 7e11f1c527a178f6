"""Inputs that come from the dump itself, where no others are given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from math import prod

import numpy as np

from qengine.deploy.compare.decoding import Habit, bits_of, decode
from qengine.deploy.compare.dump import Array, Dump, DumpedTensor
from qengine.deploy.compare.layouts import layouts_of
from qengine.deploy.compare.matching import spelled_alike
from qengine.deploy.compare.subject import Subject, feeds_of_codes
from qengine.errors import DumpError
from qengine.model.steps import Tensor
from qengine.qformat import Format
from qengine.runtime.session import InferenceSession


def subject_of_inputs(session: InferenceSession, dump: Dump, aliases: Mapping[str, str]) -> Subject:
    """Return a subject whose samples are the inputs that a dump has.

    Raises
    ------
    DumpError
        If an input of the model is not in the dump, or its shape cannot be known.
    """
    samples = [_feeds(session, sample, aliases) for sample in dump.samples]
    return Subject(session, samples, [str(i) for i in range(len(samples))], aliases)


def _feeds(session: InferenceSession, dumped: tuple[DumpedTensor, ...], aliases: Mapping[str, str]) -> dict[str, Array]:
    tensors, codes = [], {}
    for value in session.graph.inputs:
        fmt = session.formats.get(value.name)
        one = next((d for d in dumped if spelled_alike(d.name, value.name, aliases)), None)
        if one is None:
            names = ", ".join(f"'{d.name}'" for d in dumped[:4])
            raise DumpError(
                f"the dump has no input '{value.name}' (it has {names}): "
                f"give it with -i {shlex.quote(value.name)}=FILE, or --data"
            )
        dtype = value.dtype or np.dtype(np.float32)
        shape = _shape(value.shape, one, fmt, dtype)
        tensor = Tensor(value.name, dtype, shape, None, fmt)
        tensors.append(tensor)
        codes[value.name] = decode(one, tensor, np.zeros(shape, np.int64), Habit()).codes
    return feeds_of_codes(tensors, codes)


def _shape(
    declared: tuple[int | str | None, ...] | None, one: DumpedTensor, fmt: Format | None, dtype: np.dtype[np.generic]
) -> tuple[int, ...]:
    """Return the shape of an input: that of the dump, or the declared one where one open length follows from it."""
    if declared is not None and all(isinstance(n, int) for n in declared):
        return tuple(n for n in declared if isinstance(n, int))
    if one.shape is not None and (declared is None or _agrees(one.shape, declared)):
        return one.shape
    probe = Tensor(one.name, np.dtype(dtype), (), None, fmt)
    if declared is not None:
        for reading in one.readings(bits_of(probe), 1):
            lengths = [n if isinstance(n, int) else 0 for n in declared]
            known = prod(n for n in lengths if n)
            if lengths.count(0) >= 1 and known and reading.numbers.size % known == 0:
                first = lengths.index(0)
                rest = [n or 1 for n in lengths]
                rest[first] = reading.numbers.size // known
                if next(layouts_of(tuple(rest), reading.numbers.size), None) is not None:
                    return tuple(rest)
    raise DumpError(
        f"{one.source}: the shape of input '{one.name}' is open in the model, and the dump does not tell it"
    )


def _agrees(shape: tuple[int, ...], declared: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(declared) and all(
        not isinstance(d, int) or n == d for n, d in zip(shape, declared, strict=True)
    )
