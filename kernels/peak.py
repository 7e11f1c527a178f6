"""Peak rate of a core: the instruction that kernels are built on, and nothing else."""

import ctypes
import time
from dataclasses import dataclass

import numpy as np

from .build import ENTRY, addresses
from .dot import ITEMSIZE, LANE_BYTES, FactorType
from .epilogue import LANES
from .isa import Isa

CHAINS = 16


@dataclass(frozen=True)
class Peak:
    """Specification of a loop over independent sums of products in registers.

    Attributes
    ----------
    kind : products that are summed.
    chains : number of independent sums.
    """

    kind: FactorType
    chains: int

    emitter = "peak"
    arguments = ("rounds", "out")


class PeakLoop:
    """The loop of one type of factors, compiled; it is measured again and again, in turns with the kernels.

    Parameters
    ----------
    kind
        Products that are summed.
    isa
        Instruction set. Where it multiplies bytes with several instructions, the rate is that of those.
    """

    def __init__(self, kind: FactorType, isa: Isa) -> None:
        self._chains = min(CHAINS, max(isa.registers, 4))
        self._out = np.arange(1, 2 * LANES + 1, dtype=np.float32 if kind == "f32" else np.int32)
        self._arguments = np.array([1000, self._out.ctypes.data], np.int64)
        self._run = ENTRY(addresses([Peak(kind, self._chains)], isa)[0])
        self._sums = self._chains * LANES * (LANE_BYTES // ITEMSIZE[kind])
        self._seconds(1000)

    def rate(self, seconds: float, turns: int = 8) -> float:
        """Return the multiply-accumulates per second of one core: the best of some turns, which take these seconds."""
        rounds = max(1000, int(20_000 * seconds / turns / max(self._seconds(20_000), 1e-7)))
        return rounds * self._sums / min(self._seconds(rounds) for _ in range(turns))

    def _seconds(self, rounds: int) -> float:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        self._arguments[0] = rounds
        start = time.perf_counter()
        self._run(ctypes.addressof(result), ctypes.addressof(exception), self._arguments.ctypes.data)
        return time.perf_counter() - start
