"""The few kinds of step that exist. Each knows its shape, its float kernel and its fixed-point kernel, once."""

from qengine.steps.combine import Combine
from qengine.steps.convert import Convert, FromCodes, Rounded, ToCodes
from qengine.steps.island import Island
from qengine.steps.join import Join
from qengine.steps.linear import Linear
from qengine.steps.mean import Mean
from qengine.steps.move import Move
from qengine.steps.resize import Resize
from qengine.steps.step import Arithmetic, Kernel, Step, Tensor, codes_of
from qengine.steps.table import Table

__all__ = [
    "Arithmetic",
    "Combine",
    "Convert",
    "FromCodes",
    "Island",
    "Join",
    "Kernel",
    "Linear",
    "Mean",
    "Move",
    "Resize",
    "Rounded",
    "Step",
    "Table",
    "Tensor",
    "ToCodes",
    "codes_of",
]
