"""Runs of a model that is planned whole, in which some tensors are rounded and the others are not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from numpy.typing import NDArray

from qengine.analysis.blame.points import Point, points_of
from qengine.analysis.blame.replay import Kept, Replay
from qengine.analysis.blame.rounding import Rounder, before_name
from qengine.errors import UnsupportedError
from qengine.qformat import Format
from qengine.runtime.plan.plan import Plan
from qengine.runtime.session import InferenceSession

Arrays = Mapping[str, NDArray[Any]]


class Rerun:
    """A plan in float32 that is run once per feed, and then any number of times with chosen tensors rounded.

    Parameters
    ----------
    fixed, float32
        Plans of one model with the same shapes and outputs. The first has the formats and the arithmetic.
    session
        Session in float32, which runs the plans.

    Attributes
    ----------
    points : the tensors with formats, by name.
    unmatched : names of tensors with formats that cannot be rounded in the float32 run.
    outputs : names of the real-valued outputs that a run computes.
    plans : the plan in float32.

    Raises
    ------
    UnsupportedError
        If no output holds real numbers that a run computes.
    """

    def __init__(self, fixed: Plan, float32: Plan, session: InferenceSession) -> None:
        assert fixed.fixed is not None
        found = points_of([fixed], [float32])
        self.points, self.unmatched = found.by_name, found.unmatched
        self.outputs = real_outputs(float32)
        self.plans = (float32,)
        self._session_plans = session.plans
        self._replay = Replay(float32, Rounder(self.points, fixed.fixed), session.plans, self.outputs)
        self._with_kinds: dict[tuple[bool, bool], Plan] = {}
        self._exact = Kept(False)
        self._all: Kept | None = None

    def run(self, feeds: Arrays) -> None:
        """Run in float32 without rounding, and keep every tensor."""
        self._exact, self._all = self._replay.run(feeds, rounded=False), None

    @property
    def exact(self) -> Arrays:
        """Every tensor of the last run without rounding, by name."""
        return self._exact.arrays

    def rounded(self, point: Point, fmt: Format | None = None) -> NDArray[Any]:
        """Return an input or an activation of the float32 run, rounded to a format; by default to the point's own."""
        return self._replay.rounded(self._exact, point.name, fmt)

    def alone(
        self, names: Collection[str], *, given: Arrays | None = None, formats: Mapping[str, Format] | None = None
    ) -> Arrays:
        """Return the outputs of a float32 run in which some tensors alone are rounded.

        Parameters
        ----------
        names
            The tensors.
        given
            Results of `rounded` that are there already, by name.
        formats
            Formats in the place of the tensors' own, by name.
        """
        return self._replay.outputs(self._exact, names, given, formats)

    def all_but(self, names: Collection[str]) -> Arrays:
        """Return the outputs of a float32 run in which all tensors but some are rounded."""
        return self._replay.outputs(self._everything(), names)

    def together(self) -> Arrays:
        """Return the outputs of a float32 run in which all tensors are rounded."""
        kept = self._everything()
        return {name: kept.arrays[name] for name in self.outputs}

    def with_kinds(self, *, constants: bool, activations: bool) -> Arrays:
        """Return the outputs of a float32 run with all constants rounded, or all inputs and activations, or both."""
        key = constants, activations
        if key not in self._with_kinds:
            self._with_kinds[key] = self._replay.whole_plan(constants=constants, activations=activations)
        plan = self._with_kinds[key]
        fed = {before_name(t.name): self.exact[t.name] for t in self.plans[0].inputs}
        found = self._session_plans.run(plan, {t.name: {**fed, **self.exact}[t.name] for t in plan.inputs}, raw=False)
        return {name: found[name] for name in self.outputs}

    def _everything(self) -> Kept:
        if self._all is None:
            self._all = self._replay.run(self._exact.arrays, rounded=True)
        return self._all


def real_outputs(plan: Plan) -> list[str]:
    """Return the names of the real-valued outputs that a run of a plan computes.

    Raises
    ------
    UnsupportedError
        If there are none.
    """
    names = [name for name, t in plan.outputs.items() if t.value is None and t.is_float]
    if not names:
        listed = ", ".join(f"'{name}'" for name in plan.outputs)
        raise UnsupportedError(
            f"noise needs an output with real numbers that a run computes, and {listed} has none: name a tensor "
            "inside the model that has some (--fetch, outputs=)"
        )
    return names
