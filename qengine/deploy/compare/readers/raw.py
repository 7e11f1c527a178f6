"""Raw binary dumps: the width, the sign, the order of the bytes and real numbers are tried."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from qengine.deploy.compare.dump import DumpedTensor, Reading, Readings

_INTEGERS = {1: "bytes", 2: "16-bit words", 4: "32-bit words", 8: "64-bit words"}
_NUMBER = re.compile(r"(?:^|[^0-9a-z])(?:id|layer|tidl_trace|trace|tensor|t)?_?0*(\d{1,5})(?=[^0-9]|$)", re.IGNORECASE)


def read_raw(name: str, content: bytes, source: str) -> list[DumpedTensor]:
    """Return the tensor of a raw file, such as TIDL's .y; a number in the name is its number."""
    return [DumpedTensor(name, source, readings_of(content), number_in(name))]


def number_in(name: str) -> int | None:
    """Return the first number in a file name that may be that of a layer."""
    found = _NUMBER.search(name.rpartition("/")[2])
    return int(found[1]) if found else None


def readings_of(content: bytes) -> Readings:
    """Return the function that yields all ways to read bytes."""

    def readings(bits: int, count: int) -> Iterator[Reading]:
        own = 1 if bits <= 8 else 2
        for width in sorted(_INTEGERS, key=lambda w: (w != own, w)):
            if len(content) % width or len(content) // width < count:
                continue
            for order, words in (("<", "little-endian"), (">", "big-endian")):
                if width == 1 and order == ">":
                    continue
                how = _INTEGERS[width] + (f", {words}" if width > 1 else "")
                numbers = np.frombuffer(content, f"{order}i{width}")
                yield Reading(numbers, "" if width == own and order == "<" else how)
        for width in (4, 8, 2):
            if len(content) % width or len(content) // width < count:
                continue
            for order, words in (("<", "little-endian"), (">", "big-endian")):
                numbers = np.frombuffer(content, f"{order}f{width}").astype(np.float64)
                sizes = np.abs(numbers[numbers != 0])
                if np.isfinite(numbers).all() and (not sizes.size or (sizes.min() > 1e-9 and sizes.max() < 1e9)):
                    yield Reading(numbers, f"float{8 * width}, {words}")

    return readings
