"""Constants of a quantized model: integers in initializers, each with a DequantizeLinear after it."""

from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.kernels.reference.requantize import quantize
from qengine.model.graph import Graph, Names, Node
from qengine.model.rules import BiasRule
from qengine.model.steps import Tensor
from qengine.model.steps.bias import bias_codes
from qengine.qformat import ChannelFormats, Format, QFormat, fraction_bits_of
from qengine.quantization.qdq.spelling import Spelling

_BIAS_BITS = 32


class StoredConstants:
    """Constants of a graph that are stored as integers.

    Parameters
    ----------
    graph
        The graph that the constants are in.
    version
        Opset of the new nodes.
    names
        Names of the whole model.
    kept
        Names of constants that an operator reads unquantized too, and which therefore keep their names.
    add_node
        Function that is called with each new node.
    spelling
        Nodes that give the constants.

    Attributes
    ----------
    arrays : arrays of the new initializers by name, scales and zero points included.
    """

    def __init__(
        self,
        graph: Graph,
        version: int,
        names: Names,
        kept: Container[str],
        add_node: Callable[[Node], None],
        spelling: Spelling,
    ) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._derived, self._version, self._names, self._add_node = graph.derived, version, names, add_node
        self._kept, self._spelling, self._unrounded = kept, spelling, graph.unrounded_biases
        self._used_own_names: set[str] = set()
        self._outputs: dict[tuple[str, object], str] = {}

    def add(self, wanted: str, array: NDArray[Any]) -> str:
        """Add an initializer with a free name, and return the name."""
        name = self._names.fresh(wanted)
        self.arrays[name] = array
        return name

    def in_format(self, name: str, array: NDArray[Any], fmt: Format) -> str:
        """Return the name of a constant after DequantizeLinear: the model's own name of it, if that is free."""
        if (name, fmt) not in self._outputs:
            self._spelling.check(name, fmt, self._version, is_constant=True)
            codes = quantize(array, fraction_bits_of(fmt, array.ndim), self._spelling.word(name, fmt))
            axis = fmt.axis if isinstance(fmt, ChannelFormats) else None
            each = (fmt,) if isinstance(fmt, QFormat) else fmt.formats
            out = self._own_name(name)
            self._outputs[name, fmt] = self._decode(codes, fmt.bits, out, [one.fraction_bits for one in each], axis)
        return self._outputs[name, fmt]

    def bias(self, name: str, array: NDArray[Any], bits: NDArray[np.int64], fmt: Format | None, *, is_own: bool) -> str:
        """Return the name of a bias of 32 bits after DequantizeLinear.

        Parameters
        ----------
        name, array
            The constant.
        bits
            Number of fraction bits, or one number for each channel.
        fmt
            Format to which the elements are rounded before; None for none.
        is_own
            Whether the result may have the model's own name of the bias.

        Raises
        ------
        UnsupportedError
            If an element in the format does not fit 32 bits with these fraction bits.
        """
        key = (name, bits.tobytes())
        if key not in self._outputs:
            n = bits
            if fmt is not None:
                array = _in_format(name, array, fmt, bits)
            if bits.size > 1:  # the last axis counts channels, group by group, with the same bits in each group
                channels = max(bits.size, array.shape[-1] if array.ndim else 1)
                array = np.broadcast_to(array, (*array.shape[:-1], channels))
                n = np.tile(bits, channels // bits.size)
            real = Tensor(name, array.dtype, array.shape, array)
            codes = bias_codes(real, array.shape, n, BiasRule()).astype(np.int32)
            if self._unrounded and not np.array_equal(np.ldexp(codes.astype(np.float64), -n), array):
                raise UnsupportedError(
                    f"bias '{name}' is finer than the sums that it goes into, and integers at their scale do not hold "
                    "it: write the model as QONNX (--as qonnx)"
                )
            out = self._own_name(name) if is_own else self._names.fresh(f"{name}_bias")
            self._outputs[key] = self._decode(
                codes, _BIAS_BITS, out, n.reshape(-1).tolist(), None if n.size == 1 else array.ndim - 1
            )
        return self._outputs[key]

    def number(self, name: str, array: NDArray[Any], fmt: QFormat) -> str:
        """Return the name of a constant with the values rounded to a format, as real numbers."""
        key = (name, ("number", fmt))
        if key not in self._outputs:
            codes = quantize(array, fmt.fraction_bits, fmt.word())
            rounded = np.ldexp(codes.astype(np.float64), -fmt.fraction_bits).astype(array.dtype)
            same = np.array_equal(rounded, array)
            self._outputs[key] = name if same and name in self._kept else self.add(f"{name}_rounded", rounded)
        return self._outputs[key]

    def _decode(self, codes: NDArray[Any], width: int, out: str, bits: list[int], axis: int | None) -> str:
        """Add codes, and a node that gives the tensor `out`; return the name."""
        node = self._spelling.constant(codes, width, bits, axis, out, self.add)
        self._add_node(node if node.domain else replace(node, version=self._version))
        return out

    def _own_name(self, constant: str) -> str:
        """Return the model's own name of a constant, or a new one if another tensor has it."""
        name = self._derived.get(constant, constant)
        if name in self._used_own_names or name in self._kept:
            return self._names.fresh(f"{name}_dequantized")
        self._used_own_names.add(name)
        return name


def _in_format(name: str, array: NDArray[Any], fmt: Format, bits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the numbers that the codes of a bias stand for, which 32 bits must hold."""
    n = fraction_bits_of(fmt, array.ndim)
    rounded = np.ldexp(quantize(array, n, fmt.word()).astype(np.float64), -np.asarray(n))
    if np.abs(rounded).max(initial=0.0) * 2.0 ** int(bits.max()) >= 1 << 31:
        raise UnsupportedError(
            f"bias '{name}' in {fmt} does not fit 32 bits with the {int(bits.max())} fraction bits of its sums: "
            "give the input or the weights fewer fraction bits"
        )
    return np.asarray(rounded)
