"""Instruction sets that kernels are compiled for, and the choice among those that this CPU has."""

import os
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

VARIABLE = "QENGINE_ISA"
"""Environment variable that forces an instruction set."""


@dataclass(frozen=True)
class Isa:
    """Instruction set that kernels are compiled for.

    Attributes
    ----------
    name : name in QENGINE_ISA.
    cpu, features : LLVM's CPU and features.
    requires : features that a CPU must have, by LLVM's names.
    registers : number of vectors of 16 sums in 32 bits that a tile may hold; see `dot.sums_in_registers`.
    parts : number of registers that such a vector takes.
    adds_beside : whether the CPU shifts and adds on units of their own while others multiply.
    """

    name: str
    cpu: str
    features: str
    requires: tuple[str, ...]
    registers: int
    parts: int
    adds_beside: bool = False

    @property
    def has_vnni(self) -> bool:
        """Whether one instruction sums four products of bytes."""
        return "avx512vnni" in self.requires

    @property
    def has_fma(self) -> bool:
        """Whether one instruction multiplies and adds floats."""
        return "fma" in self.requires


AVX512VNNI = Isa(
    "avx512vnni",
    "x86-64-v4",
    "+avx512vnni,-prefer-256-bit",
    ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "avx512vnni", "fma"),
    28,
    1,
    adds_beside=llvm.get_host_cpu_name().startswith("znver"),
)
AVX2 = Isa("avx2", "x86-64-v3", "", ("avx2", "fma", "bmi2"), 6, 2)
GENERIC = Isa("generic", "", "", (), 2, 4)

BEST_FIRST = (AVX512VNNI, AVX2, GENERIC)
REFERENCE = "reference"
"""Name that chooses the reference kernels, in NumPy, instead of an instruction set."""


@cache
def available() -> tuple[Isa, ...]:
    """Return the instruction sets that this CPU has, best first; "generic" is always among them."""
    features = llvm.get_host_cpu_features()
    return tuple(isa for isa in BEST_FIRST if all(features.get(name) for name in isa.requires))


def choose(name: str | None) -> Isa | None:
    """Return the instruction set of a name, or None for the reference.

    Parameters
    ----------
    name
        Name of an instruction set or "reference"; None takes QENGINE_ISA or, if that is not set, the best of the CPU.

    Raises
    ------
    ValueError
        If no instruction set has that name, or this CPU does not have it.
    """
    wanted = os.environ.get(VARIABLE) or None if name is None else name
    if wanted is None:
        return available()[0]
    if wanted == REFERENCE:
        return None
    for isa in available():
        if isa.name == wanted:
            return isa
    known = wanted in {isa.name for isa in BEST_FIRST}
    listed = ", ".join((*(isa.name for isa in available()), REFERENCE))
    why = f"this CPU has no {wanted}" if known else f"no isa is named '{wanted}'"
    raise ValueError(f"{why}; here there are {listed}")
