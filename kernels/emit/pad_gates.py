"""The code of `kernels.recurrent.PadGates`."""

from collections.abc import Callable

from ..epilogue import LANES
from ..recurrent import PadGates
from .python_loops import elements


def python_kernel(spec: PadGates) -> Callable[..., None]:
    """Return the kernel."""
    items = elements("f32")

    def pad_gates(x: int, more: int, y: int, gates: int, hidden: int, added: int) -> None:
        source, second, target = items(x), items(more), items(y)
        units = (hidden + LANES - 1) // LANES * LANES
        for gate in range(gates):
            for unit in range(hidden):
                total = source[gate * hidden + unit]
                if gate < added:
                    total += second[gate * hidden + unit]
                target[gate * units + unit] = total
            for unit in range(hidden, units):
                target[gate * units + unit] = 0.0

    return pad_gates
