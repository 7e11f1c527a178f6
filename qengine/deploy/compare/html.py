"""The comparison as a page: one file without a network, with a heat map of every tensor that differs."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.compare.result import Comparison, TensorResult

Array = NDArray[Any]

_MOST_PLANES, _MOST_CELLS, _MOST_MAPS = 64, 256, 24
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:76em;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.own{background:#fde2e0}.inherited{background:#fff4d6}
.answer{padding:1em;border-left:4px solid #b3261e;background:#faf5f5}.equal{border-color:#2e7d32;background:#f2f8f2}
figure{display:inline-block;margin:.3em;font-size:12px;color:#555}img{image-rendering:pixelated;border:1px solid #ccc}
"""


_NUMBERS = "".join(f"<th class='n'>{heading}" for heading in ("codes", "differ", "own", "largest"))


def page(result: Comparison, title: str) -> str:
    """Return a comparison as HTML; the same comparison gives the same bytes."""
    return "\n".join(_parts(result, title)) + "\n"


def _parts(result: Comparison, title: str) -> Iterator[str]:
    yield f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title><style>{_STYLE}</style>"
    yield f"<h1>{escape(title)}</h1>"
    yield f"<p class='answer{' equal' if result.equal else ''}'>{escape(result.sentence)}</p>"
    for note in result.notes:
        yield f"<p>{escape(note)}</p>"
    yield f"<table><tr><th>tensor<th>operator<th>format{_NUMBERS}<th>differences</tr>"
    for one in result.tensors:
        yield _row(one)
    yield "</table>"
    if result.maps:
        yield "<p>Blue is less than expected, red is more; white is equal. A cell is one element.</p>"
    for one in [t for t in result.tensors if t.name in result.maps][:_MOST_MAPS]:
        kind = "its own errors" if one.own else "inherited errors"
        yield f"<h2>{escape(one.name)}: {kind}</h2>"
        yield from _maps(result.maps[one.name])
    yield "</html>"


def _row(one: TensorResult) -> str:
    kind = "own" if one.own else "inherited" if one.differing else ""
    cells = [escape(one.name), escape(one.operator), escape(one.format)]
    numbers = [one.codes, one.differing, one.own, one.largest]
    spread = ", ".join(f"{k:+d}: {n:,}" for k, n in one.differences.items())
    text = "".join(f"<td>{cell}" for cell in cells) + "".join(f"<td class='n'>{n:,}" for n in numbers)
    return f"<tr class='{kind}'>{text}<td>{spread}</tr>"


def _maps(difference: Array) -> Iterator[str]:
    """Yield a picture for each plane of a tensor that differs, on one scale."""
    planes = [(index, plane) for index, plane in _planes(difference) if plane.any()]
    largest = max(int(np.abs(difference).max(initial=0)), 1)
    for index, plane in planes[:_MOST_PLANES]:
        high, wide = plane.shape
        zoom = max(1, min(12, 240 // max(high, wide, 1)))
        data = base64.b64encode(_png(_coloured(plane, largest))).decode()
        wrong = int(np.count_nonzero(plane))
        yield (
            f"<figure><img src='data:image/png;base64,{data}' width='{wide * zoom}' height='{high * zoom}' alt=''>"
            f"<br>{index} {wrong:,} wrong</figure>"
        )
    if len(planes) > _MOST_PLANES:
        yield f"<p>{len(planes) - _MOST_PLANES:,} more planes differ.</p>"


def _planes(array: Array) -> list[tuple[str, Array]]:
    """Return the planes of a tensor with their index; a vector is one row."""
    if array.ndim < 2:
        return [("", _reduced(array.reshape(1, -1)))]
    if array.ndim == 2:
        return [("", _reduced(array))]
    flat = array.reshape(-1, *array.shape[-2:])
    return [(str([int(i) for i in np.unravel_index(k, array.shape[:-2])]), _reduced(p)) for k, p in enumerate(flat)]


def _reduced(plane: Array) -> Array:
    """Return a plane with at most some cells along each axis; a cell has the largest difference of those in it."""
    for axis in (0, 1):
        length = plane.shape[axis]
        if length > _MOST_CELLS:
            starts = np.linspace(0, length, _MOST_CELLS, endpoint=False).astype(np.int64)
            most, least = np.maximum.reduceat(plane, starts, axis), np.minimum.reduceat(plane, starts, axis)
            plane = np.where(np.abs(most) >= np.abs(least), most, least)
    return plane


def _coloured(plane: Array, largest: int) -> NDArray[np.uint8]:
    """Return red, green and blue of differences: white for 0, and a colour that is strong even for 1."""
    strength = np.where(plane == 0, 0.0, 0.35 + 0.65 * np.abs(plane) / largest)[..., None]
    colour = np.where((plane < 0)[..., None], np.array([33, 87, 166]), np.array([179, 38, 30]))
    return np.asarray(np.rint(255 + strength * (colour - 255)), np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of pixels (rows, columns, 3)."""
    high, wide, _ = pixels.shape
    rows = np.concatenate([np.zeros((high, 1), np.uint8), pixels.reshape(high, wide * 3)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
