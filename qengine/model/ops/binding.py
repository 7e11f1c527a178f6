"""Call of a handler: the inputs and attributes of a node are checked and bound to the handler's parameters."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args, get_origin

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import Node
from qengine.model.ops.conversion import is_foreign
from qengine.model.ops.operator import NeedsElements, Operator, Role, find
from qengine.model.steps import Combine, Linear, Step, Tensor


def make_steps(node: Node, tensor: Callable[[str], Tensor]) -> tuple[Step, ...]:
    """Return the steps of a node, one for each output that its handler gives.

    Parameters
    ----------
    node
        The node to compute.
    tensor
        Function that returns an input by name; the `value` of the tensor is set where the elements are known.

    Raises
    ------
    QEngineError
        If the operator does not allow an input or attribute; the message names the node.
    NeedsRun
        If only a run knows the outputs or their shapes.
    """
    op = find(node)
    with node.errors_named():
        steps = op.handler(*_inputs(op, node, tensor), **_attributes(op, node))
        steps = steps if isinstance(steps, tuple) else (steps,)
        if len([n for n in node.outputs if n]) > len(steps):
            raise UnsupportedError(f"gives {len(steps)} output(s), the model needs {len(node.outputs)}")
        return (_with_activation(steps[0], node), *steps[1:]) if node.activation else steps


def _with_activation(step: Step, node: Node) -> Step:
    assert isinstance(step, Linear | Combine)
    return replace(step, activation=node.activation)


def _inputs(op: Operator, node: Node, tensor: Callable[[str], Tensor]) -> list[Any]:
    """Return the positional arguments of the handler: tensors, known elements, or None for what is left out."""
    arguments: list[Any] = []
    first: Tensor | None = None  # the other data inputs have its element type
    for i, name in enumerate(node.inputs):
        parameter = op.parameter(i)
        if parameter is None or not (parameter.serves(node.version) or not name):
            most = sum(p.serves(node.version) for p in op.parameters)
            raise ModelError(f"takes at most {most} inputs at opset {node.version}, {len(node.inputs)} given")
        if not name:
            if parameter.required:
                raise ModelError(f"input '{parameter.name}' is missing")
            arguments.append(None)
            continue
        t = tensor(name)
        if parameter.role in (Role.DATA, Role.WEIGHTS, Role.BIAS):
            _check_elements(t, op.elements)
            first = first or t
            if t.dtype != first.dtype and not _is_wide_bias(t, parameter.role):
                # ONNX allows it for some operators, which is checked where the node is computed by itself.
                raise UnsupportedError(f"inputs '{first.name}' ({first.dtype}) and '{name}' ({t.dtype}) differ in type")
        elif parameter.role is Role.SELECTOR:
            _check_elements(t, "iub")
        elif parameter.role is Role.KNOWN and t.value is None:
            raise NeedsElements(f"input '{parameter.name}' ('{name}') depends on the data", (name,))
        arguments.append(t.value if parameter.role is Role.KNOWN else t)
    for parameter in op.parameters[len(arguments) :]:
        if parameter.required:
            raise ModelError(f"input '{parameter.name}' is missing")
    return arguments


def _is_wide_bias(t: Tensor, role: Role) -> bool:
    """Whether it is a bias of a quantized model that float32 does not hold exactly."""
    return role is Role.BIAS and t.value is not None and t.dtype == np.float64


def _check_elements(t: Tensor, kinds: str) -> None:
    if t.dtype.kind not in kinds or is_foreign(t.dtype):
        names = {"f": "floating-point", "i": "integer", "b": "boolean"}
        allowed = " or ".join(name for kind, name in names.items() if kind in kinds)
        raise UnsupportedError(f"'{t.name}' is {t.dtype}; {allowed} elements are needed")


def _attributes(op: Operator, node: Node) -> dict[str, Any]:
    """Return the keyword arguments of the handler, defaults included."""
    served = {name: parameter for name, parameter in op.attributes.items() if parameter.serves(node.version)}
    arguments: dict[str, Any] = {}
    for name, value in node.attributes.items():
        if name not in served:
            listed = ", ".join(served) or "none"
            raise UnsupportedError(f"attribute '{name}' does not exist at opset {node.version}; there are {listed}")
        if not _is_a(value, served[name].element):
            raise ModelError(f"attribute '{name}' has the wrong type: {value!r}")
        arguments[name] = value
    for name, parameter in served.items():
        if name not in arguments and parameter.required:
            raise ModelError(f"attribute '{name}' is missing")
        arguments.setdefault(name, parameter.default)
    if op.counts_outputs:
        arguments["outputs"] = len(node.outputs)
    return op.options.bound(arguments) if op.options else arguments


def _is_a(value: Any, wanted: Any) -> bool:
    if get_origin(wanted) is tuple:
        return isinstance(value, tuple) and all(isinstance(v, get_args(wanted)[0]) for v in value)
    if get_origin(wanted) is np.ndarray:
        return isinstance(value, np.ndarray)
    return isinstance(value, wanted)


__all__ = ["make_steps"]
