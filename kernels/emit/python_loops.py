"""Compilation of kernels that are plain Python: functions with loops over memory, which Numba compiles.

Vector kernels are built instruction by instruction, because LLVM alone does not find the code that they need. Where a
kernel is irregular (it sorts, follows a tree, jumps by indices) there is nothing to find, and a Python function with
loops is easier to read. The module of such a kernel has `python_kernel(spec)` in the place of `emit`. It returns a
function of the addresses and numbers of `spec.arguments`, in their order:

    def python_kernel(spec: TopK) -> Callable[..., None]:
        items = elements(spec.element)  # turns an address into memory that can be indexed

        def top_k(x: int, y: int, rows: int) -> None:
            source, target = items(x), items(y)
            for r in range(rows): ...

        return top_k

The function may use integers, floats, comparisons, `range`, `while` and `math.sqrt`, and what it closes over. It may
not use NumPy, `min`, `max` or other functions that Numba itself compiles: that code would be for another instruction
set. It must not allocate; memory that it needs comes as an argument (`scratch`).
"""

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import compiler, config, cpu, types, typing
from numba.extending import intrinsic

from ..isa import Isa
from ..spec import Spec

_ARGUMENTS = types.CPointer(types.int64)

ELEMENTS: dict[str, Any] = {
    **{"b8": types.uint8, "i8": types.int8, "u8": types.uint8, "i16": types.int16, "u16": types.uint16},
    **{"i32": types.int32, "u32": types.uint32, "i64": types.int64, "u64": types.uint64},
    **{"f32": types.float32, "f64": types.float64},
}
"""Numba's type of an element by its type as kernels name it."""


@cache
def elements(element: str) -> Callable[[int], Any]:
    """Return the function that turns an address into elements of a type: `elements("f32")(x)[i]`."""
    target = types.CPointer(ELEMENTS[element])

    @intrinsic
    def at(_: Any, address: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
            return b.inttoptr(values[0], context.get_value_type(target))

        return target(types.int64), codegen

    return at


@cache
def _target(isa: Isa) -> tuple[Any, Any]:
    """Return Numba's typing and target contexts for an instruction set."""
    before = config.CPU_NAME, config.CPU_FEATURES
    config.CPU_NAME, config.CPU_FEATURES = isa.cpu or "generic", isa.features
    try:
        typing_context = typing.Context()
        return typing_context, cpu.CPUContext(typing_context)
    finally:
        config.CPU_NAME, config.CPU_FEATURES = before


def object_code(symbol: str, spec: Spec, isa: Isa, function: Callable[..., None]) -> tuple[str, bytes]:
    """Return the symbol and the object file of a kernel.

    Parameters
    ----------
    symbol
        Name of the function, which the symbol contains.
    spec, isa
        Specification and instruction set.
    function
        The function that `python_kernel(spec)` of the module returned.
    """
    assert tuple(inspect.signature(function).parameters) == spec.arguments, spec
    flags = compiler.Flags()
    flags.nrt = False  # no kernel allocates
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    typing_context, target_context = _target(isa)
    count = len(spec.arguments)
    listed = ", ".join(f"a[{i}]" for i in range(count))
    scope: dict[str, Any] = {"body": njit(inline="always")(function)}
    exec(f"def {symbol}(a):\n    body({listed})\n", scope)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = compiler.compile_extra(
            typing_context, target_context, scope[symbol], (_ARGUMENTS,), types.void, flags, {}
        )
    return result.fndesc.llvm_func_name, bytes(result.library._get_compiled_object())
