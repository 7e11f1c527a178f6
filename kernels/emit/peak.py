"""The code of `kernels.peak`."""

from ..isa import Isa
from ..peak import VECTOR_BYTES, Peak
from .loops import Arguments
from .memory import Variable
from .products import Products
from .sums import sum_over_taps
from .vector import F32, Value, load


def emit(spec: Peak, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    products = Products(a.b, spec.kind, isa)
    factors = [load(a.out + VECTOR_BYTES * i, products.element) for i in range(products.parts)]
    # Where a product is an instruction of its own, LLVM would compute one that does not change just once.
    is_fused = isa.has_vnni or (products.element == F32 and "fma" in isa.requires)

    def add(tap: Value, sums: list[Variable]) -> None:
        for total in sums:
            x = factors if is_fused else [total.get()] * products.parts
            total.put(products.add(total.get(), x, factors))

    first, *others = sum_over_taps([load(a.out, products.element)] * spec.chains, a.rounds, add)
    for other in others:
        first = first + other
    first.store(a.out)
