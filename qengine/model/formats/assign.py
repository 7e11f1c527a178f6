"""Assignment of one fixed-point format to each tensor, done once per model, before any shape is known.

The problem: a run needs a format for every tensor that it computes and for every constant that it reads, while a user
names one format for all tensors, a few exceptions, or nothing (a quantized model brings its own formats).

Activations (the inputs and everything that a run computes) are decided first, group by group: format-preserving
operators tie their first input and their outputs together, and one format serves the whole group (`groups`). A group
takes the format that the user gives one of its members, else the one that the quantized model stores for a member,
else the default. Two different formats for one group are an error, because the codes could not be copied.

Constants follow (`constants`): unless a format is given, each has the run's word length and the largest number of
fraction bits at which neither its elements nor the bias of its operator saturate. A bias itself has no format unless
the user gives it one: it is held in 32 bits at the accumulator's fraction bits.

Two graphs take part. Groups and given names belong to the model as its file has it, after `read_quantized` only. The
run computes the graph after all passes, which removed, fused and replaced tensors: `Graph.derived` leads from a
constant that a pass computed back to the model's own, `Graph.aliases` from a removed tensor to the one with its codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from qengine.errors import FormatError, OptionError, did_you_mean
from qengine.model.formats.constants import ConstantFormats
from qengine.model.formats.files import FormatsByName, parse_format
from qengine.model.formats.formattable import Formattable, captured_tensors
from qengine.model.formats.groups import Group, may_be_real
from qengine.model.formats.parts import joins_in_parts
from qengine.model.graph import Node
from qengine.model.ops.operator import Role
from qengine.qformat import Format, QFormat, joined_format

_UserFormats = Mapping[str, QFormat | tuple[QFormat, ...]]
"""Parsed formats that the user gives, by tensor name; a tuple has one format per channel."""


@dataclass(frozen=True)
class FormatRequest:
    """The formats that a user requests.

    Attributes
    ----------
    qformat : format of every activation that `formats` does not name.
    weight_qformat : format of every constant that `formats` does not name.
    formats : formats by tensor name.
    per_channel : whether weights get one number of fraction bits per output channel.
    is_partial : whether tensors without a format stay real numbers; in a quantized model they always do.
    around : tensors from around a graph inside of a node: other graphs may read them in other ways.
    is_inner : whether the graph is inside of a node, which gives its outputs to other nodes.
    fuses : whether functions and chains in several operators are computed as one; see `Rules.fuses_functions`.
    """

    qformat: QFormat | None = None
    weight_qformat: QFormat | None = None
    formats: FormatsByName = field(default_factory=dict)
    per_channel: bool = False
    is_partial: bool = False
    around: frozenset[str] = frozenset()
    is_inner: bool = False
    fuses: bool = True

    def __post_init__(self) -> None:
        if self.per_channel and self.weight_qformat:
            raise OptionError("per-channel formats and one weight format exclude each other: leave out one of them")


@dataclass(frozen=True)
class JoinedParts:
    """A joined tensor that has a format for each part.

    Attributes
    ----------
    parts : names of the parts.
    axis : axis along which they lie; negative from the last.
    given : formats that the user gives them in the join; None for the formats that they have.
    """

    parts: tuple[str, ...]
    axis: int
    given: tuple[QFormat, ...] | None


@dataclass(frozen=True)
class FormatTable:
    """The format of each tensor of a graph.

    Attributes
    ----------
    activations : formats of the tensors that a run computes in fixed point, the inputs included.
    constants : formats of the constants that a run reads, by their names in the graph after the passes.
    notes : remarks on requested formats that have no effect.
    is_partial : whether tensors without a format stay real numbers, as in a model that is quantized in part.
    known : tensors whose elements are known before a run (shapes, options, constants).
    shape_constants : formats of those of them that are real numbers which shapes decide, such as 1 / sqrt(length),
        where the user or a quantized model gives one. Each plan chooses a format for the others; see `constant`.
    joins : joined tensors that have a format for each part, by name; see `formats.parts`.
    biases : biases that the user gives a format, by their names in the model.
    """

    activations: Mapping[str, QFormat]
    constants: Mapping[str, Format]
    notes: tuple[str, ...]
    is_partial: bool
    known: frozenset[str]
    shape_constants: Mapping[str, QFormat]
    joins: Mapping[str, JoinedParts]
    biases: frozenset[str]
    _chooser: ConstantFormats
    _derived: Mapping[str, str]
    _aliases: frozenset[str]

    def constant(self, name: str, value: NDArray[Any]) -> Format | None:
        """Return the format of a constant; None where it stays real numbers.

        A constant that only the shapes of a plan made known has no entry in `constants`; its format is chosen now.
        """
        fmt = self.constants.get(name, self.shape_constants.get(name))
        return self._chooser.choose(self._model_name(name), [value]) if fmt is None else fmt

    def activation(self, name: str) -> QFormat | None:
        """Return the format of a tensor of real numbers that a run computes; None where it stays real numbers.

        Raises
        ------
        FormatError
            If the tensor needs a format and has none. A run finds this only for a tensor whose element type the model
            does not declare; `assign_formats` finds it for all others.
        """
        fmt = self.activations.get(name)
        if fmt is None and not self.is_partial and name not in self.known and name not in self.joins:
            raise FormatError(f"no format for '{name}': name it in the formats, or give a qformat for the rest")
        return fmt

    def by_model_name(self) -> dict[str, Format]:
        """Return all formats by the names that the model gives its tensors."""
        activations = {name: fmt for name, fmt in self.activations.items() if name not in self._aliases}
        constants = {**self.constants, **self.shape_constants}
        joins = {name: fmt for name in self.joins if (fmt := self._joined(name)) is not None}
        return activations | joins | {self._model_name(name): fmt for name, fmt in constants.items()}

    def _joined(self, name: str) -> Format | None:
        """Return the format of a joined tensor; None where a part has none before its plan."""
        joined = self.joins[name]
        found = joined.given or [self.activations.get(n, self.constants.get(n)) for n in joined.parts]
        formats = tuple(fmt for fmt in found if isinstance(fmt, QFormat))
        return joined_format(formats, joined.axis) if len(formats) == len(joined.parts) else None

    def _model_name(self, name: str) -> str:
        return self._derived.get(name, name)


def assign_formats(subject: Formattable, request: FormatRequest) -> FormatTable:
    """Return the format of every tensor.

    A constant has one format, for all operators that read it and for all constants that passes computed from it.

    Parameters
    ----------
    subject
        The model.
    request
        Formats that the user requests.

    Raises
    ------
    FormatError
        If a name is unknown, a tensor has no format, or a group is given two.
    """
    model, optimized, known = subject.model, subject.optimized, subject.known
    user_formats = _parsed_formats(subject, request)
    stored: Mapping[str, Format] = (model.formats or {}) if request.qformat is None else {}
    whole = (
        {name for name, fmt in user_formats.items() if isinstance(fmt, QFormat)} | stored.keys() | known | model.whole
    )
    joins = {} if request.is_inner else _joins(joins_in_parts(model, whole), user_formats)
    groups = {name: group for name, group in subject.groups.items() if name not in joins}
    remaining, readers = subject.remaining, subject.readers
    named = {name: fmt for name, fmt in user_formats.items() if name not in request.around and name not in joins}
    _check_names(named, subject)
    is_partial = request.qformat is None and (model.formats is not None or request.is_partial)
    needed = set() if is_partial else subject.real - joins.keys()
    activations = _activation_formats(groups, user_formats, stored, request.qformat, needed)
    chooser = ConstantFormats(
        request.qformat,
        request.weight_qformat,
        request.per_channel,
        user_formats,
        stored if is_partial else None,
        activations,
        subject.all_readers,
        {**model.constants, **optimized.constants},
    )
    constants: dict[str, Format] = {}
    for name, found in readers.items():
        values = {n: optimized.constants[n] for n in found.names if n in optimized.constants}
        values = {n: value for n, value in values.items() if value.dtype.kind == "f"}
        chosen = chooser.choose(name, list(values.values())) if values else None
        if chosen is not None:
            constants |= dict.fromkeys(values, chosen)
    biases = {name: copies for name, copies in subject.biases.items() if name in user_formats}
    for name, copies in biases.items():
        given_forms = {n: chooser.bias(name, optimized.constants[n]) for n in copies}
        constants |= {n: fmt for n, fmt in given_forms.items() if fmt is not None}
    answered = (value.name for value in optimized.outputs if value.name in optimized.constants)
    constants |= {name: stored[name] for name in answered if name in stored and name not in constants}
    activations |= {name: activations[real] for name, real in model.aliases.items() if real in activations}
    computed = {name: fmt for name, fmt in activations.items() if name not in known}
    read = readers.keys() | biases.keys() | captured_tensors(optimized) | joins.keys()
    notes = _notes(user_formats, groups, remaining, read)
    if model.formats and not stored:
        notes = (f"{request.qformat} replaces the formats that the quantized model has", *notes)
    given = {name: user_formats.get(name, stored.get(name)) for name in known - optimized.constants.keys()}
    decided = {name: fmt for name, fmt in given.items() if isinstance(fmt, QFormat) and may_be_real(name, model)}
    aliases = frozenset(model.aliases)
    return FormatTable(
        computed,
        constants,
        notes,
        is_partial,
        known,
        decided,
        joins,
        frozenset(biases),
        chooser,
        optimized.derived,
        aliases,
    )


def _joins(nodes: Mapping[str, Node], user_formats: _UserFormats) -> dict[str, JoinedParts]:
    """Return the joined tensors that have a format for each part."""
    joins = {}
    for name, node in nodes.items():
        given = user_formats.get(name)
        assert not isinstance(given, QFormat)
        if given is not None and len(given) != len(node.inputs):
            parts = ", ".join(f"'{part}'" for part in node.inputs)
            raise FormatError(f"formats give '{name}' {len(given)} formats; give one, or one for each part: {parts}")
        joins[name] = JoinedParts(node.inputs, node.number("axis", 1), given)
    return joins


def _parsed_formats(subject: Formattable, request: FormatRequest) -> dict[str, QFormat | tuple[QFormat, ...]]:
    """Return the parsed formats of a request by the tensors of `model` that have them.

    Tensors of graphs in nodes (the branches of an If) are left out: each such graph has a table of its own.
    """
    model, inner = subject.model, subject.inner
    user_formats: dict[str, QFormat | tuple[QFormat, ...]] = {}
    for requested, fmt in request.formats.items():
        name = model.decoded.get(requested, requested)
        name = model.aliases.get(name, name)
        if name in inner:
            continue
        parsed = parse_format(requested, fmt)
        if user_formats.setdefault(name, parsed) != parsed:
            raise FormatError(
                f"'{requested}' and '{name}' are one tensor after quantization, and are given two formats"
            )
    return user_formats


def _check_names(user_formats: _UserFormats, subject: Formattable) -> None:
    """Raise FormatError for a name that is unknown, not quantized, or given formats per channel as an activation."""
    model, groups, tensors = subject.model, subject.groups, subject.tensors
    for name, fmt in user_formats.items():
        if name not in tensors:
            raise FormatError(f"formats name '{name}', and the model has no such tensor{did_you_mean(name, tensors)}")
        if name in groups:
            if not isinstance(fmt, QFormat):
                raise FormatError(f"formats give '{name}' {len(fmt)} formats; only weights have one per channel")
            continue
        read_as = subject.roles.get(name, set())
        if not may_be_real(name, model):
            why = "it holds no real numbers"
        elif read_as & {Role.DATA, Role.WEIGHTS} or name in subject.captured | subject.biases.keys():
            continue  # the graph in a node that captures a constant may read its elements
        elif Role.BIAS in read_as:
            why = "only a bias of a linear operator has a format, and one that is computed has that of its tensor"
        elif Role.KNOWN in read_as:
            why = "its elements decide shapes or options"
        else:
            why = "no operator reads its elements"
        raise FormatError(f"formats name '{name}', which is not quantized: {why}")


def _activation_formats(
    groups: Mapping[str, Group],
    user_formats: _UserFormats,
    stored: Mapping[str, Format],
    default: QFormat | None,
    needed: set[str],
) -> dict[str, QFormat]:
    """Return the format of each tensor by its group: the given one, else the stored one, else `default`.

    A group may have no format unless one of its members is in `needed`.
    """
    chosen: dict[int, QFormat | tuple[QFormat, ...] | None] = {}
    needed_groups: set[int] = set()
    for group in {id(group): group for group in groups.values()}.values():
        given_here = {member: user_formats[member] for member in sorted(group.members & user_formats.keys())}
        if len(set(given_here.values())) > 1:
            first = next(iter(given_here))
            second = next(other for other in given_here if given_here[other] != given_here[first])
            raise FormatError(
                f"'{first}' ({given_here[first]}) and '{second}' ({given_here[second]}) share one format: "
                "only format-preserving operators lie between them"
            )
        # All members of a group for which the quantized model stores a format have the same one.
        own = next((stored[member] for member in sorted(group.members & stored.keys())), default)
        chosen[id(group)] = next(iter(given_here.values()), own if isinstance(own, QFormat) else default)
        if needed & group.members:
            needed_groups.add(id(group))
    missing = [name for name, group in groups.items() if chosen[id(group)] is None and id(group) in needed_groups]
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing[:5])
        more = f" and {len(missing) - 5} more" if missing[5:] else ""
        raise FormatError(f"no format for {listed}{more}: name them in the formats, or give a qformat for the rest")
    forms = {name: chosen[id(group)] for name, group in groups.items()}
    return {name: fmt for name, fmt in forms.items() if isinstance(fmt, QFormat)}


def _notes(
    user_formats: _UserFormats, groups: Mapping[str, Group], remaining: set[str], read: set[str]
) -> tuple[str, ...]:
    """Return a note for each given format that has no effect.

    Parameters
    ----------
    remaining
        Tensors of the graph after the passes.
    read
        Constants and captured tensors that a run reads.
    """
    notes = []
    for name in user_formats:
        if name in groups and not remaining & groups[name].members:
            notes.append(f"the format of '{name}' has no effect: the tensor is fused into the operator after it")
        elif name not in groups and name not in read:
            notes.append(f"the format of '{name}' has no effect: no operator reads it during a run")
    return tuple(notes)
