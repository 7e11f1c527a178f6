"""The distance at which an output may be written onto the input that it is computed from, by walks of windows.

A kernel runs as a series of events. Each one reads some elements of the input, then writes some of the output. The
output begins d bytes after the input. Nothing is lost if d plus the end of what an event writes is at most the start
of what later events read. The smallest difference of the two over all events is the largest d that is safe, and every
smaller one is safe too.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Call, CTensor

Array = NDArray[Any]

_MOST_EVENTS = 1 << 22


_ROW = 64  # NET_ROW of the kernel depthwise_rows


def conv_overlap(call: Call) -> int | None:
    """Return the largest distance of the output from the input of the kernel `conv`; see `Operation.overlap`.

    An event is a band of pixels, whose inputs are gathered before an output is written.
    """
    p: Any = call.numbers
    down, right = np.arange(p["height"])[:, None], np.arange(p["width"])
    starts = _starts(p["height"], p["width"], p["gather"]["row"], p["gather"]["column"], p["gather"])
    ends = down * p["row_y"] + right * p["out"]["pixel"] + (p["out"]["filters"] - 1) * p["out"]["channel"] + 1
    bands = [_bands(a, p["band"], p["by_rows"], pick) for a, pick in ((starts, np.minimum), (ends, np.maximum))]
    loops = [[(p["images"], p[f"image_{t}"]), (p["groups"], p[f"group_{t}"])] for t in "xy"]
    return _distance(call, *(_repeated(a, loop) for a, loop in zip(bands, loops, strict=True)))


def depthwise_overlap(call: Call) -> int | None:
    """Return the largest distance of the output from the input of a depthwise kernel; see `Operation.overlap`.

    An event is one channel of a pixel, which is written before the next one is read; or a part of a row of a channel.
    """
    p: Any = call.numbers["form"]
    down, right = np.arange(p["height"])[:, None], np.arange(p["width"])
    starts = _starts(p["height"], p["width"], p["row_x"], p["column_x"], p)
    ends = down * p["row_y"] + right * p["column_y"] + 1
    channels = [(p["channels"], p["channel_x"])], [(p["channels"], p["channel_y"])]
    filters = [(p["multiplier"], 0)], [(p["multiplier"], p["filter_y"])]
    images = [(p["images"], p["image_x"])], [(p["images"], p["image_y"])]
    if call.kernel == "depthwise_rows":
        events = [_bands(a, _ROW, True, pick) for a, pick in ((starts, np.minimum), (ends, np.maximum))]
        loops = [image + channel + f for image, channel, f in zip(images, channels, filters, strict=True)]
    elif starts.size * p["channels"] * p["multiplier"] > _MOST_EVENTS:
        return None
    else:
        inner = [_repeated(np.zeros(1, np.int64), f + c) for f, c in zip(filters, channels, strict=True)]
        events = [a.reshape(-1, 1) + one for a, one in zip((starts, ends), inner, strict=True)]
        loops = list(images)
    return _distance(call, *(_repeated(a, loop) for a, loop in zip(events, loops, strict=True)))


def nest_overlap(calls: Sequence[Call]) -> int | None:
    """Return the largest distance of the output from the input of general linear kernels; see `Operation.overlap`.

    An event is a part of a lane, whose sums are computed before its first output is written; or a single output.
    """
    events = [_nest_events(call) for call in calls]
    if any(one is None for one in events):
        return None
    starts, ends = (np.concatenate([one[i] for one in events if one is not None]) for i in (0, 1))
    return _distance(calls[0], starts, ends)


def _nest_events(call: Call) -> tuple[Array, Array] | None:
    """Return the first element that each event of a call reads, and the end of those that it writes."""
    sums: Any = call.numbers["sums"]
    nest, lane = sums["nest"], sums["nest"]["lane"]
    block = 1 if call.kernel == "linear_dot" else sums["block"]
    loops = [nest[name] for name in ("stack0", "stack1", "out0", "out1", "out2")]
    windows = [None, None, *(nest[f"window{i}"] for i in range(3))]
    if prod(one["count"] for one in loops) * -(-lane["count"] // block) > _MOST_EVENTS:
        return None
    starts, ends = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for loop, window in zip(loops, windows, strict=True):
        steps = np.arange(loop["count"], dtype=np.int64)
        read = steps * loop["x"]
        if window is not None:
            read = read + np.clip(steps * window["step"] - window["pad"], 0, window["size"]) * window["x"]
        starts = (starts[:, None] + read).reshape(-1)
        ends = (ends[:, None] + steps * loop["y"]).reshape(-1)
    first = np.arange(0, lane["count"], block, dtype=np.int64)
    last = np.minimum(first + block, lane["count"]) - 1
    starts = (starts[:, None] + first * lane["x"]).reshape(-1) + call.offsets[0]
    ends = (ends[:, None] + last * lane["y"]).reshape(-1) + call.offsets[-1] + 1
    return starts, ends


def _starts(height: int, width: int, row: int, column: int, window: Any) -> Array:
    """Return the first element that each pixel of an image reads, (height, width)."""
    top = np.maximum(np.arange(height, dtype=np.int64) * window["stride_down"] - window["pad_top"], 0)
    left = np.maximum(np.arange(width, dtype=np.int64) * window["stride_right"] - window["pad_left"], 0)
    return np.asarray(top[:, None] * row + left * column)


def _distance(call: Call, starts: Array, ends: Array) -> int | None:
    """Return the largest distance, of the first element that each event reads and the end of those that it writes."""
    x, y = call.arguments[0], call.arguments[-1]
    assert isinstance(x, CTensor)
    assert isinstance(y, CTensor)
    if starts.size > _MOST_EVENTS:
        return None
    later = np.minimum.accumulate(starts[::-1])[::-1][1:]
    found = x.dtype.itemsize * later - y.dtype.itemsize * ends[:-1]
    return int(min(found.min(initial=x.bytes), x.bytes))


def _repeated(events: Array, loops: Sequence[tuple[int, int]]) -> Array:
    """Return events within loops, the outermost first: their turns, and the elements from one to the next."""
    events = events.reshape(-1)
    for count, step in reversed(loops):
        events = (np.arange(count, dtype=np.int64)[:, None] * step + events).reshape(-1)
    return events


def _bands(pixels: Array, band: int, is_by_rows: bool, pick: np.ufunc) -> Array:
    """Return the least or the largest number of each band of pixels; a band may end with its row."""
    rows = pixels if is_by_rows else pixels.reshape(1, -1)
    return np.asarray(pick.reduceat(rows, np.arange(0, rows.shape[1], band), axis=1))
