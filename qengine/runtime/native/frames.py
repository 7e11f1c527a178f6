"""Three spatial axes on kernels for two: a tensor (N, C, D, H, W) as N x D frames (C, H, W).

Blocks of channels have two spatial axes. A convolution over three is one over two, of frames whose channels are those
of all frames that the kernel reaches in depth: frame d of the output reads kernel-depth times C channels, which are put
together before. Sums are the same sums. A MaxPool is a MaxPool of frames, and the largest of some frames. Frames are
left in this order for the next such step; what reads the tensor in ONNX's order transposes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from qengine.model.steps import Linear, Move, Step, Tensor
from qengine.model.steps.forms import Convolution, WindowMax
from qengine.model.steps.moves import Strided
from qengine.runtime.native.strided_copies import Piece


@dataclass(frozen=True)
class Depth:
    """The window of a convolution or a pool along the depth.

    Attributes
    ----------
    length, out : depth of the input and of the output.
    kernel, stride, dilation, before : ONNX's attributes along the depth; `before` is the padding before the first.
    """

    length: int
    out: int
    kernel: int
    stride: int
    dilation: int
    before: int

    def place(self, d: int, k: int) -> int:
        """Return the frame of the input that tap k of frame d of the output reads, also beyond the ends."""
        return d * self.stride + k * self.dilation - self.before

    def inside(self, k: int) -> tuple[int, int]:
        """Return the first frame of the output whose tap k is a frame of the input, and the one after the last."""
        found = [d for d in range(self.out) if 0 <= self.place(d, k) < self.length]
        return (found[0], found[-1] + 1) if found else (0, 0)

    def nearest(self, d: int, k: int) -> int | None:
        """Return the frame of tap k, or that of the nearest tap that is a frame of the input; None where none is."""
        taps = sorted(range(self.kernel), key=lambda tap: abs(tap - k))
        return next((p for tap in taps if 0 <= (p := self.place(d, tap)) < self.length), None)


def depth_of(step: Step) -> Depth | None:
    """Return the window along the depth of a step on frames; None for other steps."""
    form: Any = getattr(step, "product", None) or getattr(step, "function", None)
    if not isinstance(form, Convolution | WindowMax) or step.operands[0].ndim != 5 or min(map(min, form.pads)) < 0:
        return None
    x = step.operands[0]
    kernel = form.kernel[0] if isinstance(form, WindowMax) else step.operands[1].shape[2]
    return Depth(x.shape[2], step.shape[2], kernel, form.strides[0], form.dilations[0], form.pads[0][0])


def frames_of(t: Tensor, channels: int, depth: int, name: str) -> Tensor:
    """Return the tensor of frames with some channels that are made of a tensor (N, C, D, H, W)."""
    return Tensor(name, t.dtype, (t.shape[0] * depth, channels, *t.shape[3:]), None, t.format)


def from_frames(shape: tuple[int, ...]) -> Strided:
    """Return the view of frames (N, D, C, H, W) in the order of a shape (N, C, D, H, W)."""
    n, c, *rest = shape
    return Strided.whole((n, rest[0], c, *rest[1:])).transposed((0, 2, 1, 3, 4))


def _axes(shape: tuple[int, ...], *, are_frames: bool) -> Strided:
    """Return the view (N, D, C, H x W) of a tensor of a shape (N, C, D, H, W) that is in ONNX's order or of frames."""
    n, c, d, h, w = shape
    size = h * w
    strides = (c * d * size, c * size, size, 1) if are_frames else (c * d * size, size, d * size, 1)
    return Strided((n, d, c, size), strides)


def tap_pieces(shape: tuple[int, ...], depth: Depth, group: int, *, are_frames: bool) -> Iterator[Piece]:
    """Yield the copies that put the taps of a convolution along the depth together; source 1 is a single zero.

    The target is (N, D of the output, groups, taps, C of a group, H x W).
    """
    whole = _axes(shape, are_frames=are_frames)
    n, _, c, size = whole.shape
    inner = c // group
    target = Strided.whole((n, depth.out, group, depth.kernel, inner, size))
    steps = target.strides
    for k in range(depth.kernel):
        first, end = depth.inside(k)
        for start, stop in ((0, first), (first, end), (end, depth.out)):
            if start == stop:
                continue
            lengths = (n, stop - start, group, inner, size)
            y = Strided(lengths, (*steps[:3], *steps[4:]), start * steps[1] + k * steps[3])
            if (start, stop) != (first, end):
                yield Piece(1, Strided(lengths, (0,) * 5), y)
                continue
            by_frame, by_channel = whole.strides[1:3]
            strides = (whole.strides[0], depth.stride * by_frame, inner * by_channel, by_channel, 1)
            yield Piece(0, Strided(lengths, strides, depth.place(start, k) * by_frame), y)


def frame_pieces(frame: int, batch: int, depth: Depth, k: int) -> list[Piece] | None:
    """Return the copies of one frame of `frame` elements for each frame of the output of a pool: that of tap k.

    None where a window has no frame of the input.
    """
    pieces = []
    for d in range(depth.out):
        place = depth.nearest(d, k)
        if place is None:
            return None
        x = Strided((batch, frame), (depth.length * frame, 1), place * frame)
        pieces.append(Piece(0, x, Strided((batch, frame), (depth.out * frame, 1), d * frame)))
    return pieces


def on_frames(step: Step, x: Tensor, depth: Depth) -> Step:
    """Return a step as one with two spatial axes, on frames: a convolution of all its taps along the depth."""
    n, c, _, *size = step.shape
    if isinstance(step, Linear):
        form = step.product
        assert isinstance(form, Convolution)
        assert step.w.value is not None
        m, inner, taps, *kernel = step.w.shape
        elements = step.w.value.transpose(0, 2, 1, 3, 4).reshape(m, taps * inner, *kernel)
        w = Tensor(step.w.name, step.w.dtype, elements.shape, elements, step.w.format, encoding=step.w.encoding)
        product = Convolution(form.strides[1:], form.dilations[1:], form.pads[1:], form.group)
        shape = (n * depth.out, c, *size)
        bias_shape = (c, 1, 1)
        return replace(step, x=x, w=w, product=product, shape=shape, summed=(1, 2, 3), bias_shape=bias_shape)
    assert isinstance(step, Move)
    window = step.function
    assert isinstance(window, WindowMax)
    flat = WindowMax(window.kernel[1:], window.strides[1:], window.dilations[1:], window.pads[1:])
    return replace(step, x=x, function=flat, shape=(n * depth.length, c, *size))
