"""Steps of float32 that native kernels compute together: a product of matrices and the bias that is added to it.

Exporters write a linear layer as MatMul and Add, which a pass makes one operator where the weights are constant. Where
both factors are computed, they are two steps, each of which rounds in fixed point. In float32 the kernel of the product
adds a row to its result at no cost, so the two become one step before a plan is lowered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

from qengine.model.steps import Combine, Linear, Tensor
from qengine.model.steps.forms import MatrixProduct
from qengine.runtime.plan.plan import BoundStep, Plan

_REALS = ("float32", "float64")


def fuse_biases(plan: Plan) -> Plan:
    """Return a plan in which products of matrices add the constant rows that are added to them."""
    if plan.fixed is not None:
        return plan
    readers = Counter(s for step in plan.steps for s in step.sources if isinstance(s, str))
    products: dict[str, int] = {}  # place of the product that computes a tensor with one reader
    steps: list[BoundStep | None] = []
    for bound_step in plan.steps:
        place = _product_before(bound_step, products)
        product = None if place is None else steps[place]
        if place is not None and product is not None:
            steps[place] = None
            bound_step = _with_bias(product, bound_step)
        name = bound_step.output.name
        if _takes_bias(bound_step) and readers[name] == 1 and name not in plan.outputs:
            products[name] = len(steps)
        steps.append(bound_step)
    return replace(plan, steps=tuple(step for step in steps if step is not None))


def _takes_bias(bound_step: BoundStep) -> bool:
    step = bound_step.step
    if not isinstance(step, Linear) or not isinstance(step.product, MatrixProduct):
        return False
    return step.b is None and step.activation is None and str(step.dtype) in _REALS


def _product_before(bound_step: BoundStep, products: dict[str, int]) -> int | None:
    """Return the place of the product that a step adds a constant row to; None for other steps."""
    step = bound_step.step
    if not isinstance(step, Combine) or step.operation != "add" or len(step.terms) != 2:
        return None
    row = next((t for t in step.terms if t.value is not None), None)
    place = next((products[t.name] for t in step.terms if t.name in products), None)
    if row is None or place is None or step.shape[-1:] != row.shape[-1:] or prod(row.shape[:-1]) != 1:
        return None
    same = [t for t in step.terms if t.name in products]
    return place if same and same[0].shape == step.shape and same[0].dtype == row.dtype else None


def _with_bias(product: BoundStep, addition: BoundStep) -> BoundStep:
    """Return one step for a product and the addition of a constant row."""
    linear, combine = product.step, addition.step
    assert isinstance(linear, Linear)
    assert isinstance(combine, Combine)
    row: Tensor = next(t for t in combine.terms if t.value is not None)
    assert row.value is not None
    shape = row.shape[-1:]
    bias = replace(row, shape=shape, value=row.value.reshape(shape))
    step = replace(linear, b=bias, bias_shape=shape, activation=combine.activation)
    return replace(addition, step=step, kernel=step.float32())
