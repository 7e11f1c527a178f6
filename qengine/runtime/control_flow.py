"""If, Loop, Scan and SequenceMap: which graph runs how often on what. The graphs themselves are run by the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import RUNS_GRAPHS, Graph, Node
from qengine.qformat import Format

_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class Held:
    """A value between nodes.

    Attributes
    ----------
    value : an array, a list of them (a sequence), or None (an optional that is empty, an input that is left out).
    format : of an array of codes.
    is_known : whether it follows from shapes and constants alone.
    real : the element type of the numbers that codes stand for.
    """

    value: Any
    format: Format | None = None
    is_known: bool = False
    real: np.dtype[Any] = _FLOAT

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The element type of the tensor; None where it is none."""
        if self.format is not None:
            return self.real
        return self.value.dtype if isinstance(self.value, np.ndarray) else None

    @property
    def array(self) -> NDArray[Any]:
        """The value, where it must be an array."""
        if not isinstance(self.value, np.ndarray):
            raise ModelError(f"a tensor is needed, not {'a sequence' if isinstance(self.value, list) else 'nothing'}")
        return self.value


Call = Callable[[str, Sequence[Held]], list[Held]]
"""(attribute, inputs) -> outputs of the graph in that attribute of the node."""


def perform(node: Node, inputs: Sequence[Held], call: Call) -> list[Held]:
    """Return the outputs of a node whose attributes hold graphs.

    Raises
    ------
    ModelError
        If inputs, attributes and graphs do not go together.
    """
    return CONTROL[node.operator](node, inputs, call)


def _scalar(held: Held, what: str) -> Any:
    if held.array.size != 1:
        raise ModelError(f"{what} has {held.array.size} elements, one is needed")
    return held.array.item()


def _body(node: Node, attribute: str = "body") -> Graph:
    held = node.attributes.get(attribute)
    if not isinstance(held, Graph):
        raise ModelError(f"attribute '{attribute}' holds no graph")
    return held


def _run_if(node: Node, inputs: Sequence[Held], call: Call) -> list[Held]:
    if len(inputs) != 1:
        raise ModelError(f"takes one input, {len(inputs)} given")
    branch = "then_branch" if _scalar(inputs[0], "the condition") else "else_branch"
    _body(node, branch)
    return call(branch, [])


def _run_loop(node: Node, inputs: Sequence[Held], call: Call) -> list[Held]:
    body = _body(node)
    most, condition, *states = (*inputs, *[Held(None)] * max(0, 2 - len(inputs)))
    scans = len(body.outputs) - 1 - len(states)
    if len(body.inputs) != 2 + len(states) or scans < 0:
        raise ModelError(
            f"its body has {len(body.inputs)} inputs and {len(body.outputs)} outputs, and {len(states)} loop-carried "
            "values are given"
        )
    limit = None if most.value is None else int(_scalar(most, "the trip count"))
    goes_on = condition.value is None or bool(_scalar(condition, "the condition"))
    rows: list[list[Held]] = [[] for _ in range(scans)]
    count = 0
    while goes_on and (limit is None or count < limit):
        found = call("body", [Held(np.array(count, np.int64)), Held(np.array(goes_on)), *states])
        goes_on = bool(_scalar(found[0], "the condition"))
        states = found[1 : 1 + len(states)]
        for row, held in zip(rows, found[1 + len(states) :], strict=True):
            row.append(held)
        count += 1
    values = body.outputs[1 + len(states) :]
    return [*states, *(_stacked(row, value.dtype, value.shape, 0) for row, value in zip(rows, values, strict=True))]


def _stacked(row: list[Held], dtype: Any, shape: Any, axis: int, *, backward: bool = False) -> Held:
    """Return what the runs of a body gave, one after the other along a new axis."""
    if not row:
        lengths = [n if isinstance(n, int) else 0 for n in shape or ()]
        lengths.insert(axis, 0)
        return Held(np.zeros(lengths, np.float32 if dtype is None else dtype))
    arrays = [held.array for held in (reversed(row) if backward else row)]
    if len({array.shape for array in arrays}) > 1:
        raise ModelError(f"its body gives different shapes, {arrays[0].shape} and others")
    return replace(row[0], value=np.stack(arrays, axis=axis))


def _run_scan(node: Node, inputs: Sequence[Held], call: Call) -> list[Held]:
    if node.version < 9:
        return _run_scan_8(node, inputs, call)
    return _scanned(node, inputs, call, lambda name, count: _listed(node, name, count))


def _listed(node: Node, name: str, count: int) -> tuple[int, ...]:
    given = node.attributes.get(name)
    if given is None:
        return (0,) * count
    if not isinstance(given, tuple) or len(given) != count:
        raise ModelError(f"attribute '{name}' is {given!r}, {count} numbers are needed")
    return tuple(int(n) for n in given)


def _scanned(
    node: Node, inputs: Sequence[Held], call: Call, listed: Callable[[str, int], tuple[int, ...]]
) -> list[Held]:
    body, count = _body(node), node.number("num_scan_inputs", 0)
    states, scanned = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
    outputs = len(body.outputs) - len(states)
    if not 0 < count <= len(inputs) or len(body.inputs) != len(inputs) or outputs < 0:
        raise ModelError(f"num_scan_inputs {count} does not fit {len(inputs)} inputs and those of its body")
    axes, directions = listed("scan_input_axes", count), listed("scan_input_directions", count)
    out_axes, out_directions = listed("scan_output_axes", outputs), listed("scan_output_directions", outputs)
    slices = []
    for held, axis, backward in zip(scanned, axes, directions, strict=True):
        along = np.moveaxis(held.array, axis, 0)
        slices.append([replace(held, value=np.array(a, order="C")) for a in (along[::-1] if backward else along)])
    lengths = {len(own) for own in slices}
    if len(lengths) != 1:
        raise ModelError(f"what it scans has different lengths, {sorted(lengths)}")
    rows: list[list[Held]] = [[] for _ in range(outputs)]
    for parts in zip(*slices, strict=True):
        found = call("body", [*states, *parts])
        states = found[: len(states)]
        for row, held in zip(rows, found[len(states) :], strict=True):
            row.append(held)
    stacked = []
    for row, value, axis, backward in zip(rows, body.outputs[len(states) :], out_axes, out_directions, strict=True):
        ndim = 1 + (row[0].array.ndim if row else len(value.shape or ()))
        stacked.append(_stacked(row, value.dtype, value.shape, axis % ndim, backward=bool(backward)))
    return [*states, *stacked]


def _run_scan_8(node: Node, inputs: Sequence[Held], call: Call) -> list[Held]:
    """Before opset 9, every input has a batch axis first, and is scanned along the second."""
    if inputs[0].value is not None:
        raise UnsupportedError("sequence_lens of Scan-8 is not supported; export the model with opset 9 or newer")
    given = inputs[1:]
    batches = [
        _scanned(
            node,
            [replace(held, value=held.array[n]) for held in given],
            call,
            lambda name, count: _listed(node, "directions", count) if name == "scan_input_directions" else (0,) * count,
        )
        for n in range(given[0].array.shape[0])
    ]
    return [replace(row[0], value=np.stack([held.array for held in row])) for row in zip(*batches, strict=True)]


def _run_sequence_map(node: Node, inputs: Sequence[Held], call: Call) -> list[Held]:
    def rows() -> Iterator[list[Held]]:
        for i in range(len(inputs[0].value)):
            yield call("body", [Held(h.value[i]) if isinstance(h.value, list) else h for h in inputs])

    if not inputs or not isinstance(inputs[0].value, list):
        raise ModelError("its first input is not a sequence")
    found = list(rows())
    return [Held([row[k].value for row in found]) for k in range(len(_body(node).outputs))]


CONTROL: dict[str, Callable[[Node, Sequence[Held], Call], list[Held]]] = dict(
    zip(RUNS_GRAPHS, (_run_if, _run_loop, _run_scan, _run_sequence_map), strict=True)
)
"""What runs a node with graphs, by operator."""
