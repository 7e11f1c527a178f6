"""The options of a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qengine.checks import check_whole_number
from qengine.data.datasets import Labels
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.metrics.declaration import metric_named
from qengine.runtime.options import SessionKeywords

DEFAULT_TARGETS = ("cmsis-nn-q7", "cmsis-nn-s8", "esp32-s3", "tflite")
"""Targets that a report compares where none are named: verified ones of 8 bits."""

CURVE, QUICK_CURVE = (4, 5, 6, 7, 8, 10, 12, 16), (4, 6, 8, 16)
"""Word lengths of the curve, and those of a quick report."""


class ReportKeywords(SessionKeywords, total=False):
    """The fields of `ReportOptions` and `SessionOptions` as keyword arguments."""

    bits: int | None
    targets: Sequence[str] | None
    curve: Sequence[int] | None
    quick: bool
    metric: str | None
    labels: Labels | None
    inputs: Mapping[str, NDArray[Any]] | None
    preprocessing: Preprocessing | None
    batch: int | None
    limit: int | None
    shown: str | None
    formats_name: str | None
    inputs_shown: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class ReportOptions:
    """Parts of a report, and the data that they are computed on.

    Attributes
    ----------
    bits
        Word length that formats are chosen for from the data; None for 8, or that of the target. Formats that are given
        exclude it.
    targets
        Names or files of targets to compare; () for none, None for some of 8 bits.
    curve
        Word lengths of the curve; () for no curve, None for some from 4 to 16.
    quick
        Whether to compute less: a curve of four word lengths, no targets unless they are named, and fewer samples where
        every tensor is measured by itself.
    metric
        Name of the metric of the summary and the curve; None for the first that the data has.
    inputs
        Inputs that are the same in every run, by name.
    labels, preprocessing, batch, limit
        See `qengine.open_dataset`.
    shown
        Name of the model on the page and in its commands; None for its file name.
    formats_name
        Name of the formats file in the commands of the page; None for formats.json.
    inputs_shown
        The inputs in the commands of the page, each as "NAME=VALUE"; () for their numbers or, of many, a file.
    notes
        Remarks of the caller that are on the page too.

    Raises
    ------
    OptionError
        If a number is not one of those that are allowed, or there is no metric of the name.
    """

    bits: int | None = None
    targets: Sequence[str | os.PathLike[str]] | None = None
    curve: Sequence[int] | None = None
    quick: bool = False
    metric: str | None = None
    labels: Labels | None = None
    inputs: Mapping[str, NDArray[Any]] | None = None
    preprocessing: Preprocessing | None = None
    batch: int | None = None
    limit: int | None = None
    shown: str | None = None
    formats_name: str | None = None
    inputs_shown: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.bits is not None:
            check_whole_number("bits", self.bits, 2, 16)
        for width in self.curve or ():
            check_whole_number("curve", width, 2, 16)
        if isinstance(self.targets, str):
            raise OptionError(f"targets are a list of names, not {self.targets!r}")
        if self.metric is not None:
            metric_named(self.metric)

    @property
    def widths(self) -> tuple[int, ...]:
        """The word lengths of the curve."""
        if self.curve is not None:
            return tuple(sorted(set(self.curve)))
        return QUICK_CURVE if self.quick else CURVE

    @property
    def compared(self) -> tuple[str | os.PathLike[str], ...]:
        """The targets to compare."""
        if self.targets is not None:
            return tuple(self.targets)
        return () if self.quick else DEFAULT_TARGETS
