"""Calls that several lowerings make: copies and fills."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from qengine.deploy.c.ir import Argument, Call, Constant, CTensor, Part, Scratch
from qengine.deploy.c.lowerings.nests import COPY_AXES, Nest


def element_type(a: Argument) -> np.dtype[Any]:
    """Return the element type of a pointer."""
    assert a is not None
    return a.array.dtype if isinstance(a, Constant) else a.dtype


def copy_calls(x: Argument, y: CTensor | Scratch, nest: Nest, offsets: tuple[int, int] = (0, 0)) -> tuple[Call, ...]:
    """Return the call that copies elements of a nest with the steps of x and of y; more where it has many axes."""
    from_x, to_y = nest.steps
    types = {"x": element_type(y)}
    given = offsets if any(offsets) else ()
    if from_x == to_y and from_x in ((), (1,)):
        return (Call("copy", types, (x, y), {"size": prod(nest.lengths)}, given),)
    if len(nest.lengths) > COPY_AXES:
        inner = Nest(nest.lengths[1:], (from_x[1:], to_y[1:]))
        starts = [(offsets[0] + i * from_x[0], offsets[1] + i * to_y[0]) for i in range(nest.lengths[0])]
        return tuple(call for start in starts for call in copy_calls(x, y, inner, start))
    missing = COPY_AXES - len(nest.lengths)
    numbers = {f"n{i}": n for i, n in enumerate((1,) * missing + nest.lengths)}
    numbers |= {f"x{i}": s for i, s in enumerate((0,) * missing + from_x)}
    numbers |= {f"y{i}": s for i, s in enumerate((0,) * missing + to_y)}
    return (Call("rearrange", types, (x, y), numbers, given),)


def whole_copies(calls: Sequence[Call]) -> tuple[Part, ...]:
    """Return the parts of an output that are whole inputs, where each call writes elements of its own."""
    found = []
    for call in calls:
        x, *_, y = call.arguments
        before_x, *_, before_y = call.offsets or (0, 0)
        is_whole = call.kernel == "copy" and isinstance(x, CTensor) and call.numbers["size"] == x.size and not before_x
        if is_whole and isinstance(y, CTensor):
            assert isinstance(x, CTensor)
            found.append(Part(x, before_y, call))
    return tuple(found)


def fill_call(y: CTensor, value: int, nest: Nest, offset: int = 0) -> Call:
    """Return the call that writes one number to the elements of a nest with the steps of y."""
    return Call("fill", {"y": y.dtype}, (y,), {**nest.numbers("y"), "value": value}, (offset,) if offset else ())
