"""Runs a plan on native kernels: sections of calls, and steps of the reference between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError
from qengine.kernels.isa import Isa
from qengine.kernels.locks import Lock
from qengine.model.steps import Tensor
from qengine.runtime.native.op import Op
from qengine.runtime.native.schedule import Compiled
from qengine.runtime.plan.plan import BoundStep, Plan, decode_output, quantize_input, refuse_nan

NAN = "\0nan"
"""The array in which kernels say that an input holds NaN: one number for each input."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Made:
    """An array that a section writes.

    Attributes
    ----------
    key : its name in a run.
    shape, dtype : of it.
    """

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class NativePart:
    """Steps that run without coming back to Python."""

    ops: tuple[Op, ...]
    compiled: Compiled
    steps: tuple[tuple[BoundStep, tuple[Op, ...]], ...]
    made: tuple[Made, ...]

    def outputs(self) -> Arrays:
        """Return fresh arrays for what is written."""
        return {made.key: np.empty(made.shape, made.dtype) for made in self.made}

    def run(self, arrays: Arrays) -> None:
        """Compute, from arrays by name to arrays by name."""
        arrays |= self.outputs()
        self.compiled.program.run(arrays)


@dataclass(frozen=True)
class QuantizePart:
    """An input that the reference quantizes, because the reference reads it."""

    tensor: Tensor
    plan: Plan
    source: str

    def run(self, arrays: Arrays) -> None:
        """Quantize."""
        arrays[self.tensor.name] = quantize_input(self.tensor, arrays[self.source], self.plan.fixed, None)


@dataclass(frozen=True)
class ReferencePart:
    """A step that the reference computes, and why."""

    bound: BoundStep
    why: str

    def run(self, arrays: Arrays) -> None:
        """Compute, from arrays by name to an array by name."""
        bound = self.bound
        with bound.node.errors_named():
            found = bound.kernel(*[arrays[s] if isinstance(s, str) else s for s in bound.sources])
        arrays[bound.output.name] = np.ascontiguousarray(found).reshape(found.shape)


Part = NativePart | QuantizePart | ReferencePart


@dataclass
class Executor:
    """A plan on native kernels.

    Attributes
    ----------
    plan : what is computed.
    isa, threads : on what.
    parts : in order.
    unread : inputs in fixed point that no part reads.
    outputs : of each output, the name of the array, and the tensor where it is still codes that must be numbers.
    """

    plan: Plan
    isa: Isa
    threads: int
    parts: tuple[Part, ...]
    outputs: Mapping[str, tuple[str, Tensor | None]]
    release: tuple[tuple[str, ...], ...]
    unread: tuple[Tensor, ...] = ()
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._fresh = {made.key for part in self.parts if isinstance(part, NativePart) for made in part.made}

    @property
    def memory(self) -> int:
        """Bytes that it holds for tensors between steps."""
        return sum(p.compiled.memory.bytes for p in self.parts if isinstance(p, NativePart))

    def arrays(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the arrays with which a run begins."""
        inputs = self.plan.inputs
        found: Arrays = {f"\0feed {t.name}": np.ascontiguousarray(feeds[t.name]).reshape(t.shape) for t in inputs}
        plain = {t.name for t in inputs if t.format is None} | self.plan.encoded
        found |= {name: found[f"\0feed {name}"] for name in plain}
        found[NAN] = np.zeros(max(len(inputs), 1), np.int64)
        return found

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the outputs that are computed, by name; see `Plan.run`. Runs in several threads take turns."""
        with self._lock.held:
            arrays = self.arrays(feeds)
            for tensor in self.unread:
                refuse_nan(tensor, arrays[f"\0feed {tensor.name}"])
            for part, gone in zip(self.parts, self.release, strict=True):
                part.run(arrays)
                if isinstance(part, NativePart) and arrays[NAN].any():
                    name = self.plan.inputs[int(np.flatnonzero(arrays[NAN])[0])].name
                    raise FeedError(f"input '{name}' holds NaN: fixed point has no code for it")
                for name in gone:
                    arrays.pop(name, None)
            return {name: self._answer(arrays, *found) for name, found in self.outputs.items()}

    def _answer(self, arrays: Arrays, key: str, codes: Tensor | None) -> NDArray[Any]:
        if codes is not None:
            return np.array(decode_output(codes, arrays[key], raw=False), order="C")
        # What a section made is fresh; the reference may give a view of a feed.
        return arrays[key] if key in self._fresh else np.array(arrays[key], order="C")
