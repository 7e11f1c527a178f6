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


def peak_rate(kind: FactorType, isa: Isa, seconds: float = 0.3) -> float:
    """Return the multiply-accumulates per second of one core, the best of ten measurements.

    Where an instruction set multiplies bytes with several instructions, it is the rate of those.
    """
    chains = min(CHAINS, max(isa.registers, 4))
    out = np.arange(1, 2 * LANES + 1, dtype=np.float32 if kind == "f32" else np.int32)
    arguments = np.array([1000, out.ctypes.data], np.int64)
    run, result, exception = ENTRY(addresses([Peak(kind, chains)], isa)[0]), ctypes.c_int64(), ctypes.c_void_p()

    def once(rounds: int) -> float:
        arguments[0] = rounds
        start = time.perf_counter()
        run(ctypes.addressof(result), ctypes.addressof(exception), arguments.ctypes.data)
        return time.perf_counter() - start

    once(1000)
    rounds = max(1000, int(20_000 * seconds / 10 / max(once(20_000), 1e-7)))
    best = min(once(rounds) for _ in range(10))
    return rounds * chains * LANES * (LANE_BYTES // ITEMSIZE[kind]) / best
