"""Comparison of two dumps, or of the codes of two sessions: which tensors differ, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.compare.dump import Dump, DumpedTensor
from qengine.deploy.compare.layouts import layouts_of
from qengine.deploy.compare.matching import spelling
from qengine.deploy.compare.result import differences_of
from qengine.errors import DumpError
from qengine.results import Record, Result

Array = NDArray[Any]


@dataclass(frozen=True)
class PairResult:
    """A tensor that both dumps have.

    Attributes
    ----------
    name : name.
    elements, differing : number of elements, and of those that differ.
    largest : largest difference.
    first : index of the first element that differs; None where none does.
    values : element at that index in the first and in the second dump.
    differences : number of elements by difference, second less first.
    read : layout in which the second dump has the tensor, "" for that of the first.
    """

    name: str
    elements: int
    differing: int
    largest: float
    first: tuple[int, ...] | None
    values: tuple[float, float] | None
    differences: dict[int, int]
    read: str = ""


@dataclass(frozen=True, repr=False)
class DumpsComparison(Result):
    """Two dumps, tensor by tensor.

    Attributes
    ----------
    tensors : tensors that both have.
    only_first, only_second : names that only one of them has.
    """

    tensors: tuple[PairResult, ...]
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both have the same tensors with the same elements."""
        return not self.only_first and not self.only_second and not any(one.differing for one in self.tensors)

    @property
    def first(self) -> PairResult | None:
        """The first tensor that differs."""
        return next((one for one in self.tensors if one.differing), None)

    @property
    def sentence(self) -> str:
        """The answer in one line."""
        first, count = self.first, sum(one.differing > 0 for one in self.tensors)
        if first is not None and first.values is not None:
            a, b = first.values
            return (
                f"{count} of {len(self.tensors)} tensors differ. The first is '{first.name}': {first.differing:,} of "
                f"{first.elements:,} elements, by up to {first.largest:g}; element {list(first.first or ())} is {a:g} "
                f"and {b:g}."
            )
        count = len(self.tensors)
        if self.only_first or self.only_second:
            both = "The tensor that both have is" if count == 1 else f"All {count} tensors that both have are"
            return f"{both} equal, and others are in one of them only."
        return f"Equal: all {sum(t.elements for t in self.tensors):,} elements of {count} tensor{'s' * (count != 1)}."

    @property
    def summary(self) -> str:
        """The answer in one line."""
        return self.sentence

    def records(self) -> list[Record]:
        """Return a row for each tensor that both have."""
        return [_as_json(one) for one in self.tensors]

    def record(self) -> Record:
        """Return everything for a JSON object."""
        return {
            "equal": self.equal,
            "sentence": self.sentence,
            "first": None if self.first is None else _as_json(self.first),
            "only_first": list(self.only_first),
            "only_second": list(self.only_second),
            "tensors": [_as_json(one) for one in self.tensors],
        }


def _as_json(one: PairResult) -> dict[str, Any]:
    return {
        **vars(one),
        "first": None if one.first is None else list(one.first),
        "values": None if one.values is None else list(one.values),
        "differences": {str(k): n for k, n in one.differences.items()},
    }


def compare_dumps(first: Dump, second: Dump) -> DumpsComparison:
    """Return how two dumps differ.

    Raises
    ------
    DumpError
        If no tensor of one has a name of the other.
    """
    a, b = _by_name(first), _by_name(second)
    if len(a) == len(b) == 1:
        b = {next(iter(a)): next(iter(b.values()))}
    spelled = {spelling(name): name for name in b}
    b = {name: b[spelled[spelling(name)]] for name in a if spelling(name) in spelled} | {
        name: one for name, one in b.items() if spelling(name) not in {spelling(own) for own in a}
    }
    both = [name for name in a if name in b]
    if not both:
        raise DumpError(
            f"{first.source} and {second.source} have no tensor of one name: {', '.join(list(a)[:4])} and "
            f"{', '.join(list(b)[:4])}"
        )
    tensors = tuple(_pair(name, a[name], b[name]) for name in both)
    return DumpsComparison(tensors, tuple(n for n in a if n not in b), tuple(n for n in b if n not in a))


def _by_name(dump: Dump) -> dict[str, DumpedTensor]:
    several = len(dump.samples) > 1
    found = {}
    for i, sample in enumerate(dump.samples):
        label = dump.labels[i] if dump.labels else str(i)
        for one in sample:
            found[f"{label}/{one.name}" if several else one.name] = one
    return found


def _pair(name: str, first: DumpedTensor, second: DumpedTensor) -> PairResult:
    reading = next(iter(first.readings(8, 1)), None)
    if reading is None:
        raise DumpError(f"{first.source}: '{name}' has words that are too long to be codes")
    a = reading.numbers
    best: PairResult | None = None
    for reading in second.readings(8 * a.dtype.itemsize, a.size):
        b = reading.numbers
        layouts = list(layouts_of(a.shape, b.size)) if b.shape != a.shape else []
        read = [(one.name, one.read(b.reshape(-1))) for one in layouts] if layouts else [("", b)]
        for how, array in read:
            if array.shape != a.shape:
                continue
            found = _result(name, a, array, ", ".join(part for part in (reading.how, how) if part))
            if best is None or found.differing < best.differing:
                best = found
        if best is not None and not best.differing:
            break
    if best is None:
        raise DumpError(f"'{name}' has {a.size:,} elements in {first.source}, and another number in {second.source}")
    return best


def _result(name: str, a: Array, b: Array, how: str) -> PairResult:
    differs = ~((a == b) | ((a != a) & (b != b)))
    count = int(np.count_nonzero(differs))
    if not count:
        return PairResult(name, a.size, 0, 0.0, None, None, {}, how)
    at = np.unravel_index(int(np.flatnonzero(differs.reshape(-1))[0]), a.shape)
    values = float(a[at]), float(b[at])
    with np.errstate(invalid="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    largest = float(np.max(apart, where=np.isfinite(apart), initial=0.0))
    whole = a.dtype.kind in "iub" and b.dtype.kind in "iub"
    differences = differences_of(b, a)[1] if whole else {}
    return PairResult(name, a.size, count, largest, tuple(int(i) for i in at), values, differences, how)
