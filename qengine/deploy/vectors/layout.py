"""The order in which the text files of a pack hold the elements of a tensor.

ONNX's order is batch, channels, then the spatial axes: "nchw". Hardware often reads the channels of a pixel one after
the other, "nhwc", or some channels at a time, "nchwc4": channels in blocks of 4, each block over all pixels; missing
channels of the last block are 0. Tensors of fewer than three axes keep their order. Weights of convolutions are
tensors like any other: axis 1, their input channels, comes last in "nhwc".
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError

_LEAST_AXES = 3
_MOST_BLOCK = 1024


@dataclass(frozen=True)
class Layout:
    """An order of elements.

    Attributes
    ----------
    name : "nchw", "nhwc", or "nchwc" and a number.
    """

    name: str = "nchw"

    def __post_init__(self) -> None:
        match = re.fullmatch(r"nchw|nhwc|nchwc([1-9][0-9]{0,3})", self.name)
        if match is None or (match[1] and int(match[1]) > _MOST_BLOCK):
            raise OptionError(f"element order '{self.name}' is not nchw, nhwc, or nchwc with a number such as nchwc4")

    @property
    def block(self) -> int | None:
        """The number of channels of a block; None without blocks."""
        return int(self.name[5:]) if len(self.name) > 4 else None

    def applies(self, ndim: int) -> bool:
        """Whether tensors of some number of axes are in another order than ONNX's."""
        return self.name != "nchw" and ndim >= _LEAST_AXES

    def placed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the elements in this order, with the axes of the order."""
        if not self.applies(array.ndim):
            return array
        if self.block is None:
            return np.moveaxis(array, 1, -1)
        missing = -array.shape[1] % self.block
        padded = np.pad(array, [(0, missing if axis == 1 else 0) for axis in range(array.ndim)])
        blocks = padded.reshape(array.shape[0], padded.shape[1] // self.block, self.block, *array.shape[2:])
        return np.moveaxis(blocks, 2, -1)

    def read(self, flat: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return elements in this order as an array of a shape; the inverse of `placed`."""
        if not self.applies(len(shape)):
            return flat.reshape(shape)
        if self.block is None:
            return np.moveaxis(flat.reshape(shape[0], *shape[2:], shape[1]), -1, 1)
        blocks = -(-shape[1] // self.block)
        wide = np.moveaxis(flat.reshape(shape[0], blocks, *shape[2:], self.block), -1, 2)
        return wide.reshape(shape[0], blocks * self.block, *shape[2:])[:, : shape[1]]

    def describe(self, ndim: int) -> str:
        """Return the order of a tensor in words, from the slowest axis to the fastest."""
        if not self.applies(ndim):
            return "ONNX's order"
        spatial = " ".join(f"axis{axis}" for axis in range(2, ndim))
        if self.block is None:
            return f"axis0 {spatial} axis1"
        return f"axis0 axis1/{self.block} {spatial} axis1%{self.block}"
