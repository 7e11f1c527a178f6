"""Ops that pack arrays into the layout of the kernels, unpack them, and change one such layout into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from qengine.kernels.isa import Isa
from qengine.kernels.packing import Move, Pack, Relayout, Unpack
from qengine.kernels.program import Call
from qengine.kernels.reference.word import Word
from qengine.model.steps import Tensor
from qengine.qformat import QFormat
from qengine.runtime.native.block_copies import PlainStrides, block_copies, is_raw
from qengine.runtime.native.op import Op, Rows, double_bits
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, View

_COPY_PART = 1 << 14
"""Bytes of a part of a copy that threads share."""

_CODES_PART = 1 << 12
"""Elements of a part of a quantization in plain order that threads share."""


@dataclass(eq=False)
class PackOp(Op):
    """Packing of a (N, C, H, W) array into blocks; real numbers are quantized where the buffer holds codes.

    Attributes
    ----------
    word : word of the codes; None for float32.
    fraction_bits : fraction bits of the codes.
    source : element type of the array.
    nan : address of the counter that the kernel increments where it finds NaN.
    """

    word: Word | None
    fraction_bits: int
    source: str
    nan: Address

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), buffer, word = views, self.out, self.word
        if word is None and is_raw(self.source, buffer):
            self.kernel = "pack"
            strides = PlainStrides(x.image, x.plane, x.row, ITEMSIZE[self.source])
            return block_copies(self, x.at(rows.first), strides, out, buffer, rows, packs=True)
        quantizes = word is not None and self.source == "f32"
        if quantizes:
            assert word is not None
            spec = _quantization(word, buffer.stored, counts=buffer.flagged)
        else:
            spec = Pack(self.source, buffer.stored)  # type: ignore[arg-type]
        self.kernel = "quantize" if quantizes else "pack"
        batch, channels, _, width = buffer.shape
        arguments: dict[str, Address] = {
            **{"x": x.at(rows.first), "x_batch": x.image, "x_channel": x.plane, "x_row": x.row},
            **out.arguments("y", rows.first),
            **{"block": buffer.block, "batch": batch, "channels": channels, "rows": rows.count, "width": width},
            **_numbers(word, self.fraction_bits, self.nan),
            "zero": buffer.zero,
            **out.flag_arguments,
        }
        return [Call(spec, arguments)]


def _quantization(word: Word, stored: str, *, counts: bool = False) -> Pack:
    """Return the specification of the kernel that makes codes of a word from float32."""
    return Pack("f32", stored, word.rounding, word.fitting, word.keeps_sign, counts)  # type: ignore[arg-type]


def _numbers(word: Word | None, fraction_bits: int, nan: Address) -> dict[str, Address]:
    """Return the arguments of a quantization to a word, which other copies do not read."""
    bounds = (word.lowest, word.most, word.bits) if word else (0, 0, 0)
    scale = {"scale": double_bits(2.0**fraction_bits), "nan": nan}
    return {**scale, **dict(zip(("low", "high", "bits"), bounds, strict=True))}


def is_converted(t: Tensor) -> bool:
    """Return whether kernels make codes of a tensor of real numbers in plain order, and real numbers of its codes."""
    return t.dtype == np.float32 and isinstance(t.format, QFormat) and prod(t.shape) > 0


def plain_quantize_op(
    isa: Isa, x: TensorBuffer, out: TensorBuffer, word: Word, fraction_bits: int, nan: Address
) -> PlainOp:
    """Return the op that makes codes of float32 in plain order: one row of the kernel that packs.

    Parameters
    ----------
    isa
        Instruction set that the kernel is compiled for.
    x, out
        Plain buffers.
    word, fraction_bits
        Word and fraction bits of the codes.
    nan
        Address of the counter that the kernel increments where it finds NaN.
    """
    size, itemsize = prod(x.shape), ITEMSIZE[out.stored]
    strides = ("x_batch", "x_channel", "x_row", "y_batch", "y_block", "y_row", "zero")
    shape = dict.fromkeys(strides, 0) | dict.fromkeys(("block", "batch", "channels", "rows"), 1)

    def arguments(part: Part) -> dict[str, Address]:
        first, end = part.first * _CODES_PART, min(part.end * _CODES_PART, size)
        places = {"x": part.inputs[0] + first * 4, "y": part.outputs[0] + first * itemsize}
        return {**places, **shape, "width": end - first, **_numbers(word, fraction_bits, nan)}

    # The bits of a code that is stored without a change do not depend on the sign of the type.
    spec = _quantization(word, "u8" if itemsize == 1 else "i16")
    return PlainOp(isa, (x,), out, spec, arguments, -(-size // _CODES_PART), 1.5 * size, label="quantize")


@dataclass(eq=False)
class UnpackOp(Op):
    """Unpacking of blocks into a (N, C, H, W) array, as codes or as real numbers.

    Attributes
    ----------
    target : element type of the array.
    fraction_bits : fraction bits of the codes, where they become real numbers.
    """

    target: str
    fraction_bits: int

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,) = views, self.inputs
        if is_raw(self.target, buffer) and (self.target == "f32") == (buffer.stored == "f32"):
            self.kernel = "unpack"
            strides = PlainStrides(out.image, out.plane, out.row, ITEMSIZE[self.target])
            return block_copies(self, out.at(rows.first), strides, x, buffer, rows, packs=False)
        self.kernel = "dequantize" if self.target == "f32" and buffer.stored != "f32" else "unpack"
        batch, channels, _, width = buffer.shape
        arguments: dict[str, Address] = {
            **x.arguments("x", rows.first),
            **{"y": out.at(rows.first), "y_batch": out.image, "y_channel": out.plane, "y_row": out.row},
            **{"block": buffer.block, "batch": batch, "channels": channels, "rows": rows.count, "width": width},
            **{"scale": double_bits(2.0**-self.fraction_bits), "zero": buffer.zero},
        }
        return [Call(Unpack(buffer.stored, self.target), arguments)]  # type: ignore[arg-type]


@dataclass(eq=False)
class RelayoutOp(Op):
    """The same elements in blocks of another size, or in 16 bits instead of 8; several inputs fill one wider output.

    Attributes
    ----------
    skips : first channel of the output that each input fills.
    """

    skips: tuple[int, ...] = (0,)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        self.kernel = "relayout"
        calls = []
        for buffer, x, skip in zip(self.inputs, views, self.skips, strict=True):
            batch, channels, _, width = buffer.shape
            arguments: dict[str, Address] = {
                **x.arguments("x", rows.first),
                **out.arguments("y", rows.first),
                **{"x_channels": buffer.block, "y_channels": self.out.block, "skip": skip, "batch": batch},
                **{"channels": channels, "rows": rows.count, "width": width, "change": self.out.zero - buffer.zero},
            }
            spec = Relayout(buffer.stored, self.out.stored)  # type: ignore[arg-type]
            calls.append(Call(spec, arguments))
            if out.flags:
                assert x.flags
                flags = {"x": arguments["x"] + x.flags, "y": arguments["y"] + out.flags, "change": 0}
                calls.append(Call(spec, {**arguments, **flags}))
        return calls


def copy_bytes_op(isa: Isa, x: TensorBuffer, out: TensorBuffer) -> PlainOp:
    """Return the op that copies all elements of a plain buffer to another."""
    size = prod(x.shape) * ITEMSIZE[x.stored]
    parts = -(-size // _COPY_PART)

    def arguments(part: Part) -> dict[str, Address]:
        first, end = part.first * _COPY_PART, min(part.end * _COPY_PART, size)
        x_part, y_part = part.inputs[0] + first, part.outputs[0] + first
        return {"x": x_part, "y": y_part, "plane": 0, "planes": 1, "size": end - first}

    return PlainOp(isa, (x,), out, Move(), arguments, parts, size / 16, label="copy")
