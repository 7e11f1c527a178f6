"""The codes that C must compute: every tensor of a plan, by the session's kernels, on codes of the inputs.

Inputs are codes here and not real numbers, as a device gets them: every code can occur, also one that rounding or a
calibrated range would never give.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import CNetwork, CTensor
from qengine.model.steps import Tensor
from qengine.runtime.plan.plan import Plan, quantize_input
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]
Arrays = Mapping[str, Array]

_RANDOM = 6
"""Random inputs of which the one that shows the most is the known answer."""


class Golden:
    """A session that computes every tensor of a plan from codes.

    Parameters
    ----------
    session
        The session.
    plan
        The plan that the network in C was made from.
    """

    def __init__(self, session: InferenceSession, plan: Plan) -> None:
        self.session, self.inputs = session, plan.inputs
        steps = {step.output.name: step.output for step in plan.steps}
        encoded = frozenset(t.name for t in plan.inputs if t.format is not None)
        self._plan = replace(plan, outputs={**plan.outputs, **steps}, encoded=encoded)

    def run(self, codes: Arrays) -> dict[str, Array]:
        """Return every tensor by name, the inputs included: codes where it is in fixed point."""
        with np.errstate(all="ignore"):
            found = self.session.plans.run(self._plan, codes, raw=True)
        return {t.name: codes[t.name] for t in self.inputs if t.name not in found} | dict(found)

    def codes_of(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Return the inputs of the plan as a run quantizes them."""
        arrays = self.session.check_feeds(feeds)
        return {t.name: quantize_input(t, arrays[t.name], self._plan.fixed, None) for t in self.inputs}


@dataclass(frozen=True)
class Sample:
    """Codes of all inputs.

    Attributes
    ----------
    source : a few words for where they come from.
    codes : array of each input by name.
    """

    source: str
    codes: Arrays


def ends_of(tensor: Tensor) -> tuple[int, int] | None:
    """Return the least and the most code of an input; None for integers whose meaning nobody knows, such as indices."""
    if tensor.format is not None:
        word = tensor.format.word()
        return word.least, word.most
    return (0, 1) if tensor.dtype.kind == "b" else None


def random_samples(inputs: Sequence[Tensor], given: Arrays | None, seed: int = 0) -> Iterator[Sample]:
    """Yield samples of random codes without an end: of the whole word, around the middle, smooth.

    Parameters
    ----------
    inputs
        Inputs of the plan.
    given
        Codes of a run, from which integers such as indices are taken; None for 0.
    seed
        Seed of the random numbers.
    """
    random = np.random.default_rng(seed)
    makes = (("random codes", _uniform), ("small random codes", _narrow), ("a smooth random signal", _smooth))
    number = 0
    while True:
        source, make = makes[number % len(makes)]
        yield Sample(source, {t.name: _filled(t, given, lambda t, e, m=make: m(random, t, e)) for t in inputs})
        number += 1


def extreme_samples(inputs: Sequence[Tensor], given: Arrays | None) -> list[Sample]:
    """Return samples of zeros, of the least and of the most codes, and of both in turns."""

    def turns(t: Tensor, ends: tuple[int, int]) -> Array:
        return np.where(np.arange(np.prod(t.shape, dtype=np.int64)).reshape(t.shape) % 2, ends[0], ends[1])

    makes = {
        "zeros": lambda t, ends: np.full(t.shape, min(max(0, ends[0]), ends[1])),
        "the least codes": lambda t, ends: np.full(t.shape, ends[0]),
        "the most codes": lambda t, ends: np.full(t.shape, ends[1]),
        "the most and the least codes in turns": turns,
    }
    return [Sample(source, {t.name: _filled(t, given, make) for t in inputs}) for source, make in makes.items()]


def _filled(t: Tensor, given: Arrays | None, make: Any) -> Array:
    ends = ends_of(t)
    dtype = t.dtype if t.format is None else t.format.dtype
    if ends is None:
        return np.zeros(t.shape, dtype) if given is None else np.asarray(given[t.name], dtype)
    return np.ascontiguousarray(make(t, ends)).astype(dtype).reshape(t.shape)  # a scalar has no axis


def _uniform(random: np.random.Generator, t: Tensor, ends: tuple[int, int]) -> Array:
    return random.integers(ends[0], ends[1] + 1, t.shape)


def _narrow(random: np.random.Generator, t: Tensor, ends: tuple[int, int]) -> Array:
    spread = max(1.0, (ends[1] - ends[0]) / 16)
    middle = 0 if ends[0] < 0 else (ends[0] + ends[1]) / 4
    return np.clip(np.rint(random.normal(middle, spread, t.shape)), *ends)


def _smooth(random: np.random.Generator, t: Tensor, ends: tuple[int, int]) -> Array:
    phase = np.zeros(t.shape)
    for axis, length in enumerate(t.shape):
        place = np.arange(length) * random.uniform(0.05, 0.7) + random.uniform(0, 6)
        phase = phase + place.reshape([-1 if a == axis else 1 for a in range(len(t.shape))])
    middle, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    return np.clip(np.rint(middle + half * np.sin(phase)), *ends)


def known_answer(golden: Golden, given: Arrays | None) -> Sample:
    """Return the sample of the self-test: that of the user, or the random one that shows the most different codes."""
    if given is not None:
        return Sample("data", given)
    found: list[tuple[float, Sample]] = []
    samples = random_samples(golden.inputs, None)
    for _ in range(_RANDOM):
        sample = next(samples)
        arrays = golden.run(sample.codes).values()
        shown = sum(float(np.log2(1 + np.unique(a).size)) for a in arrays)
        found.append((shown, sample))
    return max(found, key=lambda pair: pair[0])[1]


def checksum(tensor: CTensor, array: Array) -> int:
    """Return the CRC-32 of a tensor: of its elements in the order of memory in C, the low byte of each first."""
    flat = tensor.placed(np.asarray(array)).astype(tensor.dtype)
    return zlib.crc32(flat.astype(flat.dtype.newbyteorder("<")).tobytes())


def checksums(network: CNetwork, arrays: Arrays) -> list[int]:
    """Return the CRC-32 of every tensor of a network."""
    return [checksum(t, arrays[t.name]) for t in network.tensors]
