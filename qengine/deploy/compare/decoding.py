"""Decoding: from the numbers of a dumped tensor to codes, in the model's order.

A dump may hold codes in any width, codes without their sign, or the real numbers that codes stand for. All readings
are compared with the codes that are expected, in all layouts that have the right size. A reading other than the
plainest is taken only where it explains clearly more codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.compare.dump import DumpedTensor, Reading
from qengine.deploy.compare.layouts import Layout, in_layout, layouts_of
from qengine.errors import DumpError
from qengine.model.steps import Tensor
from qengine.qformat import PartFormats, QFormat

Array = NDArray[Any]

_CLEAR, _MARGIN = 0.5, 0.1


class Habit(NamedTuple):
    """Way in which tensors of a dump were read so far; it is tried first."""

    how: str = ""
    layout: str = ""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Codes of a dumped tensor.

    Attributes
    ----------
    codes : codes in the model's order, in int64.
    how : reading of the numbers; "" where they were codes of the tensor's own word.
    layout : order in which they stood; "" for the model's.
    share : share of codes that equal the expected ones.
    is_whole : whether the dump holds nothing but the elements.
    """

    codes: Array
    how: str
    layout: str
    share: float
    is_whole: bool

    @property
    def habit(self) -> Habit:
        """The way in which the tensor was read."""
        return Habit(self.how, self.layout)

    @property
    def words(self) -> str:
        """The way in which the tensor was read, in words."""
        return ", ".join(part for part in (self.how, self.layout and f"layout {self.layout}") if part)


def decode(dumped: DumpedTensor, tensor: Tensor, expected: Array, habit: Habit, layout: str = "auto") -> Decoded:
    """Return the codes of a dumped tensor.

    Parameters
    ----------
    dumped
        The tensor in the dump.
    tensor
        The tensor of the model.
    expected
        Codes of the tensor, as far as they are known.
    habit
        Way in which the tensors before it were read.
    layout
        Name of the layout; "auto" to find it.

    Raises
    ------
    DumpError
        If no reading has the right number of elements, or numbers are NaN or no codes.
    """
    bits, size = bits_of(tensor), prod(tensor.shape)
    plain: Decoded | None = None
    best: Decoded | None = None
    usual: Decoded | None = None
    problem = ""
    for reading in dumped.readings(bits, size):
        flat = reading.numbers.reshape(-1)
        candidates = in_layout(layouts_of(tensor.shape, flat.size), len(tensor.shape), layout)
        if not candidates:
            problem = problem or _wrong_size(dumped, tensor, flat.size, layout)
            continue
        for how, numbers in _codes(reading, tensor):
            if numbers is None:
                problem = problem or f"{dumped.source}: {how}"
                continue
            for candidate in candidates:
                found = _read(numbers, candidate, how, expected)
                plain = plain or found
                usual = found if usual is None and found.habit == habit else usual
                if best is None or (found.share, found.is_whole) > (best.share, best.is_whole):
                    best = found
            if best is not None and best.share == 1.0 and best.is_whole:
                break
        if best is not None and best.share == 1.0 and best.is_whole:
            break
    if best is None or plain is None:
        raise DumpError(problem or _no_reading(dumped, tensor))
    default = usual or plain
    is_clear = best.share >= _CLEAR and best.share >= default.share + _MARGIN * (1 - default.share)
    return best if is_clear or best.share == 1.0 > default.share else default


def bits_of(tensor: Tensor) -> int:
    """Return the bits of the largest word of a tensor."""
    if isinstance(tensor.format, PartFormats):
        return max(f.bits for f in tensor.format.formats)
    return 8 * tensor.dtype.itemsize if tensor.format is None else tensor.format.word().bits


def _read(numbers: Array, layout: Layout, how: str, expected: Array) -> Decoded:
    codes = layout.read(numbers)
    return Decoded(codes, how, layout.name, equal_share(codes, expected), layout.elements == codes.size)


def equal_share(codes: Array, expected: Array) -> float:
    """Return the share of equal elements; 1 where there are none."""
    return float(np.count_nonzero(codes == expected)) / codes.size if codes.size else 1.0


def _codes(reading: Reading, tensor: Tensor) -> Iterator[tuple[str, Array | None]]:
    """Yield ways to take numbers as codes; None with a reason where they are not codes."""
    numbers, how = reading.numbers.reshape(-1), reading.how
    joined = ", ".join
    if tensor.format is None:
        yield how, numbers
        return
    if numbers.dtype.kind == "b":
        numbers = numbers.astype(np.int64)
    is_real = numbers.dtype.kind == "f"
    if is_real and np.isnan(numbers).any():
        count = int(np.isnan(numbers).sum())
        yield f"{count:,} of {numbers.size:,} numbers are NaN, and codes are whole numbers", None
        return
    word = tensor.format.word() if not isinstance(tensor.format, PartFormats) else None
    whole = not is_real or bool(np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all())
    if whole:
        codes = np.clip(numbers, -(2.0**62), 2.0**62).astype(np.int64) if is_real else numbers.astype(np.int64)
        if word is None or not codes.size or (codes.min() >= word.least and codes.max() <= word.most):
            yield how, codes
        else:
            low = codes & ((1 << word.bits) - 1)
            folded = low - ((low >> (word.bits - 1)) << word.bits) if word.signed else low
            fits = codes.min() >= -(1 << (word.bits - 1)) and codes.max() < 1 << word.bits
            if fits:
                yield joined(p for p in (how, "signed" if word.signed else "unsigned") if p), folded
            else:
                where = f"{int(codes.min())} .. {int(codes.max())}"
                real = _from_real(numbers, tensor)
                if real is None:
                    yield f"numbers of {where} do not fit {tensor.format}, {word.least} .. {word.most}", None
    if isinstance(tensor.format, QFormat) and (is_real or numbers.dtype.itemsize > 2):
        real = _from_real(numbers, tensor)
        if real is not None:
            yield joined(p for p in (how, "real numbers (dequantized)") if p), real
        elif not whole:
            yield f"real numbers between the steps of {tensor.format}, 2^{-tensor.fraction_bits}: no codes", None


def _from_real(numbers: Array, tensor: Tensor) -> Array | None:
    """Return real numbers as codes; None where some lie between steps, or beyond the word."""
    fmt = tensor.format
    if not isinstance(fmt, QFormat) or not np.isfinite(numbers).all():
        return None
    scaled = np.ldexp(numbers.astype(np.float64), fmt.fraction_bits)
    codes = np.rint(scaled)
    word = fmt.word()
    if codes.size and (np.abs(codes - scaled).max() > 1e-3 or codes.min() < word.least or codes.max() > word.most):
        return None
    return codes.astype(np.int64)


def _wrong_size(dumped: DumpedTensor, tensor: Tensor, elements: int, layout: str) -> str:
    size = prod(tensor.shape)
    verb = "is cut short or of another shape" if elements < size else f"has more elements than {_tried(layout)}"
    fmt = f" of {tensor.format}" if tensor.format is not None else ""
    return (
        f"{dumped.source}: '{dumped.name}' {verb}: it has {elements:,} elements, and tensor '{tensor.name}' "
        f"{list(tensor.shape)}{fmt} has {size:,}"
    )


def _tried(layout: str) -> str:
    return "any layout explains" if layout == "auto" else f"the layout {layout} explains; leave it out to find another"


def _no_reading(dumped: DumpedTensor, tensor: Tensor) -> str:
    size, bits = prod(tensor.shape), bits_of(tensor)
    return (
        f"{dumped.source}: '{dumped.name}' cannot be read as tensor '{tensor.name}' {list(tensor.shape)}, which takes "
        f"{size:,} words of {bits} bits: it is cut short, or its words have another width"
    )
