"""Matching: which tensor of a model each tensor of a dump is, by name, by number, or by size."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from qengine.deploy.compare.decoding import Habit, bits_of, decode
from qengine.deploy.compare.dump import Array, DumpedTensor
from qengine.deploy.compare.layouts import layouts_of
from qengine.errors import DumpError, did_you_mean
from qengine.model.steps import Tensor

_AFFIXES = re.compile(
    r"^(?:dump|trace|tensor|layer|act|activation|output|out|node|t)_+|_+(?:0|out|output|dump|trace|codes?)$"
)


@dataclass(frozen=True, eq=False)
class Match:
    """A tensor of the dump that is one of the model.

    Attributes
    ----------
    dumped : tensor of the dump.
    name : name of the tensor of the model.
    by : "name", "number" or "size".
    """

    dumped: DumpedTensor
    name: str
    by: str


@dataclass(frozen=True, eq=False)
class Matches:
    """The tensors of the model that a dump holds.

    Attributes
    ----------
    found : match of each tensor of the model, by its name.
    unmatched : names in the dump that the model does not have.
    """

    found: Mapping[str, Match]
    unmatched: tuple[str, ...]


def match(
    dumped: Sequence[DumpedTensor],
    tensors: Mapping[str, Tensor],
    extra: Mapping[str, str],
    expected: Mapping[str, Array],
) -> Matches:
    """Return which tensors of the model those of a dump are.

    Parameters
    ----------
    dumped
        Tensors of a sample of the dump.
    tensors
        Tensors of the model in the order in which they are computed.
    extra
        Names of tensors elsewhere, such as those of a pack's files.
    expected
        Codes of the tensors of the model, by which tensors of one size differ.

    Raises
    ------
    DumpError
        If no tensor of the dump is one of the model.
    """
    found: dict[str, Match] = {}
    rest: list[DumpedTensor] = []
    by_spelling = _spellings(tensors, extra)
    for one in dumped:
        name = _by_name(one.name, tensors, by_spelling)
        if name is None or name in found:
            rest.append(one)
        else:
            found[name] = Match(one, name, "name")
    if not found:
        found = _by_number(rest, tensors)
        rest = [one for one in rest if all(one is not m.dumped for m in found.values())]
    if not found:
        found = _by_size(rest, tensors, expected)
        rest = [one for one in rest if all(one is not m.dumped for m in found.values())]
    if not found:
        raise DumpError(_nothing(dumped, tensors))
    order = {name: found[name] for name in tensors if name in found}
    return Matches(order, tuple(one.name or one.source for one in rest))


def spelled_alike(dumped: str, name: str, aliases: Mapping[str, str]) -> bool:
    """Whether a name in a dump is that of a tensor, as some tool spells it."""
    same = {spelling(name), spelling(name.rpartition("/")[2]), _core(name)}
    same |= {spelling(other) for other, tensor in aliases.items() if tensor == name}
    return dumped == name or not same.isdisjoint({spelling(dumped), spelling(dumped.rpartition("/")[2]), _core(dumped)})


def matching_names(dumped: Iterable[str], names: Iterable[str], aliases: Mapping[str, str]) -> list[str]:
    """Return those of some names of tensors that a dump has, in order."""
    spelled = {one for name in dumped for one in (name, spelling(name), spelling(name.rpartition("/")[2]), _core(name))}
    found = [name for name in names if not spelled.isdisjoint({name, spelling(name), _core(name)})]
    found += [name for other, name in aliases.items() if name in set(names) and spelling(other) in spelled]
    return sorted(dict.fromkeys(found))


def _spellings(tensors: Mapping[str, Tensor], extra: Mapping[str, str]) -> dict[str, str | None]:
    """Return the tensor of each spelling of a name; None where several have it."""
    found: dict[str, str | None] = {}
    for name in tensors:
        for key in {spelling(name), spelling(name.rpartition("/")[2]), _core(name)}:
            found[key] = None if key in found and found[key] != name else name
    for other, name in extra.items():
        if name in tensors:
            found[spelling(other)] = name
    return found


def spelling(name: str) -> str:
    """Return a name as C spells it, in small letters."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _core(name: str) -> str:
    """Return a plain name without what dumps put before and after names."""
    plain = re.sub(r"^\d+_+", "", spelling(name))
    while (shorter := _AFFIXES.sub("", plain)) != plain and shorter:
        plain = shorter
    return plain


def _by_name(name: str, tensors: Mapping[str, Tensor], spellings: Mapping[str, str | None]) -> str | None:
    if name in tensors:
        return name
    for key in (spelling(name), spelling(name.rpartition("/")[2]), _core(name)):
        if key and spellings.get(key) is not None:
            return spellings[key]
    return None


def _fits(one: DumpedTensor, tensor: Tensor) -> bool:
    """Whether some reading of a dumped tensor has the size of a tensor, in a layout without gaps between rows."""
    size = prod(tensor.shape)
    for reading in one.readings(bits_of(tensor), size):
        if any(one.is_exact for one in layouts_of(tensor.shape, reading.numbers.size)):
            return True
    return False


def _by_number(dumped: Sequence[DumpedTensor], tensors: Mapping[str, Tensor]) -> dict[str, Match]:
    """Return the matches by number, where one start of the count makes all sizes fit."""
    numbered = [one for one in dumped if one.number is not None]
    if not numbered or len({one.number for one in numbered}) < len(numbered):
        return {}
    names = list(tensors)
    for first in (0, 1, -1, 2):
        pairs = [(one, (one.number or 0) - first) for one in numbered]
        if all(0 <= at < len(names) and _fits(one, tensors[names[at]]) for one, at in pairs):
            return {names[at]: Match(one, names[at], "number") for one, at in pairs}
    return {}


def _by_size(
    dumped: Sequence[DumpedTensor], tensors: Mapping[str, Tensor], expected: Mapping[str, Array]
) -> dict[str, Match]:
    """Return for each dumped tensor the one of the model with its size whose codes are the most alike."""
    found: dict[str, Match] = {}
    for one in dumped:
        names = [name for name, tensor in tensors.items() if name not in found and _fits(one, tensor)]
        shares = {name: _share(one, tensors[name], expected[name]) for name in names if name in expected}
        if shares:
            best = max(shares, key=lambda name: shares[name])
            found[best] = Match(one, best, "size")
    return found


def _share(one: DumpedTensor, tensor: Tensor, expected: Array) -> float:
    try:
        return decode(one, tensor, expected, Habit()).share
    except DumpError:
        return 0.0


def _nothing(dumped: Sequence[DumpedTensor], tensors: Mapping[str, Tensor]) -> str:
    names = [one.name for one in dumped if one.name]
    listed = ", ".join(f"'{name}'" for name in names[:4]) + (", ..." if len(names) > 4 else "")
    wanted = ", ".join(f"'{name}' {list(t.shape)}" for name, t in list(tensors.items())[:4])
    more = f" and {len(tensors) - 4} more" if len(tensors) > 4 else ""
    hint = did_you_mean(names[0], tensors) if names else ""
    return (
        f"no tensor of the dump is one of the model, by name, number or size: it has {listed}; "
        f"the model has {wanted}{more}{hint}"
    )
