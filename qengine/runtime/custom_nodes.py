"""A node of a registered operator in fixed point: by its rule, on codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qengine.kernels.reference.requantize import Tally, new_tally
from qengine.model.custom import Custom, FixedPoint
from qengine.model.eager.single_node import declared_types
from qengine.model.formats.assign import FormatTable
from qengine.model.graph import Node, Value
from qengine.model.steps import Arithmetic, Tensor
from qengine.runtime.control_flow import Held

_FLOAT = np.dtype(np.float32)


def perform(
    node: Node,
    op: Custom,
    inputs: Sequence[Held],
    values: Mapping[str, Value],
    formats: FormatTable,
    arithmetic: Arithmetic,
    tallies: dict[str, Tally] | None,
) -> list[Held]:
    """Return the outputs of a node.

    Parameters
    ----------
    node, op
        What to compute; the operator has a rule.
    inputs
        One for each name in `node.inputs`. Real numbers without a format become codes as constants do.
    values
        What the model says of tensors.
    formats, arithmetic
        Of the run.
    tallies
        Where given, it gets for every output what was counted.

    Raises
    ------
    QEngineError
        If the rule fails, or gives what is no output; without the node's name.
    """
    counted: list[Tally | None] = [None] * len(node.outputs)
    if tallies is not None:
        counted = [tallies.setdefault(name, new_tally()) if name else None for name in node.outputs]
    types = declared_types(node, values)
    wanted = [formats.activations.get(name) for name in node.outputs]
    operands = [_operand(name, held, formats) for name, held in zip(node.inputs, inputs, strict=True)]
    found = op.compute_fixed(node, operands, types, wanted, arithmetic, counted)
    real = next((held.dtype for held in inputs if held.dtype is not None and held.dtype.kind == "f"), _FLOAT)
    return [
        Held(array, form, real=real if declared is None else declared)
        for (array, form), declared in zip(found, types, strict=True)
    ]


def _operand(name: str, held: Held, formats: FormatTable) -> Any:
    """Return an input as a rule gets it."""
    value, form = held.value, held.format
    if form is None and isinstance(value, np.ndarray) and value.dtype.kind == "f":
        form = formats.constant(name, value)
        value = Tensor(name, value.dtype, value.shape, value, form).codes
    if form is None:
        return value
    return FixedPoint(value.astype(np.int64), Tensor(name, _FLOAT, value.shape, None, form).one_format)
