"""Every tensor of a run, and the operators that computed them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.names import identifiers
from qengine.errors import OptionError, QEngineError
from qengine.model.steps import Tensor
from qengine.runtime.plan.plan import BoundStep, Plan, quantize_input
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Operator:
    """An operator of a run: a step of its plan, or a node that ran alone.

    Attributes
    ----------
    name : identifier, different for every operator.
    bound_step : step; None for a node that ran alone.
    title : name in the model.
    operator : ONNX's operator.
    kind : kind of the step.
    reads : names of the tensors that it reads and that a run computes.
    output : tensor that it computes.
    """

    name: str
    bound_step: BoundStep | None
    title: str
    operator: str
    kind: str
    reads: tuple[str, ...]
    output: Tensor

    def operands(self, arrays: Arrays) -> tuple[Array, ...]:
        """Return what the step reads, from the tensors of a run."""
        assert self.bound_step is not None
        return tuple(arrays[s] if isinstance(s, str) else s for s in self.bound_step.sources)


class Recorder:
    """A session that keeps every tensor of its runs.

    Parameters
    ----------
    session
        A session in fixed point.
    feeds
        An array for every input, of the shapes of all runs.

    Attributes
    ----------
    session : the session.
    operators : the operators of a run, in order.
    tensors : inputs and outputs of the operators, by name.

    Raises
    ------
    OptionError
        If the session runs in float32.
    """

    def __init__(self, session: InferenceSession, feeds: Mapping[str, Any]) -> None:
        if not session.in_fixed_point:
            raise OptionError("vectors are codes of a run in fixed point: give a --qformat or --formats")
        self.session, arrays = session, session.check_feeds(feeds)
        plan = session.plans.whole_plan(arrays, None)
        self._plan: Plan | None = None
        if plan is not None:
            outputs = {step.output.name: step.output for step in plan.steps}
            known = {name: t for name, t in plan.outputs.items() if t.value is not None}
            self._plan = replace(plan, outputs={**outputs, **known})
            self.tensors = {t.name: t for t in plan.inputs} | outputs
            self.operators = _operators([(s.node, s, s.output, s.step.kind) for s in plan.steps])
            return
        events = list(session.trace(arrays))
        self.tensors = {e.tensor.name: e.tensor for e in events}
        self.operators = _operators([(e.node, e.bound_step, e.tensor, e.kind) for e in events if e.node is not None])

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Return the tensors that operators read and compute, by name: codes where they are in fixed point."""
        arrays = self.session.check_feeds(feeds)
        if self._plan is None:
            return {e.tensor.name: np.asarray(e.array) for e in self.session.trace(arrays)}
        plan = self._plan
        inputs = {t.name: quantize_input(t, arrays[t.name], plan.fixed, None) for t in plan.inputs}
        return inputs | dict(self.session.plans.run(plan, arrays, raw=True))

    def run_all(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Return every tensor of the model by name, also those that are fused into others and constants.

        Sequences, maps and empty optionals are left out.
        """
        computed = self.run(feeds)
        names = [name for name in self.all_names if name not in computed]
        return computed | {n: value for n, value in self._others(names, feeds) if isinstance(value, np.ndarray)}

    def _others(self, names: list[str], feeds: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield tensors that the operators neither read nor compute, as far as they can be computed."""
        try:
            yield from zip(names, self.session.run(names, feeds, raw=True) if names else [], strict=True)
        except QEngineError:
            for name in names:
                with suppress(QEngineError):
                    yield name, self.session.run([name], feeds, raw=True)[0]

    @cached_property
    def all_names(self) -> list[str]:
        """The names of all tensors of the model that runs give: inputs, constants, outputs of nodes."""
        graph = self.session.graph
        given = {value.name for value in graph.inputs}
        names = [value.name for value in graph.inputs]
        known = self.session.network.source.tensors()  # without the names of what nodes compute inside
        names += [name for node in graph.nodes for name in node.outputs if name in known]
        return [*dict.fromkeys(names), *sorted(graph.constants.keys() - given)]


def _operators(found: list[tuple[Any, BoundStep | None, Tensor, str]]) -> tuple[Operator, ...]:
    """Return operators with names; that of a node, with the output where a node computes several tensors."""
    count: dict[str, int] = {}
    for node, _, output, _ in found:
        title = node.name or output.name
        count[title] = count.get(title, 0) + 1
    titles = [
        title if count[title := node.name or output.name] == 1 else f"{title}.{output.name}"
        for node, _, output, _ in found
    ]
    unique = identifiers(titles)
    return tuple(
        Operator(
            unique[title],
            bound_step,
            title,
            node.operator,
            kind,
            tuple(dict.fromkeys(node.reads if bound_step is None else bound_step.reads)),
            output,
        )
        for title, (node, bound_step, output, kind) in zip(titles, found, strict=True)
    )
