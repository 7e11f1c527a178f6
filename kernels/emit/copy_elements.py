"""The code of `kernels.strided_copy.CopyElements`."""

from ..isa import Isa
from ..strided_copy import CopyElements
from .loops import Arguments, counted
from .memory import Array
from .strided import each_stretch
from .vector import INTEGERS, load_scalar


def emit(spec: CopyElements, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    element, size = INTEGERS[spec.itemsize], spec.itemsize
    lanes = 64 // size
    with each_stretch(a, a.mid, ("x", "y")) as (first, end, (x, y)), counted(end, first) as j:
        source, target = x + j * a.x_mid, y + j * a.y_mid
        if not spec.repeats:
            with counted(a.inner) as i:
                load_scalar(source + i * a.x_inner, element).store(target + i * size)
        else:
            one, vectors = load_scalar(source, element), a.inner.divided_by(lanes)
            every, places = one.splat(lanes), Array(target, element)
            with counted(vectors) as i:
                every.store(target + i * 64)
            with counted(a.inner, vectors * lanes) as i:
                places.put(i, one)
