"""Provenance: the data that formats were chosen on, as files that hold formats record it.

Formats hold the numbers that pixels become with one preprocessing. A formats file, a quantized model, a golden pack and
a network in C therefore record it, and whoever runs them uses it, or is refused where another one was typed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.model.formats.files import RecordedFormats, read_record
from qengine.model.graph import RECORD, Graph


@dataclass(frozen=True)
class Provenance:
    """The data that formats come from.

    Attributes
    ----------
    version : version of qengine.
    model, data : names of the model and the data, without folders.
    preprocessing : conversion of the pixels of the data to numbers; None where the data has no pixels.
    """

    version: str
    model: str
    data: str
    preprocessing: Preprocessing | None

    def record(self) -> dict[str, Any]:
        """Return a JSON object, without the preprocessing where there were no pixels; `from_record` reads it."""
        found: dict[str, Any] = {"version": self.version, "model": self.model, "data": self.data}
        return found if self.preprocessing is None else found | {"preprocessing": self.preprocessing.record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str) -> Provenance:
        """Return what `record` gave; `where` names the file in errors.

        Raises
        ------
        OptionError
            If the object has another form.
        """
        texts = {name: record.get(name, "") for name in ("version", "model", "data")}
        found = record.get("preprocessing")
        if not all(isinstance(text, str) for text in texts.values()) or not isinstance(found, Mapping | None):
            raise OptionError(f"{where}: its record of the data is not as qengine writes it: leave '{RECORD}' out")
        try:
            preprocessing = None if found is None else Preprocessing.from_record(found)
        except OptionError as error:
            raise OptionError(f"{where}: {error}") from None
        return cls(**texts, preprocessing=preprocessing)


def provenance_in_file(path: str | os.PathLike[str]) -> Provenance | None:
    """Return the provenance that a formats file records; None where it records none.

    Raises
    ------
    QEngineError
        If the file cannot be read, or its record has another form.
    """
    record = read_record(path)
    return None if record is None else Provenance.from_record(record, f"formats file {path}")


def provenance_in_formats(formats: RecordedFormats) -> Provenance | None:
    """Return the provenance that formats record; None where they record none, or raise OptionError."""
    return None if formats.record is None else Provenance.from_record(formats.record, formats.origin)


def provenance_in_model(graph: Graph, name: str = "the model") -> Provenance | None:
    """Return the provenance that the file of a quantized model records; None where it records none.

    Raises
    ------
    OptionError
        If the record has another form.
    """
    text = graph.metadata.get(RECORD)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    return Provenance.from_record(record if isinstance(record, Mapping) else {"version": None}, name)
