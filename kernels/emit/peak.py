"""The code of `kernels.peak`."""

from ..elements import VECTOR_BYTES
from ..isa import Isa
from ..peak import Peak
from .loops import Arguments
from .memory import Variable
from .products import Products
from .sums import sum_over_taps
from .vector import Value, load


def emit(spec: Peak, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    products = Products(a.b, spec.kind, isa)
    factors = [load(a.out + VECTOR_BYTES * i, products.element) for i in range(products.parts)]

    def add(tap: Value, sums: list[Variable]) -> None:
        for total in sums:
            # LLVM would compute a product that does not change just once.
            total.put(products.add(total.get(), [total.get()] * products.parts, factors))

    first, *others = sum_over_taps([load(a.out, products.element)] * spec.chains, a.rounds, add)
    for other in others:
        first = first + other
    first.store(a.out)
