"""Samples that fixed point changes most, and the classes that they get, collected run by run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.evaluation.result import Confusion, SampleDifference
from qengine.metrics.decibels import decibels
from qengine.metrics.declaration import Reference
from qengine.metrics.tasks import classes_of, is_scores

_MAX_CLASSES = 1000  # of a matrix of counts


class WorstSamples:
    """The samples that fixed point changes most.

    Parameters
    ----------
    count
        Number of samples to keep.
    has_classes
        Whether the output names a class of each sample.

    Attributes
    ----------
    flips : number of samples whose class is another.
    """

    def __init__(self, count: int, *, has_classes: bool) -> None:
        self._count, self._has_classes = count, has_classes
        self._kept: list[SampleDifference] = []
        self.flips = 0

    def add(
        self,
        first: int,
        count: int,
        real: NDArray[Any],
        exact: NDArray[Any],
        labels: NDArray[np.int64] | None,
    ) -> None:
        """Add the evaluated output of a run.

        Parameters
        ----------
        first, count
            Index of the first sample of the run, and the number of samples; without an axis of samples nothing is
            added for several.
        real, exact
            The output of the run, and the same in float32.
        labels
            The true classes; None where they are not known.
        """
        if real.shape != exact.shape or not real.size:
            return
        if count > 1 and (not real.ndim or len(real) % count):
            return
        signal, noise = _energies(real.reshape(count, -1), exact.reshape(count, -1))
        classes = self._classes(real, exact, count)
        known = labels if labels is not None and len(labels) == count else None
        found = []
        for i in range(count):
            one = SampleDifference(first + i, None, decibels(signal[i], noise[i]))
            if real.dtype.kind != "f":
                one = replace(one, sqnr_db=None)
            if classes is not None:
                exact_class, fixed_class = int(classes[0][i]), int(classes[1][i])
                label = None if known is None else int(known[i])
                one = replace(one, float32_class=exact_class, fixed_class=fixed_class, label=label)
                self.flips += one.flips
            if one.flips or noise[i] != 0:
                found.append(one)
        self._kept = sorted([*self._kept, *found], key=_badness)[: self._count]

    def _classes(self, real: NDArray[Any], exact: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Return the classes in float32 and in fixed point; None where there is not one for each sample."""
        if not self._has_classes:
            return None
        found = classes_of(exact), classes_of(real)
        return found if len(found[0]) == count else None

    @property
    def worst(self) -> tuple[SampleDifference, ...]:
        """The kept samples, the worst first."""
        return tuple(self._kept)


def _badness(one: SampleDifference) -> tuple[bool, bool, float, int]:
    """Return a key that is less for a worse sample: lost ones, then other flips, then by SQNR."""
    is_lost = one.flips and one.label == one.float32_class
    return not is_lost, not one.flips, -np.inf if one.sqnr_db is None else one.sqnr_db, one.index


def _energies(real: NDArray[Any], exact: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of squares of the signal and of the noise of each sample."""
    with np.errstate(all="ignore"):
        wide = exact.astype(np.float64)
        apart = wide - real
        return np.sum(wide * wide, axis=1), np.sum(apart * apart, axis=1)


class Classes:
    """Counts of the classes that samples of each class got."""

    def __init__(self) -> None:
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._reference: Reference | None = None
        self._is_possible = True

    def add(self, real: NDArray[Any] | None, exact: NDArray[Any], labels: NDArray[np.int64] | None) -> None:
        """Add the evaluated output of a run; without labels, the class in float32 is the true one."""
        classes = exact.shape[1] if is_scores(exact) else 0
        if not 0 < classes <= _MAX_CLASSES or (real is not None and real.shape != exact.shape):
            self._is_possible = False
            return
        has_labels = labels is not None and len(labels) == len(exact)
        reference = Reference.LABELS if has_labels else Reference.FLOAT32
        if self._reference not in (None, reference):
            self._is_possible = False
            return
        self._reference = reference
        rows = labels if has_labels and labels is not None else classes_of(exact)
        arrays = {"fixed": real, "float32": exact if has_labels else None}
        for name, array in arrays.items():
            if array is not None:
                counts = self._counts.setdefault(name, np.zeros((classes, classes), np.int64))
                np.add.at(counts, (rows, classes_of(array)), 1)

    def confusion(self) -> Confusion | None:
        """Return the counts; None where the classes cannot be counted."""
        if not self._is_possible or self._reference is None or not self._counts:
            return None
        return Confusion(self._reference, self._counts.get("fixed"), self._counts.get("float32"))
