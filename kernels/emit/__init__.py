"""The code of the kernels, built as LLVM instructions. Imported only to compile.

Each module that builds a kernel has the name of a specification's `emitter` and a function `emit(spec, isa, a)`, which
builds it from its arguments `a`. They share `vector` (values and their operators), `loops`, `memory`, `products` and
`sums` (dots on each instruction set), `rounding` and `epilogue`.
"""
