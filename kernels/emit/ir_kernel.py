"""Compilation of a kernel that is built as LLVM instructions: from `emit` to an object file, with llvmlite alone.

A kernel is one function of a module of its own. Its signature is `build.ENTRY`, which is also that of functions that
Numba compiles, so that a program calls all kernels alike; these kernels use the last parameter only.
"""

from functools import cache
from typing import Any, Protocol

import llvmlite.binding as llvm
from llvmlite import ir

from ..isa import Isa
from ..spec import Spec
from .loops import Arguments
from .vector import I8, I32, I64

_SIGNATURE = ir.FunctionType(I32, [I8.as_pointer(), I8.as_pointer(), I64.as_pointer()])


class Emit(Protocol):
    """Function that builds the code of a kernel."""

    def __call__(self, spec: Any, isa: Isa, a: Arguments, /) -> None:
        """Append the instructions of a kernel."""


def object_code(symbol: str, spec: Spec, isa: Isa, emit: Emit) -> bytes:
    """Return the object file of a kernel, whose function has the name `symbol`."""
    machine, builder = _target(isa)
    module = llvm.parse_assembly(_assembly(symbol, spec, isa, emit))
    module.data_layout = str(machine.target_data)
    module.verify()
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def _assembly(symbol: str, spec: Spec, isa: Isa, emit: Emit) -> str:
    """Return a module with the kernel as text."""
    module = ir.Module(symbol)
    module.triple = llvm.get_process_triple()
    function = ir.Function(module, _SIGNATURE, symbol)
    function.attributes.add("nounwind")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    emit(spec, isa, Arguments(b, spec, function.args[2]))
    b.ret(ir.Constant(I32, 0))
    return str(module)


@cache
def _target(isa: Isa) -> tuple[Any, Any]:
    """Return LLVM's machine for an instruction set, and what builds its list of optimizations."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    # Code that is loaded into a process is not position-independent on x86; constants may be far from it.
    reloc = "static" if target.name.startswith("x86") else "default"
    machine = target.create_target_machine(
        cpu=isa.cpu or "generic", features=isa.features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )
    # Level 3 also copies loops for each value of a condition: kernels are not faster, and it takes half as long again.
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    options.slp_vectorization = False
    return machine, llvm.create_pass_builder(machine, options)
