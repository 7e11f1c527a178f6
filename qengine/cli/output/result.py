"""What a run found, and what of it a person and a program are both told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.advice import Advice
from qengine.analysis.report import Comparison
from qengine.cli.options import FixedPointOptions
from qengine.metrics.quality import ClassQuality, ImageQuality
from qengine.metrics.sqnr import sqnr
from qengine.qformat import Overflow, Rounding
from qengine.runtime.session import InferenceSession


@dataclass(frozen=True)
class OutputSummary:
    """One output in a few numbers.

    Attributes
    ----------
    name, shape, dtype : of the array.
    format : None where it is not in fixed point.
    min, max : of the finite elements; None where there are none.
    nonfinite : how many elements are NaN or infinite.
    sqnr_db : against float32; None in a float32 run, and where `sqnr` gives none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    format: str | None
    min: float | None
    max: float | None
    nonfinite: int
    sqnr_db: float | None


@dataclass(frozen=True)
class RunResult:
    """Everything that `qengine run` has to tell.

    Attributes
    ----------
    model : as it was typed.
    options : of fixed point, as they were typed.
    session : what ran.
    feeds, outputs : arrays by name; the outputs as real numbers.
    comparison, advice : in fixed point only.
    image, classes : where the output is an image, or scores of classes.
    notes : what else there is to know.
    written : the files.
    """

    model: str
    options: FixedPointOptions
    session: InferenceSession
    feeds: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    comparison: Comparison | None
    image: ImageQuality | None
    classes: ClassQuality | None
    advice: Advice | None
    notes: tuple[str, ...]
    written: tuple[str, ...]

    @property
    def arithmetic(self) -> str:
        """The arithmetic in a word."""
        if self.comparison is None:
            return "float32"
        given = self.options.formats.name if self.options.formats else None
        asked = " + ".join(word for word in (self.options.qformat, given) if word)
        return asked or "the model's own formats"

    @property
    def rounding(self) -> str:
        """How it rounds."""
        return self.options.rounding or Rounding.HALF_EVEN.value

    @property
    def overflow(self) -> str:
        """What becomes of a value that is too large."""
        return self.options.overflow or Overflow.SATURATE.value

    def summaries(self) -> list[OutputSummary]:
        """Return the outputs in a few numbers each."""
        return [self._summary(name, array) for name, array in self.outputs.items()]

    def _summary(self, name: str, array: NDArray[Any]) -> OutputSummary:
        finite = array[np.isfinite(array)] if array.dtype.kind in "fc" else array
        form = self.session.formats.get(name)
        return OutputSummary(
            name,
            array.shape,
            str(array.dtype),
            None if form is None else str(form),
            finite.min().item() if finite.size else None,
            finite.max().item() if finite.size else None,
            array.size - finite.size,
            sqnr(self.comparison.float_outputs[name], array) if self.comparison and array.dtype.kind == "f" else None,
        )
