"""The code of `kernels.recurrent.PackGates`."""

from collections.abc import Callable

from ..epilogue import LANES
from ..recurrent import PackGates
from .python_loops import elements


def python_kernel(spec: PackGates) -> Callable[..., None]:
    """Return the kernel."""
    items = elements("f32")

    def pack_gates(
        x: int, y: int, gates: int, hidden: int, length: int, padded: int, y_block: int, y_gate: int, y_item: int
    ) -> None:
        source, target = items(x), items(y)
        for gate in range(gates):
            for block in range((hidden + LANES - 1) // LANES):
                start = block * y_block + gate * y_gate
                for lane in range(LANES):
                    unit = block * LANES + lane
                    row = (gate * hidden + unit) * length
                    for k in range(padded):
                        inside = unit < hidden and k < length
                        target[start + k * y_item + lane] = source[row + k] if inside else 0.0

    return pack_gates
