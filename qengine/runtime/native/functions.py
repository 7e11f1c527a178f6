"""Functions of one variable: tables of codes, and some that are computed in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.elementwise import Function, Lookup
from qengine.kernels.epilogue import LANES
from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.model.steps import Arithmetic, Table, Tensor
from qengine.model.steps.forms import Curve
from qengine.runtime.native.linear import Want
from qengine.runtime.native.op import Op, Rows, Unfit
from qengine.runtime.native.place import Address, Place, View


@dataclass(eq=False)
class LookupOp(Op):
    """A table, entries in the order of stored codes."""

    entries: NDArray[Any]

    def __post_init__(self) -> None:
        self._entries = self.aligned(self.entries)
        self.kernel = "table"

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return float(prod(self.out.shape))

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (place,) = views, self.inputs
        arguments: dict[str, Address] = {
            **{"table": self._entries, "batch": place.shape[0], "blocks": place.layout.blocks, "rows": rows.count},
            **{"items": place.layout.row_items},
            **x.arguments("x", rows.first),
            **out.arguments("y", rows.first),
        }
        return [Call(Lookup(place.stored, self.out.stored), arguments)]  # type: ignore[arg-type]


@dataclass(eq=False)
class FunctionOp(Op):
    """A function of float32."""

    function: Curve

    def __post_init__(self) -> None:
        numbers = np.zeros(2, np.float32)
        numbers[: len(self.function.numbers)] = self.function.numbers
        self._numbers = self.keep(numbers)
        self.kernel = self.function.name

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return 2.0 * prod(self.out.shape)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (place,) = views, self.inputs
        items = place.layout.row_items
        arguments: dict[str, Address] = {
            **{"numbers": self._numbers, "batch": place.shape[0], "blocks": place.layout.blocks, "rows": rows.count},
            **{"vectors": items // LANES, "rest": items % LANES},
            **x.arguments("x", rows.first),
            **out.arguments("y", rows.first),
        }
        return [Call(Function(self.function.name), arguments)]


def lower_table(step: Table, out: Tensor, arithmetic: Arithmetic, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a function of one variable; see `lower_linear`."""
    if out.format is None:
        if not isinstance(step.function, Curve):
            raise Unfit("a function of float32")
        x = want(step.x)
        return [FunctionOp(isa, (x,), Place.of(out, x.block), step.function)]
    x = want(step.x)
    entries = step.entries(out, arithmetic)
    place = Place.of(out, x.block, int(entries.min()), int(entries.max()))
    stored = {"u8": np.uint8, "i16": np.int16}[place.stored]
    source = step.x.one_format.word()
    size = 256 if x.stored == "u8" else 65536
    table = np.full(size, place.zero, stored)
    first = source.least + x.zero + (0 if x.stored == "u8" else 32768)
    table[first : first + len(entries)] = (entries.astype(np.int64) + place.zero).astype(stored)
    return [LookupOp(isa, (x,), place, table)]
