"""Operators, rules and formats as plain data for the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.record import Operator
from qengine.deploy.vectors.sums import Sums, bounds
from qengine.kernels.reference.rounding_table import rounding_rule
from qengine.model.formats.files import format_to_json
from qengine.model.graph import Node
from qengine.model.ops.operator import find
from qengine.model.rules import Rules
from qengine.model.steps import Linear
from qengine.qformat import ChannelFormats, Format, PartFormats, QFormat

Array = NDArray[Any]

_MOST_NUMBERS = 64  # of an attribute


def plain(value: Any) -> Any:
    """Return rules, formats and numbers as data for JSON: a dataclass is an object, a set a sorted list."""
    if isinstance(value, QFormat | ChannelFormats | PartFormats):
        return format_to_json(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, set | frozenset):
        return sorted(plain(each) for each in value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def format_as_json(fmt: Format | None) -> dict[str, Any]:
    """Return the format of a tensor: its text, or those of channels or parts with the axis and the lengths of parts."""
    if fmt is None:
        return {"format": None}
    found: dict[str, Any] = {"format": format_to_json(fmt)}
    if not isinstance(fmt, QFormat):
        found["axis"] = fmt.axis
    if isinstance(fmt, PartFormats):
        found["lengths"] = list(fmt.lengths)
    return found


def rules_as_json(rules: Rules) -> dict[str, Any]:
    """Return the rules of a model."""
    found: dict[str, Any] = plain(rules)
    return found


def attributes_of(node: Node) -> dict[str, Any]:
    """Return the attributes of a node that are numbers or text."""
    return {name: plain(value) for name, value in sorted(node.attributes.items()) if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) <= _MOST_NUMBERS and all(isinstance(one, int | float | str) for one in value)
    return isinstance(value, int | float | str)


def window_of(operator: Operator) -> dict[str, Any]:
    """Return strides, dilations, pads, group and others, after all defaults; pads are pairs [before, after]."""
    step: Any = operator.bound_step.step if operator.bound_step else None
    for name in ("product", "total", "function"):
        form = getattr(step, name, None)
        if is_dataclass(form) and not isinstance(form, type):
            found = {f.name: getattr(form, f.name) for f in fields(form)}
            return {key: plain(value) for key, value in found.items() if _is_numbers(value)}
    return {}


def _is_numbers(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) <= _MOST_NUMBERS and all(map(_is_numbers, value))
    return isinstance(value, bool | int | float | str)


def activation_of(operator: Operator) -> dict[str, int] | None:
    """Return the bounds of a fused activation as codes; None without one."""
    bound_step = operator.bound_step
    if bound_step is None or getattr(bound_step.step, "activation", None) is None:
        return None
    if not isinstance(bound_step.output.format, QFormat):
        return None
    low, high = bounds(bound_step.step, bound_step.output)
    return {"low": low, "high": high}


def macs_of(operator: Operator) -> int | None:
    """Return the number of products that a linear operator sums; None for others."""
    step = None if operator.bound_step is None else operator.bound_step.step
    if operator.bound_step is None or not isinstance(step, Linear):
        return None
    filters = find(operator.bound_step.node).facts.filters
    return None if filters is None else filters.macs(operator.bound_step.node, step.x.shape, step.w.shape, step.shape)


def rounding_constants(rounding: str, shift: int) -> dict[str, int] | None:
    """Return c0, c1 and c2 of (a + c0 + (c1 & (a >> s)) + (c2 & (a < 0 ? -1 : 0))) >> s; None for no shift right."""
    if shift < 1:
        return None
    rule = rounding_rule(rounding)
    return {"c0": rule.base.of(shift), "c1": rule.parity.of(shift), "c2": rule.negative.of(shift)}


def shifts_of(sums: Sums | None) -> Any:
    """Return the number of bits that are dropped; a list for several, one for each channel; None without sums."""
    if sums is None:
        return None
    shift = np.asarray(sums.shift).reshape(-1)
    return int(shift[0]) if shift.size == 1 else shift.tolist()
