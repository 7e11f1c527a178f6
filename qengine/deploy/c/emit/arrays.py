"""Arrays of constants as text."""

from __future__ import annotations

import numpy as np

from qengine.deploy.c.ir import Constant, CType
from qengine.deploy.c.kernel_text import literal

_LINE = 12  # numbers on a line


def array_text(prefix: str, constant: Constant) -> str:
    """Return the definition of an array of constants."""
    numbers = constant.array.astype(np.uint8).tolist() if constant.array.dtype.kind == "b" else constant.array.tolist()
    is_plain = constant.array.dtype.itemsize == 1  # millions of weights need no suffixes
    values = ([str(int(v)) for v in numbers] if is_plain else [literal(int(v)) for v in numbers]) or ["0"]
    rows = [", ".join(values[i : i + _LINE]) for i in range(0, len(values), _LINE)]
    inner = ",\n    ".join(rows)
    return (
        f"const {CType.of(constant.array.dtype).name} {prefix}_{constant.c_name}[{len(values)}] = {{\n    {inner}}};\n"
    )
