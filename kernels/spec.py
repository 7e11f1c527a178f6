"""The specification of a kernel: everything that its machine code depends on."""

from typing import Protocol


class Spec(Protocol):
    """Frozen dataclass of plain values that a kernel is compiled for.

    Two specs with the same `repr` are the same kernel: the cache of machine code is keyed by it.
    """

    @property
    def emitter(self) -> str:
        """The name of the module in `kernels.emit` whose `emit(spec, isa, arguments)` builds the kernel."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the kernel's arguments in order; each is a 64-bit integer."""
