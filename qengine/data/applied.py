"""Preprocessing as it is applied: what was typed, what is recorded or bundled, and which inputs are made of pixels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from qengine.data.preprocessing import Preprocessing
from qengine.data.provenance import Provenance, provenance_in_file, provenance_in_formats, provenance_in_model
from qengine.data.zoo import Entry
from qengine.errors import OptionError
from qengine.model.formats.files import RecordedFormats
from qengine.model.graph import Graph
from qengine.runtime.session import InferenceSession

FormatsFiles = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None
"""A formats file, several, or none."""

_PLAIN = Preprocessing()


@dataclass(frozen=True)
class Base:
    """Preprocessing that holds where nothing is typed.

    Attributes
    ----------
    preprocessing : the preprocessing.
    origin : name of the file that records it, or of what is bundled with it; "" for the default.
    is_recorded : whether it comes from a file with formats, for which it is fixed.
    """

    preprocessing: Preprocessing = _PLAIN
    origin: str = ""
    is_recorded: bool = False

    @property
    def recorded(self) -> Preprocessing | None:
        """The preprocessing that a file records; None where none does."""
        return self.preprocessing if self.is_recorded else None


def base_of(
    formats: FormatsFiles | RecordedFormats = None,
    graph: Graph | None = None,
    entry: Entry | None = None,
    *,
    model: str = "the model",
) -> Base:
    """Return the preprocessing that holds where nothing is typed: what a file records, or is bundled, or the default.

    Parameters
    ----------
    formats
        Formats file, several of them, or formats that were read.
    graph
        The model, which records it where it was quantized.
    entry
        The bundled set or model, if one is used.
    model
        Name of the model in messages.

    Raises
    ------
    QEngineError
        If a file cannot be read, or two record preprocessings that differ.
    """
    found: list[Base] = []
    if isinstance(formats, RecordedFormats):
        found += _recorded(provenance_in_formats(formats), formats.origin)
    else:
        for path in [formats] if isinstance(formats, str | os.PathLike) else [*(formats or ())]:
            found += _recorded(provenance_in_file(path), PurePath(path).name)
    if graph is not None:
        found += _recorded(provenance_in_model(graph, model), PurePath(model).name)
    for one in found[1:]:
        if not one.preprocessing.agrees_with(found[0].preprocessing):
            raise OptionError(
                f"{found[0].origin} was made with {found[0].preprocessing.described()}, and {one.origin} with "
                f"{one.preprocessing.described()}: use one of them, or calibrate again"
            )
    if found:
        return found[0]
    return Base() if entry is None else Base(entry.preprocessing, entry.name)


def base_of_session(session: InferenceSession, entry: Entry | None = None) -> Base:
    """Return the preprocessing that the formats file or the model of a session records; see `base_of`."""
    formats = session.options.formats
    return base_of(formats if isinstance(formats, RecordedFormats) else None, session.graph, entry)


def base_of_manifest(manifest: Mapping[str, Any], folder: str | os.PathLike[str]) -> Base:
    """Return the preprocessing that the manifest of a golden pack or of a network in C records, or the default.

    Raises
    ------
    OptionError
        If it has another form.
    """
    found = manifest.get("preprocessing")
    if found is None:
        return Base()
    return Base(Preprocessing.from_record(found), PurePath(folder).name, is_recorded=True)


def _recorded(provenance: Provenance | None, origin: str) -> list[Base]:
    if provenance is None or provenance.preprocessing is None:
        return []
    return [Base(provenance.preprocessing, origin, is_recorded=True)]


@dataclass(frozen=True)
class Applied:
    """Preprocessing of a run.

    Attributes
    ----------
    preprocessing : conversion of pixels to numbers.
    inputs : names of the tensors that are made of pixels.
    origin : name of the file that records it, or of what is bundled with it; "" where it was typed, or is the default.
    notes : remarks for the user, one line each.
    """

    preprocessing: Preprocessing = _PLAIN
    inputs: tuple[str, ...] = ()
    origin: str = ""
    notes: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any] | None:
        """The preprocessing as a JSON object; None where no pixels are read."""
        return self.preprocessing.record() if self.inputs else None

    @property
    def text(self) -> str | None:
        """The record as JSON text of one line; None where no pixels are read."""
        return None if self.record is None else json.dumps(self.record, sort_keys=True)

    @property
    def used(self) -> Preprocessing | None:
        """The preprocessing; None where no pixels are read."""
        return self.preprocessing if self.inputs else None

    @property
    def line(self) -> str | None:
        """The line that says what is applied, and what it is from; None where no pixels are read."""
        if not self.inputs:
            return None
        names = ", ".join(f"'{name}'" for name in self.inputs)
        origin = f" (from {self.origin})" if self.origin else ""
        return f"preprocessing of {names}: {self.preprocessing.described()}{origin}"

    def with_notes(self, notes: Iterable[str]) -> Applied:
        """Return this with more remarks."""
        return replace(self, notes=(*self.notes, *notes))


def applied(base: Base, preprocessing: Preprocessing, inputs: Iterable[str], *, typed: Iterable[str] = ()) -> Applied:
    """Return what is applied, after a check against what a file records.

    Parameters
    ----------
    base
        Preprocessing that holds where nothing is typed.
    preprocessing
        The one that is used.
    inputs
        Names of the tensors that are made of pixels.
    typed
        Options that were typed; empty if nothing was.

    Raises
    ------
    OptionError
        If pixels are read otherwise than those that the formats come from.
    """
    names, words = tuple(dict.fromkeys(inputs)), list(typed)
    listed, it, verb = ", ".join(words) or "this preprocessing", *(("it", "is") if len(words) < 2 else ("them", "are"))
    if names and base.is_recorded and not preprocessing.keeps(base.preprocessing):
        raise OptionError(
            f"with {listed} numbers are {preprocessing.described()}, and {base.origin} was made with "
            f"{base.preprocessing.described()}: leave {listed} out, or calibrate again with {it}"
        )
    notes: tuple[str, ...] = ()
    if words and not names:
        notes = (f"{listed} {verb} for pixels, and not applied to arrays of real numbers",)
    is_base = preprocessing.agrees_with(base.preprocessing)
    return Applied(preprocessing, names, base.origin if is_base else "", notes)
