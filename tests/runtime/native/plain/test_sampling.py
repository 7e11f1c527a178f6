"""Images at computed coordinates, and pixels that are put together, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS, error_of_both
from runtime.native.plain.cases import PlainCase, check


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def case(operator, feeds, kernel, attributes, opset=20, tolerance=2e-6, constants=None):
    inputs = {name: (array.dtype, list(array.shape)) for name, array in feeds.items()}
    names = " ".join([*feeds, *(constants or {})])
    model = network([(operator, names, "y", attributes)], inputs=inputs, constants=constants, opset=opset)
    return PlainCase(model, feeds, kernel, tolerance)


def grid(size, out, mode, padding, aligned, batch=2, channels=3):
    g = np.random.default_rng(3).uniform(-1.8, 1.8, (batch, *out, len(size))).astype(np.float32)
    flat = g.reshape(batch, -1, len(size))
    flat[0, 0], flat[0, 1, 0], flat[1, 0], flat[1, 1] = -1, np.nan, 1, 3e30
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
    return case("GridSample", {"x": normal(batch, channels, *size), "g": g}, "grid_sample", attributes)


def regions(mode, ratio, opset=16, half=True, dtype=np.int64, **more):
    rng = np.random.default_rng(5)
    first = rng.uniform(-6, 24, (9, 2))
    rois = np.concatenate([first, first + rng.uniform(0, 16, (9, 2))], 1).astype(np.float32)
    rois[0] = [3, 3, 3, 3]
    feeds = {"x": normal(2, 5, 13, 11), "r": rois, "b": rng.integers(0, 2, 9).astype(dtype)}
    attributes = {"mode": mode, "sampling_ratio": ratio, "output_height": 3, "output_width": 4, "spatial_scale": 0.5}
    if opset >= 16:
        attributes["coordinate_transformation_mode"] = "half_pixel" if half else "output_half_pixel"
    return case("RoiAlign", feeds, "region_pool", attributes | more, opset)


def overlap(size, block, **attributes):
    pads = attributes.get("pads", [0, 0, 0, 0])
    steps, far = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    out = [(size[i] + pads[i] + pads[i + 2] - far[i] * (block[i] - 1) - 1) // steps[i] + 1 for i in range(2)]
    x = normal(2, 3 * block[0] * block[1], out[0] * out[1])
    given = {"s": np.array(size), "k": np.array(block)}
    return case("Col2Im", {"x": x}, "overlap", attributes, constants=given)


def unpooled(dtype=np.float32):
    x, indices = normal(2, 3, 4, 5).astype(dtype), np.random.default_rng(1).permutation(480)[:120].reshape(2, 3, 4, 5)
    indices[0, 0, 0, :2] = 7  # the second of the two stays
    return case("MaxUnpool", {"x": x, "i": indices}, "unpool", {"kernel_shape": [2, 2], "strides": [2, 2]}, 11)


CASES = {
    **{
        f"grid {mode} {padding} {aligned}": grid((6, 5), (4, 7), mode, padding, aligned)
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    },
    "grid of one axis": grid((9,), (70,), "linear", "zeros", 0),
    "grid of three axes": grid((4, 3, 5), (3, 2, 4), "linear", "reflection", 0),
    "cubic grid of three axes": grid((4, 3, 5), (3, 2, 4), "cubic", "zeros", 1),
    "grid of one pixel": grid((1, 1), (2, 3), "linear", "reflection", 1),
    **{f"regions {mode} {ratio}": regions(mode, ratio) for mode in ("avg", "max") for ratio in (0, 2)},
    "regions by corners": regions("avg", 0, half=False),
    "regions of opset 10": regions("max", 3, 10),
    "many samples": regions("avg", 40, output_height=2, output_width=1),
    "overlap": overlap((7, 6), (3, 2)),
    "overlap with all": overlap((9, 8), (3, 2), pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2]),
    "unpooled": unpooled(),
    "unpooled float64": unpooled(np.float64),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_native_equals_the_reference(case):
    check(case, ISAS[0], threads=1)


@pytest.mark.parametrize("isa", ISAS[1:])
@pytest.mark.parametrize("name", ["grid cubic reflection 0", "regions avg 0", "overlap", "unpooled"])
def test_every_instruction_set(name, isa):
    check(CASES[name], isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("made", [grid((30, 20), (40, 30), "linear", "zeros", 0), regions("avg", 8)])
def test_any_number_of_threads_gives_the_same(made, threads):
    check(made, ISAS[0], threads)


def changed(made, name, where, value):
    feeds = made.feeds | {name: made.feeds[name].copy()}
    feeds[name][where] = value
    return made.model, feeds


WRONG = {
    "image that does not exist": changed(regions("avg", 2), "b", 4, 2),
    "image before the first": changed(regions("avg", 2), "b", 4, -1),
    "coordinates that are NaN": changed(regions("max", 2), "r", (3, 1), np.nan),
    "coordinates that are infinite": changed(regions("avg", 0), "r", (3, 2), np.inf),
    "index": changed(unpooled(), "i", (1, 0, 0, 0), 480),
    "index before the first": changed(unpooled(), "i", (1, 0, 0, 0), -3),
}


@pytest.mark.parametrize(("model", "feeds"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_exist(model, feeds):
    error_of_both(model, feeds)
