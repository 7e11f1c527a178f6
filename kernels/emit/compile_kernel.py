"""Compilation of a kernel for an instruction set, which may differ from that of this CPU."""

import hashlib
from importlib import import_module

from ..isa import Isa
from ..spec import Spec
from . import ir_kernel


def compile_kernel(spec: Spec, isa: Isa) -> tuple[str, bytes]:
    """Return a kernel's symbol, which no other kernel has, and its object file."""
    module = import_module(f"{__package__}.{spec.emitter}")
    symbol = f"{spec.emitter}_{hashlib.sha256(f'{isa!r} {spec!r}'.encode()).hexdigest()[:24]}"
    if hasattr(module, "python_kernel"):
        from .python_loops import object_code  # imports Numba

        return object_code(symbol, spec, isa, module.python_kernel(spec))
    return symbol, ir_kernel.object_code(symbol, spec, isa, module.emit)
