"""Control flow: If, Loop, Scan, SequenceMap and FlexAttention, whose attributes hold graphs.

A function here decides which graph of the node runs, how often, and on which values. It does not run a graph itself: it
calls `call(attribute, inputs)`, which the caller of `perform` gives, and asks it first for as many iterations as can
run at once (`Graphs.repeat`). So the rules of ONNX are here once, and the same
code serves float32 and fixed point, the reference and the native kernels. Values that are codes pass through unchanged:
a loop-carried value that a body returns as codes enters the next iteration as codes.

Vocabulary: a *body* is the graph of a Loop, Scan or SequenceMap. A *state* is a loop-carried value: output of one
iteration and input of the next. A *scan output* collects one value an iteration, stacked along a new axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import RUNS_GRAPHS, Graph, Node
from qengine.runtime.values import RuntimeValue


@dataclass(frozen=True)
class Repetition:
    """Iterations of a body that may run at once, without a return to the loop.

    Attributes
    ----------
    first, limit : number of the first iteration, and number before which the last one ends; None for no limit.
    states : loop-carried values that the first iteration begins with.
    rows : scan inputs, with all rows along the first axis.
    """

    first: int
    limit: int | None
    states: Sequence[RuntimeValue]
    rows: Sequence[RuntimeValue] = ()


@dataclass(frozen=True)
class Repeated:
    """Results of the iterations that ran at once.

    Attributes
    ----------
    count : number of the next iteration.
    continues : whether the condition holds.
    states : loop-carried values.
    rows : scan outputs, with all rows along the first axis.
    """

    count: int
    continues: bool
    states: list[RuntimeValue]
    rows: list[RuntimeValue]


class Graphs(Protocol):
    """The graphs in the attributes of a node."""

    def __call__(self, attribute: str, inputs: Sequence[RuntimeValue]) -> list[RuntimeValue]:
        """Return the outputs of a graph."""

    def repeat(self, repetition: Repetition) -> Repeated | None:
        """Return the results of many iterations of the body; None where the next iteration must run by itself.

        Inputs of the body are the number of the iteration and the condition, where there are no scan inputs, then the
        states, then a row of each scan input.
        """


BODY = "body"
"""The attribute of the graph that Loop, Scan and SequenceMap repeat."""

_TRIES = 3
"""Number of iterations after which a loop runs the others one by one: shapes that changed so far keep changing."""


class Iterations:
    """Count of the iterations in a run, of all loops and at any depth.

    Parameters
    ----------
    most
        Largest number.
    """

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0

    def add(self, wanted: int = 1) -> int:
        """Count iterations, as many as are allowed of those that are wanted, and return their number.

        A negative number takes iterations back that were counted and did not run.

        Raises
        ------
        UnsupportedError
            If not a single one is allowed.
        """
        counted = min(wanted, self._most - self._count)
        if counted <= 0 < wanted:
            raise UnsupportedError(
                f"the loops of this run have more than {self._most:,} iterations; raise the limit (--max-iterations, "
                "max_iterations=) if you need it"
            )
        self._count += counted
        return counted


def perform(node: Node, inputs: Sequence[RuntimeValue], call: Graphs) -> list[RuntimeValue]:
    """Return the outputs of a control flow node.

    Parameters
    ----------
    node
        The node.
    inputs
        Value for each name in `node.inputs`.
    call
        The graphs in the attributes of the node.

    Raises
    ------
    ModelError
        If the inputs, the attributes and the graphs do not fit each other.
    """
    return CONTROL[node.operator](node, inputs, call)


def left_out(node: Node, inputs: Sequence[RuntimeValue]) -> Iterator[tuple[str, list[RuntimeValue]]]:
    """Yield each graph of a node that did not run on such inputs, with the inputs that it may be tried on.

    It is the other branch of an If, and the body of a Loop without iterations.
    """
    if node.operator == "If":
        yield "else_branch" if _scalar(inputs[0], "the condition") else "then_branch", []
    elif node.operator == "Loop":
        stops = [value.value is not None and not _scalar(value, "a count") for value in inputs[:2]]
        if any(stops):
            yield BODY, [RuntimeValue(np.array(0, np.int64)), RuntimeValue(np.array(True)), *_as_data(inputs[2:])]


def _scalar(value: RuntimeValue, label: str) -> Any:
    if value.array.size != 1:
        raise ModelError(f"{label} has {value.array.size} elements, one is needed")
    return value.array.item()


def _body(node: Node, attribute: str = BODY) -> Graph:
    graph = node.attributes.get(attribute)
    if not isinstance(graph, Graph):
        raise ModelError(f"attribute '{attribute}' holds no graph")
    return graph


def _run_if(node: Node, inputs: Sequence[RuntimeValue], call: Graphs) -> list[RuntimeValue]:
    if len(inputs) != 1:
        raise ModelError(f"takes one input, {len(inputs)} given")
    branch = "then_branch" if _scalar(inputs[0], "the condition") else "else_branch"
    _body(node, branch)
    return call(branch, [])


def _run_loop(node: Node, inputs: Sequence[RuntimeValue], call: Graphs) -> list[RuntimeValue]:
    body = _body(node)
    trip_count, condition, *states = (*inputs, *[RuntimeValue(None)] * max(0, 2 - len(inputs)))
    scans = len(body.outputs) - 1 - len(states)
    if len(body.inputs) != 2 + len(states) or scans < 0:
        raise ModelError(
            f"its body has {len(body.inputs)} inputs and {len(body.outputs)} outputs, and {len(states)} loop-carried "
            "values are given"
        )
    limit = None if trip_count.value is None else int(_scalar(trip_count, "the trip count"))
    keeps_on = condition.value is None or bool(_scalar(condition, "the condition"))
    rows: list[list[RuntimeValue]] = [[] for _ in range(scans)]
    states = _as_data(states)
    count = 0
    while keeps_on and (limit is None or count < limit):
        repeated = call.repeat(Repetition(count, limit, states)) if count < _TRIES else None
        if repeated is not None:
            count, keeps_on, states = repeated.count, repeated.continues, repeated.states
            for row, value in zip(rows, repeated.rows, strict=True):
                row.append(value)
            continue
        results = call(BODY, [RuntimeValue(np.array(count, np.int64)), RuntimeValue(np.array(keeps_on)), *states])
        keeps_on = bool(_scalar(results[0], "the condition"))
        states = _as_data(results[1 : 1 + len(states)])
        for row, value in zip(rows, results[1 + len(states) :], strict=True):
            _collect(row, value, str(node))
        count += 1
    declared = body.outputs[1 + len(states) :]
    return [*states, *(_stacked(row, d.dtype, d.shape, 0) for row, d in zip(rows, declared, strict=True))]


def _as_data(values: Sequence[RuntimeValue]) -> list[RuntimeValue]:
    """Return values that differ from one iteration to the next: no plan may depend on them without need."""
    return [replace(value, is_known=False) if value.is_known else value for value in values]


def _collect(row: list[RuntimeValue], value: RuntimeValue, what: str) -> None:
    """Add the value of one iteration to a scan output; it is held twice where all are stacked."""
    memory.hold(2 * memory.bytes_of(value.value), what)
    row.append(replace(value, value=value.array[None]))


def _stacked(row: list[RuntimeValue], dtype: Any, shape: Any, axis: int, *, backward: bool = False) -> RuntimeValue:
    """Return a scan output, of parts that hold the values of some iterations along their first axis."""
    if not row:
        lengths = [n if isinstance(n, int) else 0 for n in shape or ()]
        lengths.insert(axis, 0)
        return RuntimeValue(np.zeros(lengths, np.float32 if dtype is None else dtype))
    arrays = [value.array for value in (reversed(row) if backward else row)]
    if len({array.shape[1:] for array in arrays}) > 1:
        raise ModelError(f"its body gives different shapes, {arrays[0].shape[1:]} and others")
    if backward:
        arrays = [array[::-1] for array in arrays]
    whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return replace(row[0], value=np.asarray(np.moveaxis(whole, 0, axis), order="C"))


def _run_scan(node: Node, inputs: Sequence[RuntimeValue], call: Graphs) -> list[RuntimeValue]:
    if node.version < 9:
        return _run_scan_8(node, inputs, call)
    return _scanned(node, inputs, call, lambda name, count: _integers(node, name, count))


def _integers(node: Node, name: str, count: int) -> tuple[int, ...]:
    """Return an attribute that lists `count` integers; zeros where it is left out."""
    numbers = node.attributes.get(name)
    if numbers is None:
        return (0,) * count
    if not isinstance(numbers, tuple) or len(numbers) != count:
        raise ModelError(f"attribute '{name}' is {numbers!r}, {count} numbers are needed")
    return tuple(int(n) for n in numbers)


def _scanned(
    node: Node, inputs: Sequence[RuntimeValue], call: Graphs, integers: Callable[[str, int], tuple[int, ...]]
) -> list[RuntimeValue]:
    body, count = _body(node), node.number("num_scan_inputs", 0)
    states, scanned = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
    outputs = len(body.outputs) - len(states)
    if not 0 < count <= len(inputs) or len(body.inputs) != len(inputs) or outputs < 0:
        raise ModelError(
            f"num_scan_inputs {count} does not fit its {len(inputs)} inputs and the {len(body.inputs)} of its body"
        )
    axes, directions = integers("scan_input_axes", count), integers("scan_input_directions", count)
    out_axes, out_directions = integers("scan_output_axes", outputs), integers("scan_output_directions", outputs)
    along = []
    for value, axis, backward in zip(scanned, axes, directions, strict=True):
        array = np.moveaxis(value.array, axis, 0)
        along.append(replace(value, value=np.array(array[::-1] if backward else array, order="C"), is_known=False))
    lengths = {len(value.array) for value in along}
    if len(lengths) != 1:
        raise ModelError(f"its scan inputs have different lengths, {sorted(lengths)}")
    rows: list[list[RuntimeValue]] = [[] for _ in range(outputs)]
    states, at, length = _as_data(states), 0, lengths.pop()
    while at < length:
        repeated = call.repeat(Repetition(at, length, states, along)) if at < _TRIES else None
        if repeated is not None:
            at, states = repeated.count, repeated.states
            for row, value in zip(rows, repeated.rows, strict=True):
                row.append(value)
            continue
        results = call(BODY, [*states, *(replace(value, value=value.array[at, ...]) for value in along)])
        states = _as_data(results[: len(states)])
        for row, value in zip(rows, results[len(states) :], strict=True):
            _collect(row, value, str(node))
        at += 1
    stacked = []
    declared = body.outputs[len(states) :]
    for row, output, axis, backward in zip(rows, declared, out_axes, out_directions, strict=True):
        ndim = row[0].array.ndim if row else 1 + len(output.shape or ())
        stacked.append(_stacked(row, output.dtype, output.shape, axis % ndim, backward=bool(backward)))
    return [*states, *stacked]


def _run_scan_8(node: Node, inputs: Sequence[RuntimeValue], call: Graphs) -> list[RuntimeValue]:
    """Run a Scan of opset 8: every input has a batch axis first, and is scanned along the second axis."""
    if inputs[0].value is not None:
        raise UnsupportedError("sequence_lens of Scan-8 is not supported; export the model with opset 9 or newer")
    batched = inputs[1:]

    def integers(name: str, count: int) -> tuple[int, ...]:
        return _integers(node, "directions", count) if name == "scan_input_directions" else (0,) * count

    batches = [
        _scanned(node, [replace(value, value=value.array[n]) for value in batched], call, integers)
        for n in range(batched[0].array.shape[0])
    ]
    return [replace(row[0], value=np.stack([value.array for value in row])) for row in zip(*batches, strict=True)]


def _run_sequence_map(node: Node, inputs: Sequence[RuntimeValue], call: Graphs) -> list[RuntimeValue]:
    def rows() -> Iterator[list[RuntimeValue]]:
        for i in range(len(inputs[0].value)):
            row = call(BODY, [RuntimeValue(v.value[i]) if isinstance(v.value, list) else v for v in inputs])
            memory.hold(sum(memory.bytes_of(value.value) for value in row), str(node))
            yield row

    if not inputs or not isinstance(inputs[0].value, list):
        raise ModelError("its first input is not a sequence")
    results = list(rows())
    return [RuntimeValue([row[k].value for row in results]) for k in range(len(_body(node).outputs))]


def _run_flex_attention(node: Node, inputs: Sequence[RuntimeValue], call: Graphs) -> list[RuntimeValue]:
    if len(inputs) != 3:
        raise ModelError(f"takes 3 inputs, {len(inputs)} given")

    def modifier(attribute: str) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
        if attribute not in node.attributes:
            return None
        _body(node, attribute)
        return lambda array: call(attribute, [RuntimeValue(array)])[0].array

    scale: Any = node.attributes.get("scale")
    precision: Any = node.attributes.get("softmax_precision")
    q, k, v = (value.array for value in inputs)
    from qengine.model.eager.evaluators.attention import attend  # slow to import, and seldom needed

    y = attend(q, k, v, scale, precision, modifier("score_mod"), modifier("prob_mod"))
    return [RuntimeValue(y)]


CONTROL: dict[str, Callable[[Node, Sequence[RuntimeValue], Graphs], list[RuntimeValue]]] = dict(
    zip(RUNS_GRAPHS, (_run_if, _run_loop, _run_scan, _run_sequence_map, _run_flex_attention), strict=True)
)
"""The function of each control flow operator, by its name."""
