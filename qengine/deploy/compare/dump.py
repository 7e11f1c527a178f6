"""Dump: the tensors that a device wrote, as far as a file alone tells what they are.

Few files say how to read their numbers. A `DumpedTensor` offers all *readings* that its bytes or numbers allow,
the most likely first; which one is right shows when the tensor is matched with one of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Reading(NamedTuple):
    """Numbers of a dumped tensor, and how they were read; "" where nothing had to be guessed."""

    numbers: Array
    how: str = ""


Readings = Callable[[int, int], Iterator[Reading]]
"""Function of the bits of a word and of the number of elements that yields the possible readings."""


@dataclass(frozen=True, eq=False)
class DumpedTensor:
    """A tensor in a dump.

    Attributes
    ----------
    name : name in the dump; "" where it has none.
    source : file, and place in it, for messages.
    readings : see `Readings`; numbers are integers, or real numbers.
    number : number that the dump gives the tensor, None where it gives none.
    elements : number of elements, None where that depends on how it is read.
    shape : shape in the dump; None for a list of numbers.
    """

    name: str
    source: str
    readings: Readings
    number: int | None = None
    elements: int | None = None
    shape: tuple[int, ...] | None = None

    @classmethod
    def of_array(cls, name: str, source: str, array: Array, number: int | None = None) -> DumpedTensor:
        """Return the tensor of an array, whose numbers need no guess."""
        shape = array.shape if array.ndim != 1 else None

        def readings(bits: int, count: int) -> Iterator[Reading]:
            del bits, count
            yield Reading(array)
            if array.dtype.kind in "iu" and array.dtype.itemsize > 1:
                yield Reading(array.byteswap(), "bytes in the other order")

        return cls(name, source, readings, number, array.size, shape)


@dataclass(frozen=True, eq=False)
class Dump:
    """All tensors of a dump.

    Attributes
    ----------
    source : path of the dump.
    samples : tensors of each sample; one sample where the dump does not tell several apart.
    labels : name of each sample in the dump; empty where it has none.
    """

    source: str
    samples: tuple[tuple[DumpedTensor, ...], ...]
    labels: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names in the dump."""
        return list(dict.fromkeys(t.name for sample in self.samples for t in sample if t.name))


def as_integers(values: Any) -> Array:
    """Return numbers as int64 where all are whole, and as float64 otherwise."""
    array = np.asarray(values, np.float64) if not isinstance(values, np.ndarray) else values
    if array.dtype.kind in "iu":
        return array
    whole = np.isfinite(array).all() and (np.abs(array) < 2.0**53).all() and (array == np.rint(array)).all()
    return array.astype(np.int64) if whole else array
