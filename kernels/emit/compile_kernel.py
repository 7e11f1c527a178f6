"""Compilation of a kernel for an instruction set, which may differ from the one that Numba would choose."""

import warnings
from functools import cache
from importlib import import_module
from typing import Any

from llvmlite import ir
from numba.core import compiler, config, cpu, types, typing
from numba.extending import intrinsic

from ..isa import Isa
from ..spec import Spec
from .loops import Arguments

_ARGUMENTS = types.CPointer(types.int64)


@cache
def _target(isa: Isa) -> tuple[Any, Any]:
    """Return Numba's typing and target contexts for an instruction set.

    Numba compiles its own Python code (min, overloads) for its own target only, so kernels do not use that code.
    """
    before = config.CPU_NAME, config.CPU_FEATURES
    config.CPU_NAME, config.CPU_FEATURES = isa.cpu or "generic", isa.features
    try:
        typing_context = typing.Context()
        return typing_context, cpu.CPUContext(typing_context)
    finally:
        config.CPU_NAME, config.CPU_FEATURES = before


def _function(spec: Spec, isa: Isa) -> Any:
    """Return a kernel as a Python function for Numba, which takes the address of the arguments."""
    emit = import_module(f"{__package__}.{spec.emitter}").emit

    @intrinsic
    def body(_: Any, arguments: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
            emit(spec, isa, Arguments(b, spec, values[0]))
            return context.get_dummy_value()

        return types.void(arguments), codegen

    def kernel(arguments: Any) -> None:
        body(arguments)

    kernel.__qualname__ = spec.emitter
    return kernel


def compile_kernel(spec: Spec, isa: Isa) -> tuple[str, bytes]:
    """Return a kernel's symbol and its object file."""
    module = import_module(f"{__package__}.{spec.emitter}")
    if hasattr(module, "python_kernel"):
        from .python_loops import compile_function

        return compile_function(module.python_kernel(spec), spec, isa)
    flags = compiler.Flags()
    flags.nrt = False  # no kernel allocates
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    typing_context, target_context = _target(isa)
    function = _function(spec, isa)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = compiler.compile_extra(typing_context, target_context, function, (_ARGUMENTS,), types.void, flags, {})
    return result.fndesc.llvm_func_name, bytes(result.library._get_compiled_object())
