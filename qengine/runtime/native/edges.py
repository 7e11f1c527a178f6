"""Into the kernels' layout and out of it, and from one such layout to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qengine.kernels.packing import Pack, Relayout, Unpack
from qengine.kernels.program import Call
from qengine.kernels.reference.word import Word
from qengine.runtime.native.op import Op, Rows, double_bits
from qengine.runtime.native.place import Address, View


@dataclass(eq=False)
class EnterOp(Op):
    """An array of the user's, quantized where it is real numbers and the place is for codes.

    Attributes
    ----------
    word, fraction_bits : of the codes; None for float32.
    source : the array's element type.
    nan : where the kernel says that it found NaN.
    """

    word: Word | None
    fraction_bits: int
    source: str
    nan: Address

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), place, word = views, self.out, self.word
        quantizes = word is not None and self.source == "f32"
        if quantizes:
            assert word is not None
            spec = Pack("f32", place.stored, word.rounding, word.overflow == "wrap", word.signed)  # type: ignore[arg-type]
        else:
            spec = Pack(self.source, place.stored)  # type: ignore[arg-type]
        self.kernel = "quantize" if quantizes else "enter"
        batch, channels, _, width = place.shape
        arguments: dict[str, Address] = {
            **{"x": x.at(rows.first), "x_batch": x.image, "x_channel": x.plane, "x_row": x.row},
            **out.arguments("y", rows.first),
            **{"block": place.block, "batch": batch, "channels": channels, "rows": rows.count, "width": width},
            **{"scale": double_bits(2.0**self.fraction_bits), "zero": place.zero, "nan": self.nan},
            **({"low": word.least, "high": word.most, "bits": word.bits} if word else {"low": 0, "high": 0, "bits": 0}),
        }
        return [Call(spec, arguments)]


@dataclass(eq=False)
class LeaveOp(Op):
    """An array for the user: real numbers or codes.

    Attributes
    ----------
    target : the array's element type.
    fraction_bits : of the codes.
    """

    target: str
    fraction_bits: int

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (place,) = views, self.inputs
        self.kernel = "dequantize" if self.target == "f32" and place.stored != "f32" else "leave"
        batch, channels, _, width = place.shape
        arguments: dict[str, Address] = {
            **x.arguments("x", rows.first),
            **{"y": out.at(rows.first), "y_batch": out.image, "y_channel": out.plane, "y_row": out.row},
            **{"block": place.block, "batch": batch, "channels": channels, "rows": rows.count, "width": width},
            **{"scale": double_bits(2.0**-self.fraction_bits), "zero": place.zero},
        }
        return [Call(Unpack(place.stored, self.target), arguments)]  # type: ignore[arg-type]


@dataclass(eq=False)
class RelayoutOp(Op):
    """The same codes or numbers in another block, or in 16 bits instead of 8; of some channels of a wider place."""

    skips: tuple[int, ...] = (0,)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        self.kernel = "relayout"
        found = []
        for place, x, skip in zip(self.inputs, views, self.skips, strict=True):
            batch, channels, _, width = place.shape
            arguments: dict[str, Address] = {
                **x.arguments("x", rows.first),
                **out.arguments("y", rows.first),
                **{"x_channels": place.block, "y_channels": self.out.block, "skip": skip, "batch": batch},
                **{"channels": channels, "rows": rows.count, "width": width, "change": self.out.zero - place.zero},
            }
            found.append(Call(Relayout(place.stored, self.out.stored), arguments))  # type: ignore[arg-type]
        return found
