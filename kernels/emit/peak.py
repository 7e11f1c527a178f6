"""The code of `kernels.peak`."""

from typing import Any

from llvmlite import ir

from ..isa import Isa
from ..peak import VECTOR_BYTES, Peak
from .memory import inlined, unpacker
from .products import Products
from .sums import sum_over_taps
from .vector import F32, Vec, i64, load


def make(spec: Peak, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""

    def emit(b: ir.IRBuilder, rounds: ir.Value, out: ir.Value) -> None:
        products = Products(b, spec.kind, isa)

        places = [b.add(out, i64(VECTOR_BYTES * i)) for i in range(products.parts)]
        factors = [load(b, place, products.element) for place in places]
        # Where a product is an instruction of its own, LLVM would compute one that does not change just once.
        fused = isa.has_vnni or (products.element == F32 and "fma" in isa.requires)

        def add(tap: ir.Value, sums: list[ir.Value]) -> None:
            for place in sums:
                total = Vec(b, b.load(place))
                x = factors if fused else [total] * products.parts
                b.store(products.add(total, x, factors).v, place)

        start = load(b, out, products.element)
        sums = sum_over_taps(b, [start] * spec.chains, rounds, add)
        total = sums[0]
        for part in sums[1:]:
            total = total + part
        total.store(out)

    loop, unpack = inlined(emit), unpacker(len(spec.arguments))

    def peak(arguments):
        loop(unpack(arguments))

    return peak
