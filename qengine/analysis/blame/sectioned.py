"""Runs with some tensors rounded, of a model whose data decides how a run continues: it has an If or a Loop, say.

Such a model has no single plan, but one for each section of a run, and for each section of the graphs inside of its
nodes. Rounding may change which sections there are, so every run begins at the inputs. Each of its plans is a
`Replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import ACTIVATION, INPUT, Point, points_of
from qengine.analysis.blame.replay import Replay
from qengine.analysis.blame.rounding import Rounder, in_format
from qengine.analysis.report import operator_label
from qengine.errors import UnsupportedError
from qengine.model.graph import Graph
from qengine.model.ops.operator import find
from qengine.runtime.plan.plan import FixedPointSettings, Plan, decode_output
from qengine.runtime.sections import ChangeOutput, RunPlan
from qengine.runtime.session import InferenceSession
from qengine.runtime.values import RuntimeValue

Arrays = Mapping[str, NDArray[Any]]


class SectionedRerun:
    """A model in float32 that is run section by section, any number of times with chosen tensors rounded.

    Parameters
    ----------
    fixed, float32
        Sessions of one model in the two arithmetics.
    names
        Tensors at which noise is measured.

    Attributes
    ----------
    points : the tensors with formats, by name, that the runs so far have computed.
    unmatched : names of tensors with formats that cannot be rounded in a float32 run.
    outputs : names of the real-valued tensors among those at which noise is measured.
    exact : every tensor of the last run without rounding outside of graphs in nodes, by name.
    """

    def __init__(self, fixed: InferenceSession, float32: InferenceSession, names: tuple[str, ...]) -> None:
        assert fixed.network.table is not None
        self._fixed, self._float32, self._names = fixed, float32, names
        self._settings = FixedPointSettings(fixed.network.table, fixed.rules, fixed.options.strict)
        self._float32_plans: dict[int, Plan] = {}
        self._replays: dict[int, tuple[Plan, Replay]] = {}
        self._together: Arrays | None = None
        self._nodes = {name: node for node in fixed.optimized.nodes for name in node.outputs}
        self._run_plan: RunPlan = self._recorded
        self._change_output: ChangeOutput = _noted({})
        self._runner: Callable[[Mapping[str, Any]], dict[str, RuntimeValue]] | None = None
        self._between: set[str] = set()  # tensors that nodes between sections compute
        self.points: dict[str, Point] = {}
        self.unmatched: tuple[str, ...] = ()
        self.outputs: list[str] = []
        self.exact: dict[str, NDArray[Any]] = {}

    @property
    def plans(self) -> Iterable[Plan]:
        """The plans in float32 of the sections so far."""
        return self._float32_plans.values()

    def run(self, feeds: Arrays) -> None:
        """Run in float32 without rounding, and keep every tensor outside of graphs in nodes."""
        self._feeds, self._together = dict(feeds), None
        known = [len(self.points), *(len(point.uses) for point in self.points.values())]
        self._find_points()
        if known != [len(self.points), *(len(point.uses) for point in self.points.values())]:
            self._replays.clear()  # of other points
        events = self._float32.trace(self._feeds, self._names)
        self.exact = {event.tensor.name: np.asarray(event.array) for event in events}
        self.outputs = [name for name in self._names if name in self.exact and self.exact[name].dtype.kind == "f"]
        if not self.outputs:
            listed = ", ".join(f"'{name}'" for name in self._names)
            raise UnsupportedError(
                f"noise needs an output with real numbers that a run computes, and {listed} has none: name a tensor "
                "inside the model that has some (--fetch, outputs=)"
            )

    def rounded(self, point: Point) -> NDArray[Any] | None:
        """Return a tensor of the float32 run rounded to its format; None for one of a graph inside of a node."""
        if point.name not in self.exact:
            return None
        return self._in_format(point.name, self.exact[point.name])

    def alone(self, names: Collection[str], *, given: Arrays | None = None) -> Arrays:  # noqa: ARG002
        """Return the outputs of a float32 run in which some tensors alone are rounded."""
        return self._run(names, rounded=False)

    def all_but(self, names: Collection[str]) -> Arrays:
        """Return the outputs of a float32 run in which all tensors but some are rounded."""
        return self._run(names, rounded=True)

    def together(self) -> Arrays:
        """Return the outputs of a float32 run in which all tensors are rounded."""
        if self._together is None:
            self._together = self._run((), rounded=True)
        return self._together

    def with_kinds(self, *, constants: bool, activations: bool) -> Arrays:
        """Return the outputs of a float32 run with all constants rounded, or all inputs and activations, or both."""
        chosen = {True: constants, False: activations}
        return self._run([p.name for p in self.points.values() if chosen[bool(p.uses)]], rounded=False)

    def _find_points(self) -> None:
        """Add the points of a run of the last feeds."""
        fixed: dict[int, Plan] = {}
        made: tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]] = {}, {}

        def record(plan: Plan, inputs: Arrays) -> Arrays:
            fixed[id(plan)] = plan
            return self._fixed.plans.run(plan, inputs, raw=True)

        self._fixed.sectioned_by(record, self._feeds, self._names, _noted(made[0]))(self._feeds)
        self._run_plan, self._change_output = self._recorded, _noted(made[1])
        self._run_sections(self._feeds)
        found = points_of(fixed.values(), self.plans)
        graph: Graph = self._fixed.graph
        inputs = {v.name: self._fixed.formats[v.name] for v in graph.inputs if v.name in self._fixed.formats}
        fed = {name: Point(name, INPUT, "input", fmt) for name, fmt in inputs.items() if _is_real(self._feeds[name])}
        self.points = {**fed, **self.points, **found.by_name}
        formats = self._settings.formats.activations
        computed = {step.output.name: step for plan in self.plans for step in plan.steps}
        for name in made[0]:  # by nodes between sections, such as If; float32 may know which branch it takes
            is_between = name in made[1] and made[1][name].dtype.kind == "f"
            if name not in formats or name in self.points or not (is_between or name in computed):
                continue
            node = self._nodes.get(name)
            rounds = node is None or not find(node).preserves_format(node)
            self.points[name] = Point(name, ACTIVATION, operator_label(node), formats[name], rounds)
            if is_between:
                self._between.add(name)
        self.unmatched = tuple(dict.fromkeys((*self.unmatched, *found.unmatched)))

    def _run_sections(self, feeds: Arrays) -> dict[str, RuntimeValue]:
        """Run in float32 by `_run_plan` and `_change_output`; the plans of the sections are made once."""
        is_overriding = any(value.name in feeds for value in self._float32.graph.overridable)
        if self._runner is None or is_overriding:

            def run_plan(plan: Plan, inputs: Arrays) -> Arrays:
                return self._run_plan(plan, inputs)

            def change_output(name: str, array: NDArray[Any]) -> NDArray[Any]:
                return self._change_output(name, array)

            self._runner = self._float32.sectioned_by(run_plan, feeds, self._names, change_output)
        return self._runner(feeds)

    def _recorded(self, plan: Plan, inputs: Arrays) -> Arrays:
        self._float32_plans[id(plan)] = plan
        return self._float32.plans.run(plan, inputs, raw=False)

    def _run(self, apart: Collection[str], *, rounded: bool) -> Arrays:
        """Return the outputs of a run in which nothing is rounded, or everything, but the other way round for some."""
        names = frozenset(apart)

        def run_plan(plan: Plan, inputs: Arrays) -> Arrays:
            replay = self._replay(plan)
            known = {n: decode_output(t, t.elements, False) for n, t in plan.outputs.items() if t.value is not None}
            return {**known, **replay.outputs_of(inputs, names, rounded=rounded)}

        def change_output(name: str, array: NDArray[Any]) -> NDArray[Any]:
            if name not in self._between or not self.points[name].rounds or rounded == (name in names):
                return array
            return self._in_format(name, array)

        feeds = dict(self._feeds)
        for name, point in self.points.items():
            if point.kind == INPUT and rounded != (name in names):
                feeds[name] = self._in_format(name, feeds[name])
        self._run_plan, self._change_output = run_plan, change_output
        found = self._run_sections(feeds)
        return {name: np.asarray(found[name].value) for name in self.outputs}

    def _in_format(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        return in_format(name, array, self.points[name].format, self.points[name].modes)

    def _replay(self, plan: Plan) -> Replay:
        """Return the replay of a section, made on first use."""
        if id(plan) not in self._replays:
            outputs = [name for name, t in plan.outputs.items() if t.value is None]
            # The inputs of a section were rounded where they were computed.
            points = {name: point for name, point in self.points.items() if point.kind != INPUT}
            replay = Replay(plan, Rounder(points, self._settings), self._float32.plans, outputs)
            self._replays[id(plan)] = plan, replay
        return self._replays[id(plan)][1]


def _noted(made: dict[str, NDArray[Any]]) -> ChangeOutput:
    """Return a function that changes nothing, and adds what it sees to a mapping."""

    def note(name: str, array: NDArray[Any]) -> NDArray[Any]:
        made[name] = array
        return array

    return note


def _is_real(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"
