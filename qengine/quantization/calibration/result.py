"""What a calibration found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qengine.model.formats.files import write_formats
from qengine.quantization.calibration.options import CalibrationOptions


@dataclass(frozen=True)
class TensorRange:
    """One tensor that was calibrated.

    Attributes
    ----------
    name : the model's own.
    kind : "input", "activation" or "constant".
    elements : how many values were seen, of all runs.
    least, most : of the finite values; None where there are none.
    nonfinite : how many values were infinite or NaN, and left out.
    format : what was chosen, as a formats file has it.
    sqnr_db : of this tensor alone in the format, everything else being float32; infinite where nothing is lost, None
        where a signal of nothing is to be compared.
    best : the format that the method finds for this tensor alone.
    cost_db : how much more SQNR that one has: what it costs to share a format, or to leave room for a bias.
    shares : the other tensors of the group whose format it shares.
    """

    name: str
    kind: str
    elements: int
    least: float | None
    most: float | None
    nonfinite: int
    format: str | list[str]
    sqnr_db: float | None
    best: str | list[str]
    cost_db: float | None
    shares: tuple[str, ...]


@dataclass(frozen=True)
class Calibration(Mapping[str, "str | list[str]"]):
    """Formats by tensor name: what `InferenceSession(formats=...)` takes, with `qformat` left out.

    A mapping of name to format, or to a list with one format for each channel of weights, in the model's order.

    Attributes
    ----------
    formats : the same as a plain dict.
    tensors : the ranges that were seen and what the formats cost.
    options : how they were chosen.
    runs : how many feeds were seen.
    notes : what there is to know, one line each.
    """

    formats: dict[str, str | list[str]]
    tensors: tuple[TensorRange, ...]
    options: CalibrationOptions
    runs: int
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> str | list[str]:
        return self.formats[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.formats)

    def __len__(self) -> int:
        return len(self.formats)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a formats file, whole or not at all.

        Raises
        ------
        OptionError
            If it cannot be written.
        """
        write_formats(path, self.formats)
