"""Functions of one variable: a table of the codes of the output for the codes that the input can hold."""

from __future__ import annotations

from qengine.deploy.c.ir import Call, Operation
from qengine.deploy.c.lowering import Context, lowers
from qengine.model.steps import Table


@lowers(Table)
def lower_table(context: Context) -> Operation:
    """Return a lookup of each element."""
    step, y = context.step, context.y
    x = context.tensors[step.x.name]
    entries, _, _ = step.table(context.out, context.arithmetic)
    least, most = x.ends
    first = step.x.one_format.word().least
    table = context.constant("table", entries[least - first : most - first + 1], f"codes {least} to {most} of {x.name}")
    types = {"x": x.dtype, "y": y.dtype}
    assert x.order == y.order
    call = Call("table", types, (x, table, y), {"size": x.size, "least": least})
    return context.operation(call, overlap=(0 if x.dtype.itemsize >= y.dtype.itemsize else None,))
