"""Result of a calibration: formats by tensor name, the ranges in the data, and the SQNR of every tensor alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qengine.data.provenance import Provenance
from qengine.model.formats.files import write_formats
from qengine.quantization.calibration.options import CalibrationOptions
from qengine.results import Record, Result


@dataclass(frozen=True)
class TensorRange:
    """Range of one tensor in the data, and the format chosen for it.

    Attributes
    ----------
    name : the model's own name of the tensor.
    kind : "input", "activation" or "constant".
    elements : number of values in all runs together.
    least, most : smallest and largest finite value; None where no value is finite.
    nonfinite : number of values that were infinite or NaN, and were left out.
    format : the chosen format, spelled as in a formats file.
    sqnr_db : SQNR in dB of this tensor alone in the format, everything else being float32; infinite where the format
        holds every value, None where the tensor is 0 and there is noise.
    best : the format that the method chooses for this tensor alone.
    cost_db : SQNR in dB of `best` less that of `format`: the cost of a shared format, or of room for a bias.
    shares : names of the other tensors that share the format.
    role : role of a constant, such as "weights of /stem/Conv"; None for other tensors.
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
    role: str | None = None


@dataclass(frozen=True, repr=False)
class Calibration(Result, Mapping[str, "str | list[str]"]):
    """Formats by tensor name, as `InferenceSession(formats=...)` takes them, with `qformat` left out.

    A mapping of name to format, or to a list with one format for each channel of weights, in the model's order.

    Attributes
    ----------
    formats : formats as a plain dict.
    tensors : the range of every tensor, and the cost of its format.
    options : the options that the formats were chosen with.
    runs : number of feeds.
    notes : remarks for the user, one line each.
    provenance : the data, and how its pixels were read; None for feeds that are no `Dataset`.
    """

    formats: dict[str, str | list[str]]
    tensors: tuple[TensorRange, ...]
    options: CalibrationOptions
    runs: int
    notes: tuple[str, ...]
    provenance: Provenance | None = None

    def __getitem__(self, name: str) -> str | list[str]:
        return self.formats[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.formats)

    def __len__(self) -> int:
        return len(self.formats)

    @property
    def summary(self) -> str:
        """The result in one line."""
        runs = "1 run" if self.runs == 1 else f"{self.runs:,} runs"
        return f"formats of {len(self.formats)} tensors, from {runs} of data"

    def records(self) -> list[Record]:
        """Return a row for each tensor: its range in the data, and its format."""
        return [dict(vars(one)) for one in self.tensors]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a formats file, whole or not at all, that says which data the formats come from.

        To a name that ends in .csv, the table of ranges is written.

        Raises
        ------
        OptionError
            If it cannot be written.
        """
        if Path(path).suffix.lower() == ".csv":
            super().save(path)
            return
        write_formats(path, self.formats, self.provenance.record() if self.provenance else None)
