"""The code of `kernels.elementwise.Composed`."""

from collections.abc import Callable

from ..elementwise import Composed
from ..isa import Isa
from .element import larger, smaller
from .function import FUNCTIONS, each_element, numbers
from .loops import Arguments
from .mathematics import Mathematics
from .vector import F32, F64, Value

_OPERATIONS: dict[str, Callable[[Value, Value], Value]] = {
    "add": lambda p, q: p + q,
    "subtract": lambda p, q: p - q,
    "multiply": lambda p, q: p * q,
    "divide": lambda p, q: p / q,
    "maximum": lambda p, q: larger(p, q, "f"),
    "minimum": lambda p, q: smaller(p, q, "f"),
}


def emit(spec: Composed, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    element = F32 if spec.element == "f32" else F64
    mathematics = Mathematics(isa)
    constants = numbers(a, element, 1 - min(0, *(place + 1 for _, places in spec.stages for place in places)))

    def compute(x: Value) -> Value:
        values = [x]
        for name, places in spec.stages:
            operands = [values[place] if place >= 0 else constants[-1 - place] for place in places]
            operation = _OPERATIONS.get(name)
            values.append(operation(*operands) if operation else FUNCTIONS[name](mathematics, *operands))
        return values[-1]

    each_element(a, element, compute)
