"""Rules: how nodes of older opsets are spelled in newer ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from qengine.errors import UnsupportedError
from qengine.model.graph import Node
from qengine.model.ops.functions import LARGEST
from qengine.model.opset_conversion.conversion import Conversion, rule


def _without(node: Node, *names: str, **given: Any) -> Node:
    """Return a node without attributes, and with others."""
    kept = {name: value for name, value in node.attributes.items() if name not in names}
    return replace(node, attributes={**kept, **given})


def _with_inputs(node: Node, *names: str) -> Node:
    """Return a node with inputs, of which none at the end is left out."""
    inputs = list(names)
    while inputs and not inputs[-1]:
        inputs.pop()
    return replace(node, inputs=tuple(inputs))


def _axes_as_input(node: Node, to: Conversion) -> tuple[Node, ...]:
    axes = node.attributes.get("axes")
    name = to.whole_numbers(f"{node.outputs[0]}_axes", axes) if axes else ""
    return (_with_inputs(_without(node, "axes"), node.inputs[0], name),)


rule("Squeeze", "Unsqueeze", "ReduceSum", to=13)(_axes_as_input)
rule(
    *(f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")),
    to=18,
)(_axes_as_input)


@rule("Clip", to=11)
def _clip(node: Node, to: Conversion) -> tuple[Node, ...]:
    """Spell the bounds as inputs; a bound that is left out limits infinity."""
    x, out = node.inputs[0], node.outputs[0]
    bounds = {"min": node.number("min", -LARGEST), "max": node.number("max", LARGEST)}
    with np.errstate(over="ignore"):
        names = [to.constant(f"{out}_{bound}", np.array(n).astype(to.dtype(x))) for bound, n in bounds.items()]
    return (_with_inputs(_without(node, "min", "max"), x, *names),)


@rule("Pad", to=11)
def _pad(node: Node, to: Conversion) -> tuple[Node, ...]:
    x, out = node.inputs[0], node.outputs[0]
    pads = to.whole_numbers(f"{out}_pads", node.attributes["pads"])
    fill = to.constant(f"{out}_fill", np.array(node.number("value", 0.0), to.dtype(x)))
    return (_with_inputs(_without(node, "pads", "value"), x, pads, fill),)


@rule("Slice", to=10)
def _slice(node: Node, to: Conversion) -> tuple[Node, ...]:
    names = [
        to.whole_numbers(f"{node.outputs[0]}_{name}", node.attributes[name]) if name in node.attributes else ""
        for name in ("starts", "ends", "axes")
    ]
    return (_with_inputs(_without(node, "starts", "ends", "axes"), node.inputs[0], *names),)


@rule("Split", to=13)
def _split(node: Node, to: Conversion) -> tuple[Node, ...]:
    lengths = node.attributes.get("split")
    name = "" if lengths is None else to.whole_numbers(f"{node.outputs[0]}_split", lengths)
    return (_with_inputs(_without(node, "split"), node.inputs[0], name),)


@rule("Split", to=18)
def _split_evenly(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    has_lengths = len(node.inputs) > 1 and node.inputs[1]
    return (node if has_lengths else _without(node, num_outputs=len(node.outputs)),)


@rule("TopK", to=10)
def _top_k(node: Node, to: Conversion) -> tuple[Node, ...]:
    count = to.whole_numbers(f"{node.outputs[0] or node.outputs[1]}_k", [node.number("k", 0)])
    return (_with_inputs(_without(node, "k"), node.inputs[0], count),)


@rule("Dropout", to=12)
def _dropout(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    if node.version < 10 and any(node.outputs[1:]):
        raise UnsupportedError("its mask has another type at a newer opset; export the model again")
    return (_without(node, "ratio"),)


@rule("BatchNormalization", to=9)
def _batchnorm(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    if not node.number("spatial", 1):
        raise UnsupportedError("statistics for each element (spatial=0) do not exist at a newer opset; export it again")
    return (_without(node, "spatial"),)


@rule("BatchNormalization", to=14)
def _batchnorm_of_a_run(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    if any(node.outputs[1:]):
        raise UnsupportedError("it trains, as it gives statistics; export the model in eval mode")
    return (replace(node, outputs=node.outputs[:1]),)


@rule("Softmax", "LogSoftmax", "Hardmax", to=13)
def _over_axes(node: Node, to: Conversion) -> tuple[Node, ...]:
    """Spell a function over all axes from `axis` on as one over the last axis of a matrix."""
    (x, *_), (out, *_) = node.inputs, node.outputs
    shape, axis = to.value(x).shape, node.number("axis", 1)
    if shape is not None and axis in (-1, len(shape) - 1):
        return (_without(node, axis=-1),)
    matrix, rows, lengths = (to.fresh(f"{out}_{what}") for what in ("matrix", "rows", "shape"))
    return (
        Node("Flatten", (x,), (matrix,), {"axis": axis}, matrix),
        replace(_without(node, axis=-1), inputs=(matrix,), outputs=(rows,)),
        Node("Shape", (x,), (lengths,), {}, lengths),
        Node("Reshape", (rows, lengths), (out,), {}, out),
    )


@rule("Upsample", to=9)
def _upsample(node: Node, to: Conversion) -> tuple[Node, ...]:
    scales = to.constant(f"{node.outputs[0]}_scales", np.array(node.attributes["scales"], np.float32))
    return (_with_inputs(_without(node, "scales"), node.inputs[0], scales),)


@rule("Upsample", to=10)
def _upsample_by_resize(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (replace(node, operator="Resize"),)


@rule("Resize", to=11)
def _resize(node: Node, to: Conversion) -> tuple[Node, ...]:
    """Spell the coordinates of Resize-10; its nearest element is above where an axis shrinks, and else below."""
    (x, scales), (out,) = node.inputs, node.outputs
    roi = to.constant(f"{out}_roi", np.zeros(0, np.float32))
    spelled = _without(node, coordinate_transformation_mode="asymmetric")
    factors = to.graph.constants.get(scales, to.added.get(scales))
    if node.attributes.get("mode", "nearest") != "nearest":
        return (replace(spelled, inputs=(x, roi, scales)),)
    below, above = (_without(spelled, nearest_mode=mode) for mode in ("floor", "ceil"))
    if factors is not None and (factors >= 1).all():
        return (replace(below, inputs=(x, roi, scales)),)
    if factors is not None and (factors <= 1).all():
        return (replace(above, inputs=(x, roi, scales)),)
    one = to.constant(f"{out}_one", np.ones(1, np.float32))
    larger, smaller, between = (to.fresh(f"{out}_{what}") for what in ("enlargement", "reduction", "enlarged"))
    return (
        Node("Max", (scales, one), (larger,), {}, larger),
        Node("Min", (scales, one), (smaller,), {}, smaller),
        replace(below, inputs=(x, roi, larger), outputs=(between,), name=between),
        replace(above, inputs=(between, roi, smaller)),
    )


@rule("Scatter", to=11)
def _scatter(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (replace(node, operator="ScatterElements"),)


@rule("RoiAlign", to=16)
def _roi_align(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (_without(node, coordinate_transformation_mode="output_half_pixel"),)


@rule("GridSample", to=20)
def _grid_sample(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    mode = str(node.attributes.get("mode", "bilinear"))
    return (_without(node, mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)),)


@rule("DFT", to=20)
def _dft(node: Node, to: Conversion) -> tuple[Node, ...]:
    axis = to.whole_numbers(f"{node.outputs[0]}_axis", node.number("axis", 1))
    return (_with_inputs(_without(node, "axis"), *(*node.inputs, "")[:2], axis),)


@rule("GroupNormalization", to=21)
def _group_normalization(node: Node, to: Conversion) -> tuple[Node, ...]:
    """Repeat the scale and the bias of each group for all its channels."""
    (x, *parameters), out = node.inputs, node.outputs[0]
    groups = node.number("num_groups", 1)
    lengths, channels, repeats = (to.fresh(f"{out}_{what}") for what in ("channels", "group_size", "repeats"))
    count, one, flat = (
        to.whole_numbers(f"{out}_{w}", n) for w, n in (("groups", [groups]), ("1", [1]), ("flat", [-1]))
    )
    nodes = [
        Node("Shape", (x,), (lengths,), {"start": 1, "end": 2}, lengths),
        Node("Div", (lengths, count), (channels,), {}, channels),
        Node("Concat", (count, channels), (repeats,), {"axis": 0}, repeats),
    ]
    spread = []
    for name in parameters:
        column, wide, vector = (to.fresh(f"{name}_{what}") for what in ("column", "wide", "of_channels"))
        nodes += [
            Node("Unsqueeze", (name, one), (column,), {}, column),
            Node("Expand", (column, repeats), (wide,), {}, wide),
            Node("Reshape", (wide, flat), (vector,), {}, vector),
        ]
        spread.append(vector)
    return (*nodes, replace(node, inputs=(x, *spread)))


@rule("Scan", to=9)
def _scan(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    raise UnsupportedError("Scan-8, with its batch axis, does not exist at a newer opset; export the model again")
