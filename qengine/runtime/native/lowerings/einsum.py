"""Lowering of Einsum of two tensors of real numbers: a stack of products of matrices.

Labels of both operands that the result has count matrices, labels of both that it has not are summed, and the others
are rows or columns. Where a group of labels lies in memory like one axis, the product reads the tensor in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from qengine.model.eager.evaluators.einsum import Label, labels_of, lengths_of
from qengine.model.steps import Evaluated
from qengine.model.steps.moves import Strided
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.matrix_product import Stack, product_ops, stack_of
from qengine.runtime.native.op import Op
from qengine.runtime.native.strided_copies import copy_view
from qengine.runtime.native.tensor_buffer import TensorBuffer

Labels = tuple[Label, ...]


@dataclass(frozen=True)
class _Groups:
    """Labels of a product: those that count matrices, rows, columns, and those that are summed over."""

    stack: Labels
    rows: Labels
    columns: Labels
    summed: Labels

    @classmethod
    def of(cls, a: Labels, b: Labels, result: Labels) -> _Groups:
        """Return the groups, in the order of the result; raise NotLowered where labels are none of the four."""
        if any(len(set(labels)) != len(labels) for labels in (a, b)):
            raise NotLowered("a diagonal in an equation")
        stack = tuple(one for one in result if one in a and one in b)
        rows, columns = (tuple(one for one in result if one in own and one not in stack) for own in (a, b))
        summed = tuple(one for one in a if one in b and one not in result)
        if {*a, *b, *result} != {*stack, *rows, *columns, *summed}:
            raise NotLowered("a sum over one operand in an equation")
        return cls(stack, rows, columns, summed)


@lowers_plain(Evaluated, "Einsum")
def lower_einsum(context: PlainContext[Evaluated]) -> Lowered:
    """Lower an equation of one tensor, whose axes are put in order, or of two, which are multiplied."""
    tensors, out = context.step.operands, TensorBuffer.plain(context.out)
    equation = str(context.step.evaluation.node.attributes["equation"])
    if len(tensors) > 2 or out.stored not in ("f32", "f64") or any(t.dtype != context.out.dtype for t in tensors):
        raise NotLowered(f"an equation of {len(tensors)} tensors of {context.out.dtype}")
    terms, result = labels_of(equation, [t.ndim for t in tensors])
    lengths = lengths_of(terms, [t.shape for t in tensors], equation)
    if any(
        n != lengths[label]
        for term, t in zip(terms, tensors, strict=True)
        for label, n in zip(term, t.shape, strict=True)
    ):
        raise NotLowered("an axis that broadcasts in an equation")
    views = [Strided.whole(t.shape) for t in tensors]
    if len(tensors) == 1:
        if sorted(map(str, terms[0])) != sorted(map(str, result)) or len(set(result)) != len(result):
            raise NotLowered("a sum over one operand in an equation")
        return Lowered.by(
            copy_view(context.isa, context.request(tensors[0]), _ordered(views[0], terms[0], result), out)
        )
    a, b = terms
    first, second = (context.request(t) for t in tensors)
    groups = _Groups.of(a, b, result)
    whole = Strided.whole(context.out.shape)
    if groups.columns and groups.columns[-1] != result[-1] and groups.rows:  # columns lie side by side in the result
        a, b, first, second, views = b, a, second, first, views[::-1]
        groups = _Groups(groups.stack, groups.columns, groups.rows, groups.summed)
    ops: list[Op] = []
    x = _stack(context, ops, first, views[0], a, (groups.stack, groups.rows, groups.summed))
    w = _stack(context, ops, second, views[1], b, (groups.stack, groups.summed, groups.columns))
    order = (*groups.stack, *groups.rows, *groups.columns)
    y = stack_of(out, _ordered(whole, result, order), (len(groups.stack), len(groups.rows)))
    size = (_count(lengths, groups.rows), _count(lengths, groups.summed), _count(lengths, groups.columns))
    if y is not None and (y.column == 1 or size[2] == 1):
        return Lowered((*ops, *product_ops(context.isa, x, w, y, size)), (out,))
    between = TensorBuffer(f"{out.name} (in order of the product)", out.shape, out.stored, 1)
    ops += product_ops(context.isa, x, w, between, size)
    shape = tuple(lengths[label] for label in order)
    return Lowered((*ops, copy_view(context.isa, between, _ordered(Strided.whole(shape), order, result), out)), (out,))


def _count(lengths: dict[Label, int], labels: Labels) -> int:
    return prod(lengths[label] for label in labels)


def _ordered(view: Strided, labels: Labels, order: Labels) -> Strided:
    """Return a view with its axes in the order of labels."""
    return view.transposed(tuple(labels.index(label) for label in order))


def _stack(
    context: PlainContext[Evaluated],
    ops: list[Op],
    buffer: TensorBuffer,
    view: Strided,
    labels: Labels,
    groups: Sequence[Labels],
) -> Stack:
    """Return an operand as a stack of matrices, copied where it does not lie like one."""
    stack, rows, columns = groups
    ordered = _ordered(view, labels, (*stack, *rows, *columns))
    axes = len(stack), len(rows)
    found = stack_of(buffer, ordered, axes)
    if found is None:
        copy = TensorBuffer.flat(f"{buffer.name} {labels}", prod(view.shape), buffer.stored)
        ops.append(copy_view(context.isa, buffer, ordered, copy))
        found = stack_of(copy, Strided.whole(ordered.shape), axes)
    assert found is not None
    return found
