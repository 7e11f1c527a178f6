"""Weights of operators whose channels are axis 1: Conv, ConvTranspose, ScaleShift; and of RowScaleShift."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.model.passes.linear_weights.layout import LinearWeights, NoFold, Reals, Shape


def _vector(k: Reals, rank: int, axis: int, length: int | None) -> Reals:
    """Return a constant that differs along one axis only as a vector.

    Parameters
    ----------
    k
        Constant that broadcasts against a tensor.
    rank
        Number of axes of the tensor.
    axis
        The axis, counted from the end: -1 is the last.
    length
        Length of the axis of the tensor; None where not known, and then k must be one number.
    """
    if k.ndim > rank:
        raise NoFold
    shape = (1,) * (rank - k.ndim) + k.shape
    if any(n != 1 for i, n in enumerate(shape, -rank) if i != axis):
        raise NoFold
    if k.size != 1 and k.size != length:
        raise NoFold
    return np.broadcast_to(k.reshape(-1), (length if length is not None else 1,))


@dataclass(frozen=True)
class ImageWeights(LinearWeights):
    """Weights of an operator whose channels are axis 1 of its input and its output."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """The number of output channels."""

    @property
    @abstractmethod
    def inputs(self) -> int:
        """The number of input channels that the weights are for."""

    @property
    def is_whole(self) -> bool:
        """Whether the groups divide the weights."""
        group = self.node.number("group", 1)
        return len(self.shape) > 2 and group > 0 and self.shape[0] % group == 0 and 0 not in self.shape

    @property
    def rank(self) -> int | None:
        """The number of axes of input and output."""
        return len(self.shape)

    @property
    def summed(self) -> tuple[int, ...]:
        """All axes but the first."""
        return tuple(range(1, len(self.shape)))

    def takes_bias(self, shape: Shape) -> bool:
        """Whether there is one number for each output channel."""
        return shape == (self.outputs,)

    def _of(self, k: Reals, length: int | None, *, by_channel: bool) -> Reals:
        if by_channel:
            if k.size != length:
                raise NoFold
            return k
        if self.rank is None:
            if k.ndim > 2 or k.size != 1:  # there are two axes at least
                raise NoFold
            return _vector(k, 2, -1, length)
        return _vector(k, self.rank, self.channel_axis(self.rank), length)

    def channel_axis(self, rank: int) -> int:
        """Return the axis that counts channels, from the end."""
        return 1 - rank

    def _input(self, k: Reals, *, by_channel: bool) -> Reals:
        """Return a number for each input channel; a constant must not make one channel into several."""
        known = self.x[self.channel_axis(len(self.x))] if self.x is not None and len(self.x) > 1 else None
        if k.size != 1 and known != self.inputs:
            raise NoFold
        return np.broadcast_to(self._of(k, self.inputs, by_channel=by_channel), (self.inputs,))

    def added(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one number for each output channel."""
        return self._of(k, self.outputs, by_channel=by_channel)


@dataclass(frozen=True)
class ConvWeights(ImageWeights):
    """Weights (outputs, inputs of a group, kernel...) of a Conv."""

    @property
    def group(self) -> int:
        """The number of groups."""
        return self.node.number("group", 1)

    @property
    def outputs(self) -> int:
        """The number of filters."""
        return self.shape[0]

    @property
    def inputs(self) -> int:
        """The number of input channels of all groups."""
        return self.shape[1] * self.group

    @property
    def is_pointwise(self) -> bool:
        """Whether there is no padding."""
        auto = self.node.attributes.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            return all(n == 1 for n in self.shape[2:])  # such a kernel needs none
        return auto == "VALID" or not self._numbers("pads").any()

    def _numbers(self, attribute: str) -> NDArray[np.int64]:
        found = self.node.attributes.get(attribute, ())
        return np.array(found if isinstance(found, tuple) else (), np.int64)

    def _rows(self, per_filter: Reals) -> Reals:
        return per_filter.reshape(*per_filter.shape, *(1,) * (len(self.shape) - per_filter.ndim))

    def after(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each filter."""
        return self._rows(self._of(k, self.outputs, by_channel=by_channel))

    def before(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each input channel of each filter."""
        each = self._input(k, by_channel=by_channel).reshape(self.group, self.shape[1])
        return self._rows(np.repeat(each, self.outputs // self.group, axis=0))

    def response(self, k: Reals, weights: Reals, *, by_channel: bool = False) -> Reals:
        """Return the sums of the filters, each input channel times its number."""
        if not self.is_pointwise:
            raise NoFold
        sums = weights * self.before(k, by_channel=by_channel)
        return np.asarray(sums.reshape(self.outputs, -1).sum(axis=1))


@dataclass(frozen=True)
class TransposedConvWeights(ConvWeights):
    """Weights (inputs, outputs of a group, kernel...) of a ConvTranspose."""

    @property
    def outputs(self) -> int:
        """The number of output channels of all groups."""
        return self.shape[1] * self.group

    @property
    def inputs(self) -> int:
        """The number of input channels of all groups."""
        return self.shape[0]

    @property
    def summed(self) -> tuple[int, ...]:
        """All axes but the second."""
        return (0, *range(2, len(self.shape)))

    @property
    def is_pointwise(self) -> bool:
        """Whether each output is one product for each input channel."""
        dense = all(n == 1 for n in (*self.shape[2:], *self._numbers("strides")))
        padded = any(self._numbers(name).any() for name in ("pads", "output_padding"))
        return dense and not padded and "output_shape" not in self.node.attributes

    def after(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each output channel of each input channel."""
        each = self._of(k, self.outputs, by_channel=by_channel).reshape(self.group, self.shape[1])
        return self._rows(np.repeat(each, self.inputs // self.group, axis=0))

    def before(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each input channel."""
        return self._rows(self._input(k, by_channel=by_channel))

    def response(self, k: Reals, weights: Reals, *, by_channel: bool = False) -> Reals:
        """Return the sums over the input channels of each group."""
        if not self.is_pointwise:
            raise NoFold
        sums = (weights * self.before(k, by_channel=by_channel)).reshape(self.group, -1, self.shape[1])
        return np.asarray(sums.sum(axis=1).ravel())


@dataclass(frozen=True)
class ScaleWeights(ImageWeights):
    """Weights (channels,) of a ScaleShift."""

    @property
    def is_whole(self) -> bool:
        """Whether the weights are a vector."""
        return len(self.shape) == 1

    @property
    def rank(self) -> int | None:
        """The number of axes of the input, where it is known."""
        return None if self.x is None else len(self.x)

    @property
    def outputs(self) -> int:
        """The number of channels."""
        return self.shape[0]

    @property
    def inputs(self) -> int:
        """The number of channels."""
        return self.shape[0]

    def after(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each channel."""
        return self._of(k, self.outputs, by_channel=by_channel)

    def before(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each channel."""
        return self._input(k, by_channel=by_channel)

    def response(self, k: Reals, weights: Reals, *, by_channel: bool = False) -> Reals:
        """Return the products."""
        return np.asarray(weights * self._input(k, by_channel=by_channel))


@dataclass(frozen=True)
class RowScaleWeights(ScaleWeights):
    """Weights (channels,) of a RowScaleShift."""

    def channel_axis(self, rank: int) -> int:  # noqa: ARG002
        """Return the last axis."""
        return -1

    def _of(self, k: Reals, length: int | None, *, by_channel: bool) -> Reals:
        """Return a number for each channel; a BatchNormalization counts axis 1."""
        if by_channel and self.rank != 2:
            raise NoFold
        return super()._of(k, length, by_channel=by_channel)
