"""Operators that pick, pad or concatenate parts of tensors."""

from typing import Any

from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.ops.axes import normalized, whole_numbers
from qengine.model.ops.operator import ANY, Ints, Known, NumberKind, Selector, Sign, operator
from qengine.model.steps import Join, Move, Tensor
from qengine.model.steps.forms import Concatenated
from qengine.model.steps.moves import Gathered, Padded, Sliced


def _slice(x: Tensor, starts: Any, ends: Any, axes: Any, steps: Any) -> Move:
    begin, stop = whole_numbers(starts, "starts"), whole_numbers(ends, "ends")
    stride = (1,) * len(begin) if steps is None else whole_numbers(steps, "steps")
    places = normalized(x, tuple(range(len(begin))) if axes is None else whole_numbers(axes, "axes"))
    if not len(begin) == len(stop) == len(stride) == len(places) or 0 in stride:
        raise ModelError(
            f"starts {begin}, ends {stop}, axes {places} and steps {stride} differ in number, or a step is 0"
        )
    cut = [slice(None)] * x.ndim
    for a, b, e, s in zip(places, begin, stop, stride, strict=True):
        # Python clamps as ONNX does, except for negative steps: there a start before the front is the first element,
        # and an end before the front includes it.
        n = x.shape[a]
        cut[a] = slice(max(b, -n), None if e < -n else e, s) if s < 0 else slice(b, e, s)
    where = tuple(cut)
    shape = tuple(len(range(*c.indices(n))) for c, n in zip(where, x.shape, strict=True))
    return Move(x, Sliced(where), shape)


@operator("Slice", elements=ANY)
def slice_(x: Tensor, *, axes: Ints | None = None, ends: Ints, starts: Ints) -> Move:
    """A part of x along axes; its limits are attributes."""
    return _slice(x, starts, ends, axes, None)


@operator("Slice", since=10, elements=ANY)
def slice_10(x: Tensor, starts: Known, ends: Known, axes: Known | None = None, steps: Known | None = None) -> Move:
    """A part of x along axes; its limits are inputs."""
    return _slice(x, starts, ends, axes, steps)


def _split(x: Tensor, axis: int, lengths: tuple[int, ...], outputs: int) -> tuple[Move, ...]:
    if sum(lengths) != x.shape[axis] or min(lengths, default=0) < 0 or len(lengths) != outputs:
        raise ModelError(f"cannot split {x.shape[axis]} into {list(lengths)} for {outputs} output(s)")
    parts, start = [], 0
    for n in lengths:
        where = (*(slice(None),) * axis, slice(start, start + n), *(slice(None),) * (x.ndim - axis - 1))
        shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
        parts.append(Move(x, Sliced(where), shape))
        start += n
    return tuple(parts)


def _even_lengths(length: int, count: int) -> tuple[int, ...]:
    """Return the lengths of `count` equal parts; the last is smaller if `count` does not divide the length."""
    part = -(-length // count)
    return tuple(min(part, max(length - i * part, 0)) for i in range(count))


@operator("Split", elements=ANY)
def split_1(x: Tensor, *, axis: int = 0, split: Ints | None = None, outputs: int) -> tuple[Move, ...]:
    """Parts of x along an axis; their lengths are an attribute."""
    (axis,) = normalized(x, (axis,))
    if split is None and x.shape[axis] % outputs:
        raise ModelError(f"cannot split {x.shape[axis]} into {outputs} equal parts")
    return _split(x, axis, _even_lengths(x.shape[axis], outputs) if split is None else split, outputs)


@operator("Split", since=13, elements=ANY)
def split_13(x: Tensor, split: Known | None = None, *, axis: int = 0, outputs: int) -> tuple[Move, ...]:
    """Parts of x along an axis; their lengths are an input."""
    return split_1(x, axis=axis, split=None if split is None else whole_numbers(split, "split"), outputs=outputs)


@operator("Split", since=18, elements=ANY)
def split_18(
    x: Tensor, split: Known | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int
) -> tuple[Move, ...]:
    """Parts of x along an axis; their lengths are an input, or their number is an attribute."""
    (axis,) = normalized(x, (axis,))
    if (split is None) == (num_outputs is None):
        raise ModelError("needs either split or num_outputs" + ("" if split is None else ", not both"))
    if split is not None:
        return _split(x, axis, whole_numbers(split, "split"), outputs)
    if num_outputs != outputs:
        raise ModelError(f"num_outputs is {num_outputs}, and the node has {outputs} outputs")
    return _split(x, axis, _even_lengths(x.shape[axis], outputs), outputs)


@operator("Gather", elements=ANY)
def gather(x: Tensor, indices: Selector, *, axis: int = 0) -> Move:
    """Slices of x along an axis, picked by indices."""
    (axis,) = normalized(x, (axis,))
    n = x.shape[axis]
    if indices.dtype.kind != "i":
        raise ModelError(f"indices '{indices.name}' are {indices.dtype}; int32 or int64 is needed")

    pick = Gathered(axis, n, indices.name)
    return Move(x, pick, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), (indices,))


def _pad(x: Tensor, pads: tuple[int, ...], value: float, mode: str, axes: tuple[int, ...], *, wraps: bool) -> Move:
    if len(pads) != 2 * len(axes):
        raise ModelError(f"pads {list(pads)} has {len(pads)} numbers, {len(axes)} axes need {2 * len(axes)}")
    modes = ("constant", "reflect", "edge", "wrap")[: 4 if wraps else 3]
    if mode not in modes:
        raise ModelError(f"mode '{mode}' is not one of {', '.join(modes)}")
    width, cut = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    shape = list(x.shape)
    for a, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        n = x.shape[a]
        width[a], cut[a] = (max(before, 0), max(after, 0)), slice(max(-before, 0), n - max(-after, 0))
        left = n - max(-before, 0) - max(-after, 0)
        shape[a] = n + before + after
        reach = left - 1 if mode == "reflect" else left if mode == "wrap" else None
        if left < 0 or (reach is not None and max(width[a]) > reach):
            raise ModelError(f"pads {before}, {after} are too much for an axis of {n} in mode '{mode}'")
    return Move(x, Padded(tuple(width), tuple(cut), mode), tuple(shape), constants=(value,))


def _pad_by_inputs(
    x: Tensor,
    pads: NDArray[Any],
    constant_value: NDArray[Any] | None,
    axes: NDArray[Any] | None,
    mode: str,
    *,
    wraps: bool,
) -> Move:
    places = tuple(range(x.ndim)) if axes is None else normalized(x, whole_numbers(axes, "axes"))
    value = 0.0
    if constant_value is not None and constant_value.size:
        if constant_value.size > 1 or constant_value.dtype != x.dtype:
            raise ModelError(
                f"constant_value {list(constant_value.shape)} is {constant_value.dtype}; one {x.dtype} is needed"
            )
        value = constant_value.item()
    return _pad(x, whole_numbers(pads, "pads"), value, mode, places, wraps=wraps)


@operator("Pad", elements=ANY, numbers={"value": NumberKind.FILL})
def pad_2(x: Tensor, *, mode: str = "constant", pads: Ints, value: float = 0.0) -> Move:
    """x with new elements around it; the widths are an attribute, and negative widths crop."""
    return _pad(x, pads, value, mode, tuple(range(x.ndim)), wraps=False)


@operator("Pad", since=11, elements=ANY, numbers={"constant_value": NumberKind.FILL})
def pad_11(
    x: Tensor,
    pads: Known,
    constant_value: Known | None = None,
    *,
    mode: str = "constant",
) -> Move:
    """x with new elements around it; the widths are an input, and negative widths crop."""
    return _pad_by_inputs(x, pads, constant_value, None, mode, wraps=False)


@operator("Pad", since=18, elements=ANY, numbers={"constant_value": NumberKind.FILL})
def pad_18(
    x: Tensor, pads: Known, constant_value: Known | None = None, axes: Known | None = None, *, mode: str = "constant"
) -> Move:
    """x with new elements along some axes.

    The mode "wrap" exists from opset 19 on; torch writes it at 18.
    """
    return _pad_by_inputs(x, pads, constant_value, axes, mode, wraps=True)


@operator("Concat", elements=ANY, sign=Sign.KEPT)
def concat(*inputs: Tensor, axis: int) -> Join:
    """The inputs one after the other along an axis."""
    (axis,) = normalized(inputs[0], (axis,))
    first = inputs[0].shape
    for t in inputs:
        if t.ndim != len(first) or (t.shape[:axis], t.shape[axis + 1 :]) != (first[:axis], first[axis + 1 :]):
            raise ModelError(
                f"'{t.name}' {list(t.shape)} and '{inputs[0].name}' {list(first)} differ along axes other than {axis}"
            )
    shape = (*first[:axis], sum(t.shape[axis] for t in inputs), *first[axis + 1 :])
    return Join(inputs, Concatenated(axis), shape)
