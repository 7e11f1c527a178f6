"""Custom operators in fixed point: nodes that a registered rule computes, codes from codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qengine.kernels.reference.requantize import Tally, new_tally
from qengine.model.custom import Custom, FixedPoint
from qengine.model.eager.single_node import declared_types
from qengine.model.formats.assign import FormatTable
from qengine.model.graph import Node, Value
from qengine.model.rules import Rules
from qengine.model.steps import Tensor
from qengine.runtime.values import RuntimeValue

_FLOAT = np.dtype(np.float32)


def perform(
    node: Node,
    op: Custom,
    inputs: Sequence[RuntimeValue],
    values: Mapping[str, Value],
    formats: FormatTable,
    rules: Rules,
    tallies: dict[str, Tally] | None,
) -> list[RuntimeValue]:
    """Return the outputs of a node.

    Parameters
    ----------
    node, op
        The node and its operator, which has a fixed-point rule.
    inputs
        Value for each name in `node.inputs`. Real numbers without a format are quantized as constants are.
    values
        Types and shapes that the model declares, by tensor name.
    formats, rules
        Formats and rules of the run.
    tallies
        Counts by tensor name, which the node's outputs are added to; None to count nothing.

    Raises
    ------
    QEngineError
        If the rule fails or returns no valid output. The message does not name the node.
    """
    counts: list[Tally | None] = [None] * len(node.outputs)
    if tallies is not None:
        counts = [tallies.setdefault(name, new_tally()) if name else None for name in node.outputs]
    types = declared_types(node, values)
    wanted = [formats.activations.get(name) for name in node.outputs]
    arithmetics = [rules.of("convert", name) for name in node.outputs]
    operands = [_operand(name, value, formats, rules) for name, value in zip(node.inputs, inputs, strict=True)]
    results = op.compute_fixed(node, operands, types, wanted, arithmetics, counts)
    real = next((value.dtype for value in inputs if value.dtype is not None and value.dtype.kind == "f"), _FLOAT)
    return [
        RuntimeValue(array, fmt, real_dtype=real if declared is None else declared)
        for (array, fmt), declared in zip(results, types, strict=True)
    ]


def _operand(name: str, value: RuntimeValue, formats: FormatTable, rules: Rules) -> Any:
    """Return an input as the argument of a rule: `FixedPoint` for codes, and any other value unchanged."""
    array, fmt = value.value, value.format
    if fmt is None and isinstance(array, np.ndarray) and array.dtype.kind == "f":
        fmt = formats.constant(name, array)
        encoding = rules.modes("constants", name)
        array = Tensor(name, array.dtype, array.shape, array, fmt, encoding=encoding).codes
    if fmt is None:
        return array
    return FixedPoint(array.astype(np.int64), Tensor(name, _FLOAT, array.shape, None, fmt).one_format)
