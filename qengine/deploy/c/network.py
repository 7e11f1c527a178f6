"""The network in C of a session: the plan for fixed shapes, step by step.

What C cannot compute is collected over all steps, so that a user sees every reason at once, before a file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Call, CNetwork, Constant, CTensor, Operation, Part, Place, View
from qengine.deploy.c.kernel_text import taken_names
from qengine.deploy.c.layouts import Order, order_of
from qengine.deploy.c.lowering import Context, NotExportable, lower
from qengine.deploy.c.ranges.ends import ends_of, word_ends
from qengine.deploy.c.sharing import with_shared_constants
from qengine.deploy.vectors.names import identifiers
from qengine.errors import OptionError, UnsupportedError
from qengine.model.graph import Node
from qengine.model.ops.operator import NeedsRun
from qengine.model.steps import Evaluated, Tensor
from qengine.runtime.plan.plan import BoundStep, Plan
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]

_MOST_REASONS = 8


def network_of(
    session: InferenceSession, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None, prefix: str = "net"
) -> CNetwork:
    """Return the network in C for the shapes of some feeds.

    Parameters
    ----------
    session
        A session in fixed point.
    feeds
        An array for every input. Their shapes count, and the elements of those that decide shapes.
    outputs
        Tensors that are outputs in C; None for those of the model.
    prefix
        Prefix of all names in C, with which the name of no tensor begins.

    Raises
    ------
    OptionError
        If the session runs in float32.
    UnsupportedError
        If C cannot compute an operator, or the data decides how a run continues.
    """
    return _Lowered(plan_of(session, feeds, outputs), prefix).network()


def plan_of(session: InferenceSession, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> Plan:
    """Return the plan of a run in fixed point on feeds of fixed shapes; see `network_of`."""
    if not session.in_fixed_point:
        raise OptionError("C computes codes of a run in fixed point: give a --qformat or --formats")
    try:
        return session.plan(session.check_feeds(feeds), outputs)
    except NeedsRun as error:
        raise UnsupportedError(
            f"C needs one plan of fixed shapes, and {error}: give the inputs that decide shapes with -i, or export the "
            "part of the model that needs no If, Loop, NonZero and no operator that runs by itself"
        ) from None


@dataclass
class _Lowered:
    plan: Plan
    prefix: str
    tensors: dict[str, CTensor] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan = self.plan
        names = [t.name for t in plan.inputs] + [s.output.name for s in plan.steps]
        names += [f"{name} output" for name in plan.outputs if name not in names or name in self._inputs]
        self.c_names = identifiers(names, taken_names(), (f"{self.prefix.lower()}_", "step_"))

    @property
    def _inputs(self) -> set[str]:
        return {t.name for t in self.plan.inputs}

    def network(self) -> CNetwork:
        """Return the network."""
        orders: dict[str, Order] = {}
        for t in self.plan.inputs:
            if _refusal(t):
                self.reasons.append(f"input '{t.name}': {_refusal(t)}")
            orders[t.name] = tuple(range(t.ndim))
            self._add(t, orders[t.name], "input", word_ends(t))
        for group in _groups(self.plan.steps):
            for bound_step in group:
                self._place(bound_step, orders)
            self._lower(group)
        for name, t in self.plan.outputs.items():
            if name not in self.tensors and _refusal(t):
                self.reasons.append(f"output '{name}' is a constant of {t.dtype} without a format: make it no output")
        if self.reasons:
            raise UnsupportedError(_refused(self.reasons))
        outputs = tuple(self._output(name, t) for name, t in self.plan.outputs.items())
        inputs = tuple(self.tensors[t.name] for t in self.plan.inputs)
        return CNetwork(inputs, outputs, with_shared_constants(self.operations))

    def _add(self, t: Tensor, order: Order, place: Place, ends: tuple[int, int]) -> None:
        dtype = t.dtype if t.format is None else t.format.dtype
        self.tensors[t.name] = CTensor(t.name, self.c_names[t.name], dtype, t.shape, order, t.format, place, ends)

    def _place(self, bound_step: BoundStep, orders: dict[str, Order]) -> None:
        t = bound_step.output
        is_output = t.name in self.plan.outputs
        plain = tuple(range(t.ndim))
        orders[t.name] = plain if is_output else order_of(bound_step.step, t.shape, orders)
        ends = ends_of(bound_step, {name: self.tensors[name].ends for name in bound_step.reads})
        self._add(t, orders[t.name], "output" if is_output else "arena", ends)

    def _lower(self, group: tuple[BoundStep, ...]) -> None:
        first = group[0]
        context = Context(first, group, self.tensors)
        try:
            for bound_step in group:
                _check(bound_step)
            operation = self._constant(context) if self._reads_nothing(first) else lower(context)
        except NotExportable as error:
            self.reasons.append(f"{first.node.operator} '{first.node.name or first.output.name}': {error}")
            return
        if operation.view is not None and operation.output.place == "output":
            operation = _copied(operation)
        self.operations.append(operation)

    def _reads_nothing(self, bound_step: BoundStep) -> bool:
        """Whether all that a step reads is without elements, so that its results are constants."""
        return bool(bound_step.reads) and not any(self.tensors[name].size for name in bound_step.reads)

    def _constant(self, context: Context) -> Operation:
        """Return the copies of what a step computes of tensors without elements."""
        calls = []
        for one, y in zip(context.group, context.outputs, strict=True):
            empty = [
                np.zeros(self.tensors[s].shape, self.tensors[s].dtype) if isinstance(s, str) else s for s in one.sources
            ]
            with one.node.errors_named():
                found = y.placed(c_array(np.asarray(one.kernel(*empty)).reshape(y.shape)))
            if y.size:
                calls.append(copy(Constant(f"{y.c_name}_elements", found, f"'{y.name}'"), y))
        return context.operation(*calls)

    def _output(self, name: str, t: Tensor) -> CTensor:
        """Return an output: as a step computes it, or a copy of an input or of a constant."""
        if name in self.tensors and name not in self._inputs:
            return self.tensors[name]
        source: CTensor | Constant | None = self.tensors.get(name)
        c_name = self.c_names[f"{name} output"]
        order = tuple(range(t.ndim))
        if source is None:
            array = c_array(t.elements)
            info = np.iinfo(array.dtype)
            tensor = CTensor(name, c_name, array.dtype, t.shape, order, t.format, "output", (info.min, info.max))
            source = Constant(f"{c_name}_elements", np.ascontiguousarray(array).reshape(-1), f"'{name}'")
        else:
            assert isinstance(source, CTensor)
            tensor = replace(source, c_name=c_name, place="output")
        reads = (source,) if isinstance(source, CTensor) else ()
        node = Node("Identity", (name,), (name,), name=name)
        call = copy(source, tensor)
        self.operations.append(Operation(node, "move", (tensor,), reads, (call,), overlap=(None,) * len(reads)))
        return tensor


def c_array(array: Array) -> Array:
    """Return elements in a type of C: truth values are 0 and 1."""
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def copy(source: CTensor | Constant, target: CTensor, offset: int = 0) -> Call:
    """Return the call that copies as many elements as a tensor has into it."""
    return Call("copy", {"x": target.dtype}, (source, target), {"size": target.size}, (offset, 0))


def _copied(operation: Operation) -> Operation:
    """Return the operation that copies what was a view, as the caller's memory is apart."""
    assert isinstance(operation.view, View)
    call = copy(operation.view.tensor, operation.output, operation.view.offset)
    is_whole = operation.view.tensor.size == operation.output.size
    parts = (Part(operation.view.tensor, 0, call),) if is_whole else ()
    return replace(operation, view=None, calls=(call,), parts=parts)


def _groups(steps: tuple[BoundStep, ...]) -> list[tuple[BoundStep, ...]]:
    """Return the steps, those of one evaluation together."""
    found: dict[int, list[BoundStep]] = {}
    for one in steps:
        key = id(one.step.evaluation) if isinstance(one.step, Evaluated) else id(one)
        found.setdefault(key, []).append(one)
    return [tuple(group) for group in found.values()]


def _check(bound_step: BoundStep) -> None:
    if bound_step.is_real or (why := _refusal(bound_step.output)):
        raise NotExportable("it computes real numbers: C computes codes only" if bound_step.is_real else why)


def _refusal(t: Tensor) -> str:
    """Return why C does not hold a tensor; "" where it does."""
    if t.format is None and t.dtype.kind not in "biu":
        return f"its elements are {t.dtype}, and C computes codes and integers: give the tensor a format"
    return ""


def _refused(reasons: list[str]) -> str:
    more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
    return f"C cannot compute this model: {'; '.join(reasons[:_MOST_REASONS])}{more}"
