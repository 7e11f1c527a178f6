"""Edge vectors: inputs of the whole network, searched so that its operators meet ties, rails, pads and large sums.

The search knows two things. Candidates of many kinds (noise of every size, blocks, ends of the word, windows that
are steered for the first operator, changed samples) are run through the network on native kernels, and kept where
some operator shows something new. Then it climbs: for each operator in turn it changes the input whose sums are the
largest so far, or the least, and keeps a change that makes them larger. Everything random has one seed, and the
number of runs follows from the size of the network, so that the same model always gives the same vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.coverage import BOUNDS, RAILS, TIES, Coverage, coverage_of
from qengine.deploy.vectors.operator_vectors import _KINDS, _placed
from qengine.deploy.vectors.reach import Reach
from qengine.deploy.vectors.record import Recorder
from qengine.deploy.vectors.steering import patches
from qengine.deploy.vectors.sums import bounds
from qengine.deploy.vectors.taps import Taps
from qengine.kernels.reference.requantize import dequantize
from qengine.model.steps import Tensor
from qengine.qformat import QFormat

Array = NDArray[Any]
Feeds = Mapping[str, Any]

_CANDIDATES = 96
_CLIMBS = 384
_WORK = 1 << 33
"""Multiplications of all candidates, and of all steps of the climb."""


@dataclass
class _Best:
    """The runs with the most and the least sum of an operator."""

    most: int | None = None
    least: int | None = None
    most_feeds: Feeds = field(default_factory=dict)
    least_feeds: Feeds = field(default_factory=dict)

    def update(self, coverage: Coverage, feeds: Feeds) -> None:
        if coverage.most is None or coverage.least is None:
            return
        if self.most is None or coverage.most > self.most:
            self.most, self.most_feeds = coverage.most, feeds
        if self.least is None or coverage.least < self.least:
            self.least, self.least_feeds = coverage.least, feeds


@dataclass
class EdgeSearch:
    """A search for edge vectors of a network.

    Attributes
    ----------
    recorder : the network.
    reach : limits of each operator, by its name.
    taps : taps of the linear operators, by name.
    work : multiplications of a run of the network.
    shown : coverage by the vectors so far, by operator.
    random : source of everything random.
    """

    recorder: Recorder
    reach: Mapping[str, Reach]
    taps: Mapping[str, Taps]
    work: int
    shown: dict[str, Coverage]
    random: np.random.Generator
    _best: dict[str, _Best] = field(default_factory=dict)

    def run(self, samples: Sequence[Feeds], most: int) -> list[tuple[Feeds, str]]:
        """Return at most some edge vectors as feeds, with words that say how each was made."""
        inputs = {name: t for name, t in self.recorder.tensors.items() if name in samples[0]}
        self._free = {name: t for name, t in inputs.items() if isinstance(t.format, QFormat) and 0 not in t.shape}
        kept: list[tuple[Feeds, str]] = []
        if not self._free or not most:
            return kept
        self._tried: list[tuple[Feeds, str]] = []
        count = max(4, min(_CANDIDATES, _WORK // max(self.work, 1)))
        for (feeds, source), _ in zip(self._candidates(samples), range(count), strict=False):
            self._tried.append((feeds, source))
            if self._shows_new(feeds) and len(kept) < most:
                kept.append((feeds, source))
        climbs = min(_CLIMBS, _WORK // max(self.work, 1))
        for feeds, source in self._climb(climbs):
            if len(kept) < most:
                kept.append((feeds, source))
        return kept + self._extremes(most - len(kept), [id(feeds) for feeds, _ in kept])

    @property
    def tried(self) -> list[tuple[Feeds, str]]:
        """The candidates that were run, for a search of faults among them."""
        return self._tried if self._free else []

    def _shows_new(self, feeds: Feeds) -> bool:
        """Run feeds, and return whether an operator shows something that none showed before."""
        arrays = self.recorder.run(feeds)
        is_new = False
        for operator in self.recorder.operators:
            if operator.bound_step is None:
                continue
            coverage = coverage_of(operator.bound_step, operator.operands(arrays))
            shown = self.shown[operator.name]
            self._best.setdefault(operator.name, _Best()).update(coverage, feeds)
            if set(+coverage.counts) - set(+shown.counts):
                is_new = True
        if is_new:
            for operator in self.recorder.operators:
                if operator.bound_step is not None:
                    self.shown[operator.name].add(coverage_of(operator.bound_step, operator.operands(arrays)))
        return is_new

    def _goals(self) -> list[tuple[str, bool]]:
        """Return operators of which something possible is missing, and whether larger sums may help."""
        goals = []
        for operator in self.recorder.operators:
            best = self._best.get(operator.name)
            if best is None or best.most is None:
                continue
            shown, reach = self.shown[operator.name], self.reach[operator.name]
            missing = {goal for goal in reach.goals if not shown.counts[goal]}
            if missing & {RAILS[0], BOUNDS[0], TIES[0], TIES[1]}:
                goals.append((operator.name, True))
            if missing & {RAILS[1], BOUNDS[1], TIES[2], TIES[3]}:
                goals.append((operator.name, False))
        return goals

    def _climb(self, count: int) -> Iterator[tuple[Feeds, str]]:
        """Yield feeds that show something new, found by changes of those with the largest or least sums."""
        number = 0
        while number < count:
            goals = self._goals()
            if not goals:
                return
            for name, is_most in goals[: count - number]:
                number += 1
                best = self._best[name]
                feeds = self._changed(best.most_feeds if is_most else best.least_feeds)
                if self._shows_new(feeds):
                    yield feeds, f"climbed: {'more' if is_most else 'less'} in {name}"

    def _extremes(self, room: int, kept: list[int]) -> list[tuple[Feeds, str]]:
        """Return the runs with the largest and least sums of operators, those that gain most first."""
        gains = []
        for name, best in self._best.items():
            shown = self.shown[name]
            if best.most is None or best.least is None:
                continue
            for value, old, feeds, words in (
                (best.most, shown.most, best.most_feeds, "most"),
                (-best.least, -(shown.least or 0), best.least_feeds, "least"),
            ):
                old = old or 0
                if id(feeds) not in kept and value > old:
                    gains.append((value / max(old, 1), name, feeds, words))
        gains.sort(key=lambda gain: -gain[0])
        found: list[tuple[Feeds, str]] = []
        for _, name, feeds, words in gains:
            if len(found) < room and not any(feeds is other for other, _ in found):
                found.append((feeds, f"climbed: the {words} accumulator of {name}"))
        return found

    def _fed(self, base: Feeds, codes: Mapping[str, Array]) -> Feeds:
        """Return feeds with some inputs given as codes."""
        return {**base, **{name: self._real(self._free[name], array) for name, array in codes.items()}}

    @staticmethod
    def _real(t: Tensor, codes: Array) -> Array:
        return dequantize(codes, t.fraction_bits).astype(t.dtype)

    def _candidates(self, samples: Sequence[Feeds]) -> Iterator[tuple[Feeds, str]]:
        base, random = samples[0], self.random
        yield from ((feeds, words) for feeds, words in self._steered(base))
        while True:
            for words, make in _KINDS:
                yield self._fed(base, {name: make(t, random) for name, t in self._free.items()}), words
            yield self._fed(base, {name: self._blocks(t) for name, t in self._free.items()}), "blocks"
            sample = samples[int(random.integers(0, len(samples)))]
            yield self._fed(sample, {n: self._stretched(t, sample[n]) for n, t in self._free.items()}), "changed sample"

    def _steered(self, base: Feeds) -> Iterator[tuple[Feeds, str]]:
        """Yield feeds that are steered for the first operators, which read an input of the network."""
        for operator in self.recorder.operators:
            if operator.name not in self.taps or operator.bound_step is None:
                continue
            t = operator.bound_step.step.operands[0]
            if t.name not in self._free:
                continue
            ends = bounds(operator.bound_step.step, operator.output)
            found = list(patches(self.taps[operator.name], t.one_format.word(), ends, self.random))
            for codes, shows in _placed(found, self._free[t.name], self.random):
                yield self._fed(base, {t.name: codes}), f"{shows} in {operator.name}"

    def _blocks(self, t: Tensor) -> Array:
        """Return blocks of one code each, as large areas move deep operators more than noise does."""
        word, random = t.one_format.word(), self.random
        sizes = [int(random.integers(1, max(2, n))) if n > 1 else 1 for n in t.shape]
        coarse = [-(-n // size) for n, size in zip(t.shape, sizes, strict=True)]
        codes = random.integers(word.least, word.most + 1, coarse)
        if random.integers(0, 2):
            codes = np.where(codes > (word.least + word.most) // 2, word.most, word.least)
        for axis, size in enumerate(sizes):
            codes = np.repeat(codes, size, axis=axis)
        return codes[tuple(slice(0, n) for n in t.shape)].astype(t.one_format.dtype)

    def _stretched(self, t: Tensor, sample: Any) -> Array:
        """Return a sample whose values are stretched to the ends of the word, perhaps turned or negative."""
        word, random = t.one_format.word(), self.random
        real = np.nan_to_num(np.asarray(sample, np.float64))
        largest = float(np.abs(real).max(initial=0)) or 1.0
        gain = float(random.choice([0.5, 1.0, 1.0, 2.0, -1.0, -2.0]))
        codes = np.rint(real / largest * word.most * gain)
        axis = int(random.integers(0, max(codes.ndim, 1)))
        if codes.ndim and random.integers(0, 2):
            codes = np.flip(codes, axis)
        return np.clip(codes, word.least, word.most).astype(t.one_format.dtype)

    def _changed(self, feeds: Feeds) -> Feeds:
        """Return feeds with a block, or some elements, of one input changed."""
        random = self.random
        name = list(self._free)[int(random.integers(0, len(self._free)))]
        t = self._free[name]
        word, n = t.one_format.word(), t.fraction_bits
        codes = np.rint(np.ldexp(np.asarray(feeds[name], np.float64), n))
        way = int(random.integers(0, 4))
        if way == 0:
            codes = np.where(
                random.random(codes.shape) < 0.1, random.integers(word.least, word.most + 1, codes.shape), codes
            )
        elif way == 1:
            codes = codes * float(random.choice([2.0, 1.25, 0.75, -1.0]))
        else:
            area = tuple(_slice(length, random) for length in codes.shape)
            codes = codes.copy()
            codes[area] = word.most if random.integers(0, 2) else word.least
        return self._fed(feeds, {name: np.clip(codes, word.least, word.most).astype(t.one_format.dtype)})


def _slice(length: int, random: np.random.Generator) -> slice:
    start = int(random.integers(0, max(length, 1)))
    return slice(start, start + 1 + int(random.integers(0, max(1, length // 2))))
