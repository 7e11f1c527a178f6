"""Traces of networks in C that `qengine export c` wrote: lines that say all about their tensor.

A line is ``number,shape,order,type,bytes,name``, such as ``3,1x8x4x4,0-2-3-1,i8,0a0bff...,/conv1/Conv``. The order
names the axes in memory, the outermost first, and the bytes of an element begin with the lowest. Lines follow a line
that names the version; a device that runs several times prints it again, and each run is a sample.
"""

from __future__ import annotations

import math

import numpy as np

from qengine.deploy.compare.dump import DumpedTensor
from qengine.errors import DumpError

_FIRST = "# qengine trace"
_VERSION = "1"
_PARTS = 6
_TYPES = {f"{sign}{bits}": f"<{sign}{bits // 8}" for sign in "iu" for bits in (8, 16, 32, 64)}


def is_trace(content: bytes) -> bool:
    """Whether a file begins as a trace, or a line of it does, as in the log of a wire."""
    return content.startswith(_FIRST.encode()) or f"\n{_FIRST} ".encode() in content[:65536]


def read_trace(content: bytes, source: str) -> list[tuple[DumpedTensor, ...]]:
    """Return the tensors of each run in a trace; lines of a log before the first run are left out.

    Raises
    ------
    DumpError
        If a line has another form, or a run is cut.
    """
    samples: list[list[DumpedTensor]] = []
    for number, text in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        line = text.rstrip("\r")
        place = f"{source}, line {number}"
        if line.startswith(_FIRST):
            version = line.removeprefix(_FIRST).strip()
            if version != _VERSION:
                raise DumpError(f"{place}: the trace has version {version}, and this qengine reads {_VERSION}")
            samples.append([])
        elif samples and line.strip():
            samples[-1].append(_tensor(line, place))
    if not samples or not all(samples):
        raise DumpError(f"{source} holds no tensor")
    return [tuple(one) for one in samples]


def _tensor(line: str, place: str) -> DumpedTensor:
    parts = line.split(",", _PARTS - 1)
    if len(parts) != _PARTS:
        raise DumpError(f"{place}: a line of a trace has {_PARTS} parts, number,shape,order,type,bytes,name")
    ident, lengths, axes, kind, digits, name = parts
    try:
        number = int(ident)
        shape = tuple(int(n) for n in lengths.split("x")) if lengths else ()
        order = tuple(int(n) for n in axes.split("-")) if axes else ()
        flat = np.frombuffer(bytes.fromhex(digits), _TYPES[kind])
    except (ValueError, KeyError):
        raise DumpError(f"{place}: '{line[:60]}' is not a tensor, such as 3,1x8,0-1,i8,0a0b0c0d0e0f0001,name") from None
    if sorted(order) != list(range(len(shape))) or flat.size != math.prod(shape):
        raise DumpError(f"{place}: {flat.size:,} elements do not fit the shape {lengths} and the order {axes}")
    moved = flat.astype(flat.dtype.newbyteorder("=")).reshape([shape[axis] for axis in order])
    array = np.ascontiguousarray(moved.transpose(np.argsort(order)) if order else moved)
    tensor = DumpedTensor.of_array(name, f"{place}, '{name}'", array, number)
    return DumpedTensor(name, tensor.source, tensor.readings, number, array.size, shape)
