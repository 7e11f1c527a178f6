"""The code of `kernels.peak`."""

from typing import Any

from llvmlite import ir

from ..isa import Isa
from ..peak import Peak
from .memory import inlined, unpacker
from .products import Products
from .sums import sum_over_taps
from .vector import F32, I32, Vec, i64, splat, zeros


def make(spec: Peak, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""

    def emit(b: ir.IRBuilder, rounds: ir.Value, out: ir.Value) -> None:
        products = Products(b, spec.kind, isa)

        def vector(number: ir.Value) -> Vec:
            small = b.trunc(number, I32)
            return splat(b, b.sitofp(small, F32) if products.element == F32 else small)

        # Where a product is an instruction of its own, LLVM would compute products that do not change just once: each
        # has a factor of its own there, and one that is new in every round.
        fused = isa.has_vnni or (products.element == F32 and "fma" in isa.requires)
        factors = [vector(b.add(rounds, i64(i))) for i in range(spec.chains)]

        def add(tap: ir.Value, sums: list[ir.Value]) -> None:
            x = products.inputs(factors[0] if fused else vector(tap))
            for i, place in enumerate(sums):
                w = [factors[0 if fused else i]] * products.parts
                b.store(products.add(Vec(b, b.load(place)), x, w).v, place)

        sums = sum_over_taps(b, [zeros(b, products.element)] * spec.chains, rounds, add)
        total = sums[0]
        for part in sums[1:]:
            total = total + part
        total.store(out)

    loop, unpack = inlined(emit), unpacker(len(spec.arguments))

    def peak(arguments):
        loop(unpack(arguments))

    return peak
