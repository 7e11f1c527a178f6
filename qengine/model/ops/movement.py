"""Operators that keep all elements, in another shape or order, or repeat them."""

from math import prod
from typing import Annotated, Any

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import Dim, Node
from qengine.model.ops.axes import channels_beside_axes, normalized, whole_numbers
from qengine.model.ops.facts import Constants, channels_stay
from qengine.model.ops.operator import ANY, Channels, Facts, Ints, Known, Sign, Since, declare_delegated, operator
from qengine.model.steps import Island, Move, Tensor
from qengine.model.steps.forms import Reshaped
from qengine.model.steps.moves import Expanded, Rearranged, Tiled, Transposed


def _as_shape(x: Tensor, shape: tuple[int, ...]) -> Move:
    if prod(shape) != prod(x.shape):
        raise ModelError(f"'{x.name}' {list(x.shape)} cannot become {list(shape)}")
    return Move(x, Reshaped(shape), shape)


@operator("Identity", elements=ANY, channels=channels_stay, keeps_mean=True)
def identity(x: Tensor) -> Move:
    """The input itself."""
    return Move(x, Reshaped(x.shape), x.shape)


@operator("Dropout", until=10, channels=channels_stay, keeps_mean=True)
def dropout(x: Tensor, *, ratio: float = 0.5) -> Move:  # noqa: ARG001 - training only
    """The input itself, as nothing is dropped outside of training."""
    return identity(x)


# Evaluators pick their elements, by their order or by indices.
for _name in ("GatherElements", "GatherND", "ReverseSequence", "TopK"):
    declare_delegated(_name, Facts(preserves_format=True, sign=Sign.KEPT))


def _input_and_mask(x: Tensor) -> tuple[Move | Island, ...]:
    """Return the input itself and the mask, which is true everywhere."""
    return identity(x), Island((), lambda: np.broadcast_to(np.True_, x.shape), x.shape, np.dtype(bool))


@operator("Dropout", since=10, until=12, preserves_format=True, channels=channels_stay, keeps_mean=True)
def dropout_10(x: Tensor, *, ratio: float = 0.5) -> tuple[Move | Island, ...]:  # noqa: ARG001
    """The input itself and a mask of booleans."""
    return _input_and_mask(x)


@operator("Dropout", since=12, preserves_format=True, channels=channels_stay, keeps_mean=True)
def dropout_12(
    x: Tensor,
    ratio: Known | None = None,  # noqa: ARG001
    training_mode: Known | None = None,
    *,
    seed: int | None = None,  # noqa: ARG001
) -> tuple[Move | Island, ...]:
    """The input itself and a mask, with a ratio that is an input."""
    if training_mode is not None and training_mode.any():
        raise UnsupportedError("training_mode is on; export the model in eval mode")
    return _input_and_mask(x)


def _channels_of_reshape(
    node: Node, channels: Channels, shape: tuple[Dim, ...] | None, constants: Constants
) -> Channels | None:
    """Return the place of channels after a Reshape that keeps the batch and makes one axis of all others."""
    wanted = constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if channels is not Channels.IMAGE or wanted is None or wanted.size != 2 or node.number("allowzero", 0):
        return None
    batch, features = (int(n) for n in wanted)
    if batch == 0:
        return Channels.LAST
    lengths = [n for n in (shape or ())[1:] if isinstance(n, int)]
    if shape is None or len(lengths) < len(shape) - 1:
        return None
    return Channels.LAST if features == prod(lengths) or (shape[0] == batch and features == -1) else None


@operator("Reshape", elements=ANY, channels=_channels_of_reshape)
def reshape(x: Tensor, shape: Known, *, allowzero: Annotated[int, Since(14)] = 0) -> Move:
    """x in a new shape, where -1 is the remaining length and 0 (without allowzero) copies the length of x."""
    wanted = list(whole_numbers(shape, "the lengths"))
    if not allowzero:
        if any(n == 0 and i >= x.ndim for i, n in enumerate(wanted)):
            raise ModelError(f"shape {wanted} copies an axis that '{x.name}' {list(x.shape)} does not have")
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ModelError(f"shape {wanted} has a length that is not allowed")
    if -1 in wanted:
        rest = prod(n for n in wanted if n != -1)
        if rest == 0 or prod(x.shape) % rest:
            raise ModelError(f"'{x.name}' {list(x.shape)} cannot become {wanted}")
        wanted[wanted.index(-1)] = prod(x.shape) // rest
    return _as_shape(x, tuple(wanted))


def _channels_of_flatten(
    node: Node, channels: Channels, _shape: tuple[Dim, ...] | None, _constants: Constants
) -> Channels | None:
    return Channels.LAST if channels is Channels.IMAGE and _is_by_batch(node) else None


def _is_by_batch(node: Node) -> bool:
    return node.number("axis", 1) == 1


@operator("Flatten", elements=ANY, channels=_channels_of_flatten, keeps_mean=_is_by_batch)
def flatten(x: Tensor, *, axis: int = 1) -> Move:
    """x as a matrix: the axes before `axis` are rows, the others columns."""
    if not -x.ndim <= axis <= x.ndim:
        raise ModelError(f"axis {axis} is not one of '{x.name}' {list(x.shape)}")
    split = axis + x.ndim if axis < 0 else axis
    return _as_shape(x, (prod(x.shape[:split]), prod(x.shape[split:])))


def _squeeze(x: Tensor, axes: Any) -> Move:
    gone = (
        tuple(i for i, n in enumerate(x.shape) if n == 1)
        if axes is None
        else normalized(x, whole_numbers(axes, "axes"))
    )
    if any(x.shape[a] != 1 for a in gone):
        raise ModelError(f"axes {list(gone)} of '{x.name}' {list(x.shape)} are not all of length 1")
    return _as_shape(x, tuple(n for i, n in enumerate(x.shape) if i not in gone))


def _channels_of_squeeze(
    node: Node, channels: Channels, shape: tuple[Dim, ...] | None, constants: Constants
) -> Channels | None:
    return channels_beside_axes(node, channels, shape, constants, keepdims=False)


@operator("Squeeze", elements=ANY, channels=_channels_of_squeeze)
def squeeze(x: Tensor, *, axes: Ints | None = None) -> Move:
    """x without axes of length 1, which are an attribute."""
    return _squeeze(x, axes)


@operator("Squeeze", since=13, elements=ANY, channels=_channels_of_squeeze)
def squeeze_13(x: Tensor, axes: Known | None = None) -> Move:
    """x without axes of length 1, which are an input."""
    return _squeeze(x, axes)


def _unsqueeze(x: Tensor, axes: tuple[int, ...]) -> Move:
    ndim = x.ndim + len(axes)
    new = {a + ndim if a < 0 else a for a in axes}
    if len(new) != len(axes) or any(not 0 <= a < ndim for a in new):
        raise ModelError(f"axes {list(axes)} are not axes of a tensor with {ndim} axes, or occur twice")
    old = iter(x.shape)
    return _as_shape(x, tuple(1 if i in new else next(old) for i in range(ndim)))


@operator("Unsqueeze", elements=ANY)
def unsqueeze(x: Tensor, *, axes: Ints) -> Move:
    """x with new axes of length 1, which are an attribute."""
    return _unsqueeze(x, axes)


@operator("Unsqueeze", since=13, elements=ANY)
def unsqueeze_13(x: Tensor, axes: Known) -> Move:
    """x with new axes of length 1, which are an input."""
    return _unsqueeze(x, whole_numbers(axes, "axes"))


@operator("Transpose", elements=ANY)
def transpose(x: Tensor, *, perm: Ints | None = None) -> Move:
    """x with its axes in another order."""
    order = tuple(reversed(range(x.ndim))) if perm is None else perm
    if sorted(order) != list(range(x.ndim)):
        raise ModelError(f"perm {list(order)} is not an order of the {x.ndim} axes of '{x.name}'")
    return Move(x, Transposed(order), tuple(x.shape[a] for a in order))


@operator("Tile", elements=ANY)
def tile(x: Tensor, repeats: Known) -> Move:
    """x repeated along its axes."""
    times = whole_numbers(repeats, "repeats")
    if len(times) != x.ndim or min(times, default=0) < 0:
        raise ModelError(f"repeats {list(times)} do not fit '{x.name}' {list(x.shape)}")
    return Move(x, Tiled(times), tuple(n * t for n, t in zip(x.shape, times, strict=True)))


@operator("Expand", since=8, elements=ANY)
def expand(x: Tensor, shape: Known) -> Move:
    """x broadcast with a shape."""
    wide = np.broadcast_shapes(x.shape, whole_numbers(shape, "the lengths"))
    return Move(x, Expanded(wide), wide)


@operator("DepthToSpace", elements=ANY)
def depth_to_space(x: Tensor, *, blocksize: int, mode: Annotated[str, Since(11)] = "DCR") -> Move:
    """Channels as blocks of pixels; the block is in front of the channel axis (DCR) or at its back (CRD)."""
    _blocks(x, blocksize, mode)
    n, c, h, w = x.shape
    b = blocksize
    if c % (b * b):
        raise ModelError(f"{c} channels are not a multiple of blocksize {b} squared")
    depth = c // (b * b)
    shape = (n, depth, h * b, w * b)
    if mode == "DCR":
        return _rearranged(x, (n, b, b, depth, h, w), (0, 3, 4, 1, 5, 2), shape)
    return _rearranged(x, (n, depth, b, b, h, w), (0, 1, 4, 2, 5, 3), shape)


@operator("SpaceToDepth", elements=ANY)
def space_to_depth(x: Tensor, *, blocksize: int, mode: Annotated[str, Since(28)] = "DCR") -> Move:
    """Blocks of pixels as channels; the block goes to the front of the channel axis (DCR) or to its back (CRD)."""
    _blocks(x, blocksize, mode)
    n, c, h, w = x.shape
    b = blocksize
    if h % b or w % b:
        raise ModelError(f"an image of {h} x {w} is not made of blocks of {b}")
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return _rearranged(x, (n, c, h // b, b, w // b, b), order, (n, c * b * b, h // b, w // b))


def _blocks(x: Tensor, blocksize: int, mode: str) -> None:
    if x.ndim != 4 or blocksize < 1:
        raise ModelError(f"'{x.name}' {list(x.shape)} needs 4 axes, and blocksize {blocksize} must be 1 or more")
    if mode not in ("DCR", "CRD"):
        raise ModelError(f"mode '{mode}' is not DCR or CRD")


def _rearranged(x: Tensor, split: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...]) -> Move:
    return Move(x, Rearranged(split, order, shape), shape)
