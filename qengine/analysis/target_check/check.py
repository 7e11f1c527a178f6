"""Check of a model against a target: the operators, formats and accumulators that the device does not have."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from numpy.typing import NDArray

from qengine.analysis.target_check.accumulators import AccumulatorNeed, accumulator_needs
from qengine.analysis.target_check.formats import FormatCheck
from qengine.analysis.target_check.operators import computed_nodes, inner_nodes, operator_violations, operators_of
from qengine.errors import OptionError, QEngineError
from qengine.keywords import check_keywords, options_with
from qengine.model.graph import Graph
from qengine.quantization.made_up import made_up_feeds
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.plan.plan import Plan
from qengine.runtime.session import InferenceSession
from qengine.targets import Target, Violation

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only


@dataclass(frozen=True)
class TargetCheck:
    """The parts of a model that a device does not have.

    Attributes
    ----------
    target : the device.
    violations : tensors and nodes that break its constraints.
    accumulators : accumulator that each linear operator needs, in the order of a run.
    notes : remarks: functions that the device approximates, and what could not be checked.
    """

    target: Target
    violations: tuple[Violation, ...]
    accumulators: tuple[AccumulatorNeed, ...]
    notes: tuple[str, ...]

    @property
    def unproved(self) -> tuple[AccumulatorNeed, ...]:
        """The operators whose sums may leave the device's accumulator."""
        return tuple(one for one in self.accumulators if not one.is_proved)

    @property
    def is_clean(self) -> bool:
        """Whether nothing breaks a constraint, and no sum can leave the accumulator."""
        return not self.violations and not self.unproved


def check_target(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    options: SessionOptions | None = None,
    *,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    **keywords: Unpack[SessionKeywords],
) -> TargetCheck:
    """Return what a device does not have of a model in its formats.

    Parameters
    ----------
    model
        See `InferenceSession`.
    options, keywords
        Options of a session, with a target. Without formats, if the model has none, operators alone are checked.
    inputs
        Arrays by input name, where their elements or shapes decide how the model runs.

    Raises
    ------
    OptionError
        If there is no target.
    QEngineError
        If the model cannot be read, or a format does not fit it.
    """
    check_keywords("check_target", keywords, SessionKeywords)
    options = options_with(SessionOptions, options, keywords)
    if not isinstance(options.target, Target):
        raise OptionError("a target is needed: give the name of one, or the path of its file")
    session = InferenceSession(model, options.in_float32(), isa="reference")
    if options.requests_fixed_point or session.in_fixed_point:
        session = session.with_options(replace(options, isa="reference", strict=False))
    notes: list[str] = []
    plan = _plan(session, inputs or {}, notes) if session.in_fixed_point else None
    if not session.in_fixed_point:
        notes.append("no formats: operators alone are checked; give --formats or --qformat for the others")
    found = [*violations_of(session, options.target), *(_islands(plan) if plan is not None else ())]
    if any(node.graphs for node in session.optimized.nodes):
        notes.append("of graphs inside of nodes, such as the branches of an If, operators alone are checked")
    needs = () if plan is None else tuple(accumulator_needs(plan.steps))
    return TargetCheck(options.target, tuple(found), needs, (*notes, *_approximations(session)))


def violations_of(session: InferenceSession, target: Target) -> Iterator[Violation]:
    """Yield what breaks the constraints of a target, if a session in fixed point shows it without a plan."""
    network = session.network
    nodes = computed_nodes(network.optimized, network.known)
    yield from operator_violations([*nodes, *inner_nodes(nodes)], target.constraints)
    if network.table is not None:
        yield from FormatCheck(network.optimized, nodes, network.table, session.rules, target.constraints).violations()


def target_notes(session: InferenceSession) -> list[str]:
    """Return a note on what breaks the constraints of the target of a session; none where nothing does."""
    target = session.options.target
    found = list(violations_of(session, target)) if isinstance(target, Target) else []
    if not found or not isinstance(target, Target):
        return []
    more = f"; {len(found) - 1} more" if found[1:] else ""
    listing = f"qengine targets check MODEL --target {shlex.quote(str(target.name))} lists all"
    return [f"not on the target: {found[0]}{more} ({listing})"]


def _plan(session: InferenceSession, inputs: Mapping[str, Any], notes: list[str]) -> Plan | None:
    """Return the plan of a run on feeds that are made up; None, and a note, where none can be made.

    Formats, weights and sums do not depend on the shapes.
    """
    reason = "no feeds fit the model"
    for feeds in made_up_feeds(session):
        try:
            return session.plan(session.check_feeds({**feeds, **inputs}))
        except QEngineError as error:
            reason = str(error)
    notes.append(f"accumulators and operators on real numbers are not checked: {reason}")
    return None


def _islands(plan: Plan) -> Iterator[Violation]:
    for one in plan.steps:
        if one.is_island:
            yield Violation(
                "islands",
                one.output.name,
                one.node.operator,
                "no rule in integers: a run computes real numbers",
                "integers only",
                "compute it by other operators, or outside of the device",
            )


def _approximations(session: InferenceSession) -> Iterator[str]:
    """Yield notes on functions that the device has as shorter tables than a code for each input."""
    table, network = session.rules.table, session.network
    if table.method == "full":
        return
    for node in computed_nodes(network.optimized, network.known):
        for name in operators_of(node):
            if name in table.functions:
                how = "the low bits of its input are cut" if table.method == "cut" else "between entries is a line"
                yield (
                    f"'{next(filter(None, node.outputs))}' ({name}) is a table of {table.entries} entries over "
                    f"[-{table.limit}, {table.limit}): {how}"
                )
