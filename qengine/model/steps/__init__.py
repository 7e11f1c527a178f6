"""The kinds of step that a plan consists of.

A step computes one tensor from others. Each kind has one rule for the shape, one kernel in float32 and one in fixed
point; an operator of ONNX is spelled in these kinds, see `qengine.model.ops`. A new kind needs a rule in
docs/reference/fixed-point.md first.
"""

from qengine.model.steps.combine import Combine
from qengine.model.steps.convert import Convert, FromCodes, FromIntegers, Rounded, ToCodes
from qengine.model.steps.evaluated import Evaluated, Evaluation, FixedRule, RuleOf
from qengine.model.steps.island import Island
from qengine.model.steps.join import Join
from qengine.model.steps.linear import Linear
from qengine.model.steps.mean import Mean
from qengine.model.steps.move import Move
from qengine.model.steps.picking import Picking, picks_codes
from qengine.model.steps.resize import Resize
from qengine.model.steps.rows import Rows
from qengine.model.steps.step import ISLANDS, Kernel, Step, Tensor, codes_of
from qengine.model.steps.table import Table

__all__ = [
    "ISLANDS",
    "Combine",
    "Convert",
    "Evaluated",
    "Evaluation",
    "FixedRule",
    "FromCodes",
    "FromIntegers",
    "Island",
    "Join",
    "Kernel",
    "Linear",
    "Mean",
    "Move",
    "Picking",
    "Resize",
    "Rounded",
    "Rows",
    "RuleOf",
    "Step",
    "Table",
    "Tensor",
    "ToCodes",
    "codes_of",
    "picks_codes",
]
