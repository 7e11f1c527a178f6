"""net_weights.c: the constant arrays, each with what it is."""

from __future__ import annotations

from collections.abc import Sequence

from qengine.deploy.c.emit.arrays import array_text
from qengine.deploy.c.emit.stamp import Stamp, plain
from qengine.deploy.c.ir import Constant, CType


def linked(constants: Sequence[Constant]) -> list[Constant]:
    """Return the constants that the compiler does not see where it compiles kernels."""
    return [c for c in constants if not c.is_visible]


def externs(constants: Sequence[Constant], name: str) -> str:
    """Return the declarations of constants as C, also for C++."""
    lines = [
        f"extern const {CType.of(c.array.dtype).name} {name}_{c.c_name}[{max(c.array.size, 1)}];"
        for c in linked(constants)
    ]
    return as_c("\n".join([*lines, ""])) if lines else ""


def as_c(text: str) -> str:
    """Return text between lines that make C++ read it as C."""
    return f'#ifdef __cplusplus\nextern "C" {{\n#endif\n\n{text}\n#ifdef __cplusplus\n}}\n#endif\n'


def weights(constants: Sequence[Constant], name: str, stamp: Stamp) -> str:
    """Return the text of net_weights.c."""
    parts = [f"/* {plain(c.comment)} */\n{array_text(name, c)}" for c in linked(constants)]
    title = f"{name}_weights.c: weights and tables, {sum(c.array.nbytes for c in linked(constants)):,} bytes."
    if not parts:
        parts = [f"/* The network has none here. */\ntypedef int {name}_no_weights;\n"]
    declared = externs(constants, name)
    return f"{stamp.c(title)}#include <stdint.h>\n\n{declared}\n" + "\n".join(parts)
