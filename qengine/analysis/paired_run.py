"""A run in fixed point and the float32 run of the same input, in step: the raw material of every comparison of the two.

When a tensor has been computed in fixed point, its real value is compared with the same tensor in float32, and then
released. Native kernels do this in one program (`qengine.runtime.native.counting`). On the reference, and where the
data decides how the run continues, two traced runs do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.kernels.reference.requantize import Tally, new_tally
from qengine.model.graph import Node
from qengine.model.steps import Tensor
from qengine.runtime.event import Event
from qengine.runtime.native import TensorStatistics, measure
from qengine.runtime.plan.plan import BoundStep, decode_output
from qengine.runtime.session import InferenceSession


@dataclass(frozen=True)
class ComparedOutput:
    """Codes of one requested tensor, their real values, and its float32 values."""

    codes: NDArray[Any]
    real: NDArray[Any]
    exact: NDArray[Any]


@dataclass(frozen=True)
class ComparedTensor:
    """A tensor in fixed point, the node and the kind of step that computed it, and its figures."""

    tensor: Tensor
    node: Node | None
    kind: str
    figures: TensorStatistics


@dataclass(frozen=True)
class PairedRun:
    """A run in fixed point, compared with float32.

    Attributes
    ----------
    tensors : tensors in fixed point, in the order in which they were computed.
    outputs : requested tensors by name.
    bound_steps : steps of the run.
    islands : nodes that computed in float32.
    constants : constants with formats, as real numbers.
    """

    tensors: Sequence[ComparedTensor]
    outputs: Mapping[str, ComparedOutput]
    bound_steps: Sequence[BoundStep]
    islands: Sequence[str]
    constants: Sequence[Tensor] = ()


def run_paired(
    fixed: InferenceSession, float32: InferenceSession, feeds: Mapping[str, Any], wanted: list[str]
) -> PairedRun:
    """Run two sessions of one model, which give the tensors inside of nodes, on the same feeds in step.

    Raises
    ------
    QEngineError
        If a run fails, or a requested value is not a tensor.
    """
    arrays = fixed.check_feeds(feeds)
    known, constants = fixed.known_outputs(arrays, wanted), fixed.quantized_constants(arrays, wanted)
    reference = float32.known_outputs(arrays, wanted)
    found = {
        name: ComparedOutput(t.elements, decode_output(t, t.elements, raw=False), reference[name].elements)
        for name, t in known.items()
    }
    with fixed.limited():
        run = _native_run(fixed, float32, arrays, wanted) or _traced_run(fixed, float32, arrays, wanted)
    found |= run.outputs
    if missing := [name for name in wanted if name not in found]:
        raise UnsupportedError(f"'{missing[0]}' is not a tensor and cannot be compared: request other outputs")
    return replace(run, outputs={name: found[name] for name in wanted}, constants=tuple(constants))


def _native_run(
    fixed: InferenceSession, float32: InferenceSession, arrays: Mapping[str, Any], wanted: list[str]
) -> PairedRun | None:
    """Return a run on native kernels that count; None where there is none."""
    counted = fixed.plans.run_counted(float32.plans, arrays, wanted)
    if counted is None:
        return None
    plan, run = counted
    computed: list[tuple[Tensor, BoundStep | None]] = [(t, None) for t in plan.inputs]
    computed += [(bound_step.output, bound_step) for bound_step in plan.steps]
    tensors = [
        ComparedTensor(t, step.node if step else None, step.step.kind if step else "quantize", run.tensors[t.name])
        for t, step in computed
        if t.format is not None
    ]
    outputs = {name: ComparedOutput(codes, run.real[name], run.exact[name]) for name, codes in run.codes.items()}
    islands = [str(bound_step.node) for bound_step in plan.steps if bound_step.is_island]
    return PairedRun(tensors, outputs, plan.steps, islands)


def _traced_run(
    fixed: InferenceSession, float32: InferenceSession, arrays: Mapping[str, Any], wanted: list[str]
) -> PairedRun:
    """Return two traced runs in step on the reference."""
    tallies: dict[str, Tally] = {}
    outputs: dict[str, ComparedOutput] = {}
    tensors: list[ComparedTensor] = []
    bound_steps, islands = [], []

    def computed(name: str) -> NDArray[Any]:
        return float32.run([name], arrays)[0]

    events = fixed.trace(arrays, wanted, tallies), float32.trace(arrays, wanted)
    for event, exact in paired_events(*events, computed):
        tensor = event.tensor
        real = decode_output(tensor, event.array, raw=False)
        if tensor.name in wanted:
            outputs[tensor.name] = ComparedOutput(np.array(event.array), np.array(real), np.array(exact))
        if tensor.format is not None:
            figures = measure(real, exact, tallies.get(tensor.name, new_tally()))
            tensors.append(ComparedTensor(tensor, event.node, event.kind, figures))
        if event.bound_step is not None:
            bound_steps.append(event.bound_step)
        if event.is_island:
            islands.append(str(event.node))
    return PairedRun(tensors, outputs, bound_steps, islands)


def paired_events(
    fixed: Iterator[Event], float32: Iterator[Event], computed: Callable[[str], NDArray[Any]]
) -> Iterator[tuple[Event, NDArray[Any]]]:
    """Yield the events of a run in fixed point, each with the same tensor in float32.

    Where the data decides how a run continues, a tensor may be static in one run and computed in the other. Then the
    float32 run is ahead, and its tensors are kept until the fixed-point run reaches them. `computed` returns a tensor
    that is static in the float32 run alone, which has no event.
    """
    unpaired: dict[str, NDArray[Any]] = {}
    for event in fixed:
        name = event.tensor.name
        while name not in unpaired:
            float_event = next(float32, None)
            if float_event is None:
                unpaired[name] = computed(name)
            else:
                unpaired[float_event.tensor.name] = float_event.array
        yield event, unpaired.pop(name)
