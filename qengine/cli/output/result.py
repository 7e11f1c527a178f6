"""Result of `qengine run`, as its table and its JSON object both show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.advice import Advice
from qengine.analysis.report import Comparison
from qengine.cli.options import FixedPointOptions
from qengine.data.applied import Applied
from qengine.metrics.quality import Quality
from qengine.metrics.sqnr import sqnr
from qengine.runtime.session import InferenceSession


@dataclass(frozen=True)
class OutputSummary:
    """Figures of one output.

    Attributes
    ----------
    name, shape, dtype : name, shape and type of the array; length and type of a sequence or a map.
    format : format of the output; None where it is not in fixed point.
    min, max : least and largest finite element; None without one.
    nonfinite : number of elements that are NaN or infinite.
    sqnr_db : SQNR against float32; None in a float32 run, and where `sqnr` returns None.
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
    """Result of `qengine run`.

    Attributes
    ----------
    model : the model as typed.
    options : the options of fixed point as typed.
    session : the session that ran.
    feeds, outputs : arrays by name; the outputs as real numbers.
    others : outputs that are not tensors: lists, dicts and None.
    comparison, advice : comparison with float32, and a better format; None in a float32 run.
    evaluated_output : name of the output that the metrics are about.
    quality : figures of the metrics that the evaluated output has.
    notes : lines of text for the user.
    pixels : conversion of pixels to numbers.
    written : paths of the files.
    """

    model: str
    options: FixedPointOptions
    session: InferenceSession
    feeds: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    others: Mapping[str, Any]
    comparison: Comparison | None
    evaluated_output: str
    quality: list[Quality]
    advice: Advice | None
    notes: tuple[str, ...]
    pixels: Applied
    written: tuple[str, ...]

    @property
    def arithmetic(self) -> str:
        """The arithmetic in a few words: float32, or the formats."""
        return "float32" if self.comparison is None else self.options.named_formats

    @property
    def rounding(self) -> str:
        """The rounding of results for which no other rule is given."""
        return str(self.session.rules.rounding)

    @property
    def overflow(self) -> str:
        """The overflow of results for which no other rule is given."""
        return str(self.session.rules.overflow)

    @cached_property
    def summaries(self) -> list[OutputSummary]:
        """Return the figures of every output, those that are not tensors last."""
        tensors = [self._summary(name, array) for name, array in self.outputs.items()]
        return tensors + [self._summary_of_other(name, value) for name, value in self.others.items()]

    def _summary_of_other(self, name: str, value: Any) -> OutputSummary:
        """Return the length and the type of a sequence, map or optional; nothing else is known of it."""
        declared = self.session.graph.values.get(name)
        kinds = {list: "sequence", dict: "map"}
        kind = next((text for kind, text in kinds.items() if isinstance(value, kind)), "optional")
        shape = () if value is None else (len(value),)
        container = declared.container if declared is not None else None
        return OutputSummary(name, shape, container or kind, None, None, None, 0, None)

    def _summary(self, name: str, array: NDArray[Any]) -> OutputSummary:
        finite = array
        if array.dtype.kind in "fc" and not (is_finite := np.isfinite(array)).all():
            finite = array[is_finite]
        is_text = array.dtype.kind not in "biufc"
        fmt = self.session.formats.get(name)
        return OutputSummary(
            name,
            array.shape,
            "string" if is_text else str(array.dtype),
            None if fmt is None else str(fmt),
            finite.min().item() if finite.size and not is_text else None,
            finite.max().item() if finite.size and not is_text else None,
            array.size - finite.size,
            self._sqnr_db(name, array),
        )

    def _sqnr_db(self, name: str, array: NDArray[Any]) -> float | None:
        """Return the SQNR of an output against float32, which the comparison knows of tensors in fixed point."""
        if self.comparison is None or array.dtype.kind != "f":
            return None
        compared = next((t for t in self.comparison.tensors if t.name == name), None)
        return compared.sqnr_db if compared else sqnr(self.comparison.float_outputs[name], array)
