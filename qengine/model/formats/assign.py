"""Which tensor has which format: decided once, before any shape is known."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.atomic_files import replacing
from qengine.errors import FormatError, OptionError, did_you_mean
from qengine.model.formats.constants import ConstantFormats, readers_of
from qengine.model.graph import Graph
from qengine.model.ops.operator import Role, find
from qengine.model.static_values import known_tensors
from qengine.qformat import (
    ChannelFormats,
    Format,
    QFormat,
    channel_formats,
)

Given = Mapping[str, Format | str | Sequence[QFormat | str]]
"""Formats by tensor name; a list gives a constant one per channel."""

_Asked = Mapping[str, QFormat | tuple[QFormat, ...]]


@dataclass(frozen=True)
class FormatRequest:
    """What the user asked for.

    Attributes
    ----------
    qformat : of every activation that `formats` does not name.
    weight_qformat : of every constant that `formats` does not name.
    formats : by tensor name.
    per_channel : whether weights get one number of fraction bits per output channel.
    is_partial : whether tensors without a format stay real numbers; of a quantized model that is so anyway.
    """

    qformat: QFormat | None = None
    weight_qformat: QFormat | None = None
    formats: Given = field(default_factory=dict)
    per_channel: bool = False
    is_partial: bool = False

    def __post_init__(self) -> None:
        if self.per_channel and self.weight_qformat:
            raise OptionError("per-channel formats are chosen per channel: leave out the weight format")


def read_formats(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a formats file: a JSON object of tensor name -> format, or a list of formats, one per channel.

    Raises
    ------
    FormatError
        If the file cannot be read or is not such an object.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, form in pairs:
            if name in found:
                raise FormatError(f"formats file {path}: '{name}' is given twice")
            found[name] = form
        return found

    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FormatError(f"formats file {path}: {reason}") from None
    if not isinstance(found, dict):
        raise FormatError(f"formats file {path}: not an object of tensor names and formats")
    return found


def write_formats(path: str | os.PathLike[str], formats: Mapping[str, str | list[str]]) -> None:
    """Write a formats file, as `read_formats` reads it, whole or not at all.

    Raises
    ------
    OptionError
        If it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(formats, indent=2) + "\n", encoding="utf-8")


def as_given(form: Format) -> str | list[str]:
    """Return a format as a formats file spells it."""
    return str(form) if isinstance(form, QFormat) else [str(one) for one in form.formats]


@dataclass(frozen=True)
class FormatTable:
    """The formats of a graph.

    Attributes
    ----------
    activations : of every tensor that a run computes in fixed point, the inputs included.
    constants : of the constants that a run reads, by their names in the graph after the passes.
    notes : what was asked for and has no effect.
    is_partial : whether tensors without a format stay real numbers, as in a model that is quantized in part.
    known : tensors that have none as their elements decide shapes or options.
    """

    activations: Mapping[str, QFormat]
    constants: Mapping[str, Format]
    notes: tuple[str, ...]
    is_partial: bool
    known: frozenset[str]
    _chooser: ConstantFormats
    _derived: Mapping[str, str]
    _aliases: frozenset[str]

    def constant(self, name: str, value: NDArray[Any]) -> Format | None:
        """Return the format of a constant, also of one that only a plan's shapes made known; None for real numbers."""
        found = self.constants.get(name)
        return self._chooser.choose(self._model_name(name), [value]) if found is None else found

    def activation(self, name: str) -> QFormat | None:
        """Return the format of a tensor of real numbers that a run computes; None where they stay what they are.

        Raises
        ------
        FormatError
            If it should have one. That shows in a run only where the model does not say what a tensor holds.
        """
        found = self.activations.get(name)
        if found is None and not self.is_partial and name not in self.known:
            raise FormatError(f"no format for '{name}': name it in the formats, or give a qformat for the rest")
        return found

    def by_model_name(self) -> dict[str, Format]:
        """Return all formats under the names that the model gives its tensors."""
        activations = {name: form for name, form in self.activations.items() if name not in self._aliases}
        return activations | {self._model_name(name): form for name, form in self.constants.items()}

    def _model_name(self, name: str) -> str:
        return self._derived.get(name, name)


def assign_formats(model: Graph, optimized: Graph, request: FormatRequest) -> FormatTable:
    """Give every tensor its format.

    Format-preserving operators tie their first input and their outputs together; one format serves the
    connected group. Groups are formed on the model as it was written. A constant has one format, whoever
    reads it and whatever the passes made of it.

    Raises
    ------
    FormatError
        If a name is unknown, a tensor has no format, or a group is given two.
    """
    inner = model.inner_tensors() - model.tensors()  # of graphs in nodes, which get a table of their own
    given: dict[str, QFormat | tuple[QFormat, ...]] = {}
    for written, form in request.formats.items():
        name = model.stored.get(written, written)
        name = model.aliases.get(name, name)
        if name in inner:
            continue
        parsed = parsed_format(written, form)
        if given.setdefault(name, parsed) != parsed:
            raise FormatError(f"'{written}' and '{name}' are one tensor after quantization, and are given two formats")
    own: Mapping[str, Format] = (model.formats or {}) if request.qformat is None else {}
    known = known_tensors(model)
    groups = groups_of(model, known)
    _check_names(given, model, groups)
    alive = optimized.tensors()
    is_partial = bool(own) or (request.is_partial and request.qformat is None)
    needed = set() if is_partial else {name for name in optimized.tensors() if is_real(name, model)}
    activations = _activation_formats(groups, given, own, request.qformat, needed)
    readers = readers_of(optimized, known)
    chooser = ConstantFormats(
        request.qformat,
        request.weight_qformat,
        request.per_channel,
        given,
        own if is_partial else None,
        activations,
        {**readers_of(model, known), **readers},
        {**model.constants, **optimized.constants},
    )
    constants: dict[str, Format] = {}
    for name, found in readers.items():
        values = {n: optimized.constants[n] for n in found.names if n in optimized.constants}
        values = {n: value for n, value in values.items() if value.dtype.kind == "f"}
        chosen = chooser.choose(name, list(values.values())) if values else None
        if chosen is not None:
            constants |= dict.fromkeys(values, chosen)
    activations |= {name: activations[real] for name, real in model.aliases.items() if real in activations}
    computed = {name: form for name, form in activations.items() if name not in known}
    notes = _notes(given, groups, alive, readers.keys() | _captured(optimized))
    if model.formats and not own:
        notes = (f"the formats that the model was quantized to give way to {request.qformat}", *notes)
    aliases = frozenset(model.aliases)
    return FormatTable(computed, constants, notes, is_partial, known, chooser, optimized.derived, aliases)


def parsed_format(name: str, given: Any) -> QFormat | tuple[QFormat, ...]:
    """Return what is given for a tensor: one format, or one for each channel.

    Raises
    ------
    FormatError
        If it is neither.
    """
    if not isinstance(name, str):
        raise FormatError(f"formats are given by the names of tensors, not by {name!r}")
    try:
        if isinstance(given, QFormat | str):
            return QFormat.of(given)
        if isinstance(given, ChannelFormats):
            return given.formats
        if isinstance(given, Sequence) and given and all(isinstance(f, QFormat | str) for f in given):
            return channel_formats(given, 0).formats
    except FormatError as error:
        raise FormatError(f"format of '{name}': {error}") from None
    raise FormatError(f"format of '{name}': {given!r} is neither a format such as Q4.3 nor a list of them")


class Group:
    """Tensors that share one format."""

    def __init__(self, name: str) -> None:
        self.members = {name}


def groups_of(model: Graph, known: frozenset[str]) -> dict[str, Group]:
    """Return the group of every tensor that is quantized as an activation, by its name; see `known_tensors`."""
    names = [value.name for value in model.inputs]
    names += [name for node in model.nodes for name in node.outputs if name]
    groups = {name: Group(name) for name in names if name not in known and _may_be_real(name, model)}
    for node in model.nodes:
        outputs = [name for name in node.outputs if name in groups]
        if not outputs or not node.inputs or not find(node).preserves_format(node):
            continue
        source = node.inputs[0]
        if source in known:
            groups.setdefault(source, Group(source))  # a table that is looked up
        for name in outputs:
            if source in groups and groups[source] is not groups[name]:
                small, large = sorted((groups[source], groups[name]), key=lambda g: len(g.members))
                large.members |= small.members
                for member in small.members:
                    groups[member] = large
    return groups


def _may_be_real(name: str, model: Graph) -> bool:
    value = model.values.get(name)
    if value is not None and value.container is not None:  # a sequence holds real numbers, and is no tensor
        return False
    dtype = _type(name, model)
    return dtype is None or dtype.kind == "f"


def is_real(name: str, model: Graph) -> bool:
    """Whether the model says that a tensor holds real numbers."""
    return _may_be_real(name, model) and _type(name, model) is not None


def _type(name: str, model: Graph) -> np.dtype[Any] | None:
    """Return what the model says that a tensor holds."""
    constant, value = model.constants.get(name), model.values.get(name)
    return constant.dtype if constant is not None else value.dtype if value else None


def _check_names(given: _Asked, model: Graph, groups: Mapping[str, Group]) -> None:
    tensors = model.tensors() | set(model.derived.values())
    captured = _captured(model)
    roles: dict[str, set[Role]] = {}
    for node in model.nodes:
        for name, role in find(node).roles(node):
            roles.setdefault(model.derived.get(name, name), set()).add(role)
    for name, form in given.items():
        if name not in tensors:
            raise FormatError(f"formats name '{name}', and the model has no such tensor{did_you_mean(name, tensors)}")
        if name in groups:
            if not isinstance(form, QFormat):
                raise FormatError(f"formats give '{name}' {len(form)} formats; only weights have one per channel")
            continue
        read_as = roles.get(name, set())
        if not _may_be_real(name, model):
            why = "it holds no real numbers"
        elif read_as & {Role.DATA, Role.WEIGHTS}:
            continue
        elif Role.BIAS in read_as:
            why = "a bias is held in 32 bits, at the accumulator's fraction bits, which follow"
        elif name in captured:  # and has its format in the graph inside of the node
            continue
        elif Role.KNOWN in read_as:
            why = "its elements decide shapes or options, and are taken as they are"
        else:
            why = "no operator reads its elements"
        raise FormatError(f"formats name '{name}', which is not quantized: {why}")


def _captured(model: Graph) -> set[str]:
    """Return the tensors that graphs inside of nodes read."""
    return {name for node in model.nodes for name in node.captures}


def _activation_formats(
    groups: Mapping[str, Group],
    given: _Asked,
    own: Mapping[str, Format],
    default: QFormat | None,
    real: set[str],
) -> dict[str, QFormat]:
    """Return the format of every group; one with no member among the tensors that are real numbers may have none."""
    chosen: dict[int, QFormat | tuple[QFormat, ...] | None] = {}
    needed: set[int] = set()
    for group in {id(group): group for group in groups.values()}.values():
        asked = {member: given[member] for member in sorted(group.members & given.keys())}
        if len(set(asked.values())) > 1:
            first = next(iter(asked))
            second = next(other for other in asked if asked[other] != asked[first])
            raise FormatError(
                f"'{first}' ({asked[first]}) and '{second}' ({asked[second]}) share one format: "
                "only operators that keep it lie between them"
            )
        # The tensors of a group that the model itself gives a format agree on it.
        stored = next((own[member] for member in sorted(group.members & own.keys())), default)
        chosen[id(group)] = next(iter(asked.values()), stored if isinstance(stored, QFormat) else default)
        if real & group.members:
            needed.add(id(group))
    missing = [name for name, group in groups.items() if chosen[id(group)] is None and id(group) in needed]
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing[:5])
        more = f" and {len(missing) - 5} more" if missing[5:] else ""
        raise FormatError(f"no format for {listed}{more}: name them in the formats, or give a qformat for the rest")
    forms = {name: chosen[id(group)] for name, group in groups.items()}
    return {name: form for name, form in forms.items() if isinstance(form, QFormat)}


def _notes(given: _Asked, groups: Mapping[str, Group], alive: set[str], read: set[str]) -> tuple[str, ...]:
    """Return what was asked for and has no effect."""
    notes = []
    for name in given:
        if name in groups and not alive & groups[name].members:
            notes.append(f"the format of '{name}' has no effect: the tensor went into the operator after it")
        elif name not in groups and name not in read:
            notes.append(f"the format of '{name}' has no effect: no operator reads it during a run")
    return tuple(notes)


__all__ = [
    "ChannelFormats",
    "FormatRequest",
    "FormatTable",
    "Given",
    "Group",
    "as_given",
    "assign_formats",
    "groups_of",
    "is_real",
    "parsed_format",
    "read_formats",
]
