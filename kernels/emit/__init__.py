"""The kernels' code: Numba functions around loops that are built as LLVM vectors. Imported only to compile."""
