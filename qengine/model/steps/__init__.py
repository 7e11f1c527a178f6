"""The few kinds of step that exist. Each knows its shape, its float kernel and its fixed-point kernel, once."""

from qengine.model.steps.combine import Combine
from qengine.model.steps.convert import Convert, FromCodes, Rounded, ToCodes
from qengine.model.steps.island import Island
from qengine.model.steps.join import Join
from qengine.model.steps.linear import Linear
from qengine.model.steps.mean import Mean
from qengine.model.steps.move import Move
from qengine.model.steps.resize import Resize
from qengine.model.steps.step import Arithmetic, Kernel, Step, Tensor, codes_of
from qengine.model.steps.table import Table

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
