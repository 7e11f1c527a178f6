"""Lowering of operators that interpolate images at computed coordinates, or put pixels together."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from qengine.kernels.sampling import (
    REGION_SCRATCH,
    GridSample,
    Interpolation,
    Overlap,
    Padding,
    RegionPool,
    Unpool,
    grid_scratch,
)
from qengine.model.ops.window import Window
from qengine.model.steps import Evaluated, Island
from qengine.model.steps.sampled import GridSampled
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer

_MAX_AXES = 3
_SIZES = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


@lowers_plain(Island, GridSampled)
def lower_grid_sample(context: PlainContext[Island]) -> Lowered:
    """Lower GridSample along one to three axes."""
    form, (image, grid) = context.function, context.step.operands
    assert isinstance(form, GridSampled)
    axes = image.ndim - 2
    x, coordinates = context.request(image), context.request(grid)
    if not context.is_float or (x.stored, coordinates.stored) != ("f32", "f32") or axes > _MAX_AXES:
        raise NotLowered(f"GridSample of {axes} axes of {image.dtype} at coordinates of {grid.dtype}")
    mode = Interpolation[form.mode.upper()]
    places, taps = prod(grid.shape[1:-1]), int(mode) ** axes
    facts = [axes, image.shape[1], places, prod(image.shape[2:]), int(mode), int(Padding[form.padding.upper()])]
    numbers = np.array([*facts, int(form.align_corners), taps, *image.shape[2:]], np.int64)

    def arguments(part: Part) -> dict[str, Address]:
        x, grid = part.inputs
        given = {"x": x, "grid": grid, "y": part.outputs[0], "first": part.first, "end": part.end}
        return given | {"facts": int(numbers.ctypes.data), "scratch": part.scratch}

    work, total = float(places * image.shape[0] * taps * (image.shape[1] + 10)), image.shape[0] * places
    out, scratch = TensorBuffer.plain(context.out), grid_scratch(taps)
    return Lowered.by(
        PlainOp(context.isa, (x, coordinates), out, GridSample(), arguments, total, work, scratch=scratch)
    )


@lowers_plain(Evaluated, "RoiAlign")
def lower_roi_align(context: PlainContext[Evaluated]) -> Lowered:
    """Lower RoiAlign."""
    node, (image, rois, batch) = context.step.evaluation.node, context.step.operands
    x, regions, images = (context.request(t) for t in (image, rois, batch))
    mode, ratio = node.attributes.get("mode", "avg"), node.number("sampling_ratio", 0)
    default = "half_pixel" if node.version >= 16 else "output_half_pixel"
    pixels = node.attributes.get("coordinate_transformation_mode", default)
    known = mode in ("avg", "max") and pixels in ("half_pixel", "output_half_pixel")
    if (x.stored, regions.stored) != ("f32", "f32") or ratio < 0 or min(context.out.shape[2:]) < 1 or not known:
        raise NotLowered(f"RoiAlign of {image.dtype} with mode {mode} and sampling_ratio {ratio}")
    facts = [*image.shape, *context.out.shape[2:], ratio, int(pixels == "half_pixel"), int(mode == "max")]
    numbers = np.array(facts, np.int64)
    scale = np.array([node.number("spatial_scale", 1.0)], np.float32)
    fault = context.fault(f"a region is of image {{}}, X has {image.shape[0]} images")
    context.fault("rois has elements that are infinite or NaN")
    context.fault("a region has too many coordinates along an axis; set sampling_ratio")

    def arguments(part: Part) -> dict[str, Address]:
        x, regions, images = part.inputs
        given = {"x": x, "regions": regions, "images": images, "y": part.outputs[0]}
        given |= {"first": part.first, "end": part.end, "fault": fault, "scratch": part.scratch}
        return given | {"facts": int(numbers.ctypes.data), "scale": int(scale.ctypes.data)}

    work, out = 16.0 * prod(context.out.shape), TensorBuffer.plain(context.out)
    spec, parts = RegionPool(images.stored), rois.shape[0]
    return Lowered.by(
        PlainOp(context.isa, (x, regions, images), out, spec, arguments, parts, work, scratch=REGION_SCRATCH)
    )


@lowers_plain(Evaluated, "Col2Im")
def lower_col2im(context: PlainContext[Evaluated]) -> Lowered:
    """Lower Col2Im of images."""
    node, (columns, image, block) = context.step.evaluation.node, context.step.operands
    if image.value is None or block.value is None or image.shape != (2,):
        raise NotLowered("Col2Im of other than two known axes")
    x = context.request(columns)
    if x.stored != "f32":
        raise NotLowered(f"Col2Im of {columns.dtype}")
    size, kernel = tuple(image.value.tolist()), tuple(block.value.tolist())
    given: list[Any] = [node.attributes.get(name) for name in ("strides", "dilations", "pads")]
    window = Window.of(size, kernel, "NOTSET", *given)
    planes = prod(context.out.shape[:2])
    if columns.shape[1] % prod(kernel) or columns.shape[2] != prod(window.out):
        raise NotLowered("blocks that do not fit")
    before = [pair[0] for pair in window.pads]
    facts = [*size, *kernel, *window.strides, *window.dilations, *before, *window.out]
    numbers = np.array(facts, np.int64)

    def arguments(part: Part) -> dict[str, Address]:
        given = {"x": part.inputs[0], "y": part.outputs[0], "first": part.first, "end": part.end}
        return given | {"facts": int(numbers.ctypes.data)}

    out = TensorBuffer.plain(context.out)
    return Lowered.by(PlainOp(context.isa, (x,), out, Overlap(), arguments, planes, 1.0 * prod(columns.shape)))


@lowers_plain(Evaluated, "MaxUnpool")
def lower_max_unpool(context: PlainContext[Evaluated]) -> Lowered:
    """Lower MaxUnpool without a shape of its own, whose indices are those of MaxPool."""
    image, indices, *shape = context.step.operands
    if shape:
        raise NotLowered("MaxUnpool to a shape of its own")
    x, places, out = context.request(image), context.request(indices), TensorBuffer.plain(context.out)
    elements = prod(context.out.shape)
    fault = context.fault(f"I has the index {{}}, outside of 0..{elements - 1}")

    def arguments(part: Part) -> dict[str, Address]:
        x, indices = part.inputs
        given = {"x": x, "indices": indices, "y": part.outputs[0], "fault": fault}
        return given | {"count": prod(image.shape), "elements": elements}

    spec, work = Unpool(_SIZES[ITEMSIZE[x.stored]]), 2.0 * prod(image.shape) + elements / 8
    return Lowered.by(PlainOp(context.isa, (x, places), out, spec, arguments, 1, work))
