"""Guard: each step of a recipe is measured at the outputs of the model, and kept only where it helps.

A correction makes up for one error of one layer. Nothing promises that the model as a whole gains by it: rounding may
fit the few samples it has seen, a mean that was subtracted may have cancelled another one, and equalized channels may
need more of the range of an activation than they give back in weights. So a guarded recipe asks the model:

- It starts from the model that is folded, in its formats. Where all steps together lose to the model in which each
  BatchNormalization is an operator of its own, it starts again from that one.
- Every other run of the data is held out, from the first one on, 32 at most: the model is measured on these, and
  corrections look at the rest. One run alone is cut into two along the first axis of the inputs for which the model
  leaves its length open. Where that cannot be done, steps that would look at what they are measured on are not done.
- A step is done for what the steps before have left, the model runs in fixed point on native kernels, and all its
  outputs are compared with those of the model in float32.
- An output has the SQNR of all its elements in all of these runs, kept between -20 and 100 dB. For outputs without real
  numbers, such as those of ArgMax, the share of elements that differ stands for the ratio of noise to signal; half an
  element more is counted, so that one element among few is not everything. Sequences and strings have no figure. The
  figure of the model is the mean over its outputs.
- A step is kept if the figure rises by 0.1 dB at least, no output loses more than half a decibel, and the gain is no
  accident: each output of each run is cut into pieces of 16 elements and more, 16 at most, and the mean gain of a piece
  in decibels must be at least twice the standard deviation of Student's t for so few pieces, times its standard error.
  Fewer than 4 pieces are too few: nothing is kept.
- Of steps that correct the same constants, the best one is kept.

Fixed point has the same bits on every machine, so that a figure differs between machines only by the last bits of
the outputs in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, OptionError, QEngineError
from qengine.metrics.decibels import Energy, decibels
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph
from qengine.progress import working
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.registry import Correction, RecipeState
from qengine.quantization.correction.result import Verdict, as_feeds
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

_EVERY = 2
_MAX_RUNS = 32
_MAX_BYTES = 256 << 20  # of outputs in float32 that are kept; at least one run is
_LEAST_DB, _MOST_DB = -20.0, 100.0
_MOST_LOSS_DB = 0.5
_GAIN_DB, _ERRORS = 0.1, 2.0  # least gain, and standard errors that the mean gain of a piece is above 0
_UNFOLDED_GAIN_DB = 0.5  # least gain of a model that is not folded
_LEAST_PIECES, _MOST_PIECES, _PIECE_ELEMENTS = 4, 16, 16
_HALF_ELEMENT = 0.5
_FLOOR, _MOST_PIECE_DB = 1e-10, 20.0

Formats = Callable[[Graph], FormatsByName]


@dataclass(frozen=True)
class Score:
    """Figures of a model in fixed point.

    Attributes
    ----------
    outputs : SQNR of each output in dB, within limits.
    pieces : noise in each piece of an output of a run, a share of the mean signal of such a piece.
    """

    outputs: tuple[float, ...]
    pieces: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The mean over the outputs."""
        return sum(self.outputs) / len(self.outputs) if self.outputs else _MOST_DB

    def objection(self, before: Score) -> str:
        """Return why a step with these figures does not help; "" if it does."""
        if self.mean - before.mean < _GAIN_DB:
            return "no gain"
        if any(a - b > _MOST_LOSS_DB for a, b in zip(before.outputs, self.outputs, strict=True)):
            return "an output loses"
        if len(self.pieces) < _LEAST_PIECES:
            return "too few numbers to decide"
        ratios = np.maximum(before.pieces, _FLOOR) / np.maximum(self.pieces, _FLOOR)
        gains = np.clip(10.0 * np.log10(ratios), -_MOST_PIECE_DB, _MOST_PIECE_DB)
        freedom = len(gains) - 1
        error = float(gains.std(ddof=1)) / np.sqrt(len(gains)) * np.sqrt(freedom / (freedom - 2))
        return "" if float(gains.mean()) >= _ERRORS * error else "the gain may be an accident"


class HeldOut:
    """The runs of the data that are held out, with the outputs in float32, and the others.

    Parameters
    ----------
    graph
        The model in float32.
    data
        Feeds that can be read again.
    session
        Options of the runs, of which the limits and `threads` have an effect.

    Raises
    ------
    OptionError
        If there are no feeds, or they can be read only once.
    """

    def __init__(self, graph: Graph, data: Feeds, session: SessionOptions) -> None:
        if iter(data) is data:
            raise OptionError("the data is read several times, and this iterator only once: give a list instead")
        self._limits = session.in_float32()
        self._count, self._exact = 0, list[list[NDArray[Any]]]()
        exact, held = InferenceSession(graph, self._limits), 0
        self._data = _cut(data, exact)
        for feeds in as_feeds(self._data):
            self._count += 1
            if self._is_held_out(self._count - 1) and (not self._exact or held < _MAX_BYTES):
                self._exact.append(exact.run(None, feeds))
                held += sum(one.nbytes for one in self._exact[-1] if isinstance(one, np.ndarray))
        if not self._exact:
            raise OptionError("the data holds no feeds: corrections from data need at least one")

    def _is_held_out(self, index: int) -> bool:
        return index % _EVERY == 0 and index // _EVERY < _MAX_RUNS

    @property
    def runs(self) -> int:
        """The number of runs that are held out."""
        return len(self._exact)

    @property
    def is_alone(self) -> bool:
        """Whether there are no runs that are not held out."""
        return self._count == 1

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Return the feeds that are not held out."""
        return (feeds for i, feeds in enumerate(as_feeds(self._data)) if not self._is_held_out(i))

    def score(self, graph: Graph, formats: FormatsByName) -> Score:
        """Return the figures of a model in formats."""
        fixed = InferenceSession(graph, self._limits, formats=formats)
        outputs = [_Output() for _ in graph.outputs]
        held = (feeds for i, feeds in enumerate(as_feeds(self._data)) if self._is_held_out(i))
        for exact, feeds in zip(self._exact, held, strict=False):
            for output, real, rounded in zip(outputs, exact, fixed.run(None, feeds), strict=True):
                output.add(real, rounded)
        pieces = [output.shares() for output in outputs]
        figures = tuple(output.sqnr_db for output in outputs)
        return Score(figures, np.concatenate([np.zeros(0), *pieces]))


def _cut(data: Feeds, session: InferenceSession) -> Feeds:
    """Return the two halves of the samples of one run, if that is all data and the model runs on them."""
    runs = list(islice(as_feeds(data), 2))
    if len(runs) != 1:
        return data
    feeds, shapes = session.check_feeds(runs[0]), {value.name: value.shape for value in session.graph.inputs}
    cut = [name for name in feeds if (shape := shapes.get(name)) and not isinstance(shape[0], int)]
    lengths = {len(feeds[name]) for name in cut}
    if len(lengths) != 1 or min(lengths) < 2:
        return data
    halves = [{**feeds, **{name: feeds[name][i::2] for name in cut}} for i in (0, 1)]
    try:
        for half in halves:
            session.run(None, half)
    except QEngineError:
        return data
    return halves


class _Output:
    """Sums over the elements of an output."""

    def __init__(self) -> None:
        self._energy, self._pieces, self._more = Energy(), list[float](), 0.0

    def add(self, exact: Any, other: Any) -> None:
        """Add the output of a run; values other than tensors are left out."""
        if not isinstance(exact, np.ndarray) or not isinstance(other, np.ndarray) or exact.dtype.kind not in "fiub":
            return
        if exact.shape != other.shape:  # the data decides the shape, and it decided otherwise
            exact, other = np.ones(exact.size or 1, np.float32), np.zeros(exact.size or 1, np.float32)
        elif exact.dtype.kind != "f":
            self._more = _HALF_ELEMENT
            exact, other = np.ones(exact.size, np.float32), (exact == other).astype(np.float32)
        else:  # an element that becomes NaN or infinite is all noise
            other = np.where(np.isfinite(exact) & ~np.isfinite(other), 0, other)
        count = int(np.clip(exact.size // _PIECE_ELEMENTS, 1, _MOST_PIECES))
        for one, rounded in zip(*(np.array_split(array.ravel(), count) for array in (exact, other)), strict=True):
            before = self._energy.noise
            self._energy.add(one, rounded)
            self._pieces.append(self._energy.noise - before)

    def shares(self) -> NDArray[np.float64]:
        """Return the noise of each piece, as a share of the mean signal of a piece."""
        return (np.array(self._pieces) + self._more) * len(self._pieces) / (self._energy.signal or 1.0)

    @property
    def sqnr_db(self) -> float:
        """The figure of the output, within limits."""
        found = decibels(self._energy.signal, self._energy.noise + self._more)
        return float(np.clip(_LEAST_DB if found is None else found, _LEAST_DB, _MOST_DB))


def guarded(
    start: RecipeState,
    steps: Sequence[Correction],
    formats_of: Formats,
    held_out: HeldOut,
    *,
    unfolded: RecipeState | None = None,
) -> tuple[RecipeState, tuple[Verdict, ...]]:
    """Do the steps of a recipe that help, one after the other, and return the last state with a verdict on each step.

    Parameters
    ----------
    start
        The model that the recipe begins with.
    unfolded
        The model that it begins with where folding loses; None where there is no other.
    steps
        Corrections in the order of the recipe.
    formats_of
        Function that chooses the formats of a graph, those of the constants included.
    held_out
        The data.
    """
    found = _Guarded.of(start, steps, formats_of, held_out)
    if unfolded is None:
        return found.state, found.verdicts
    try:
        plain = _Guarded.of(unfolded, (), formats_of, held_out)
    except FormatError:  # formats that were given do not name what only the other model computes
        return found.state, found.verdicts
    folding, reason = (plain.score.mean, found.first.mean, held_out.runs), ""
    if plain.score.mean - found.score.mean >= _UNFOLDED_GAIN_DB:  # neither looks at data
        other = _Guarded.of(unfolded, steps, formats_of, held_out)
        if other.score.mean > found.score.mean:
            verdict = Verdict("fold", False, *folding, "with all steps it has less")
            return other.state, (verdict, *other.verdicts)
    if found.first.mean == plain.score.mean:
        return found.state, found.verdicts
    if found.first.mean < plain.score.mean:
        reason = "with all steps it has more" if found.score.mean > plain.score.mean else "the loss is small"
    return found.state, (Verdict("fold", True, *folding, reason), *found.verdicts)


@dataclass(frozen=True, eq=False)
class _Guarded:
    """Result of the steps that help.

    Attributes
    ----------
    state, verdicts : the last state, and a verdict on each step.
    first, score : figures at the start and at the end.
    """

    state: RecipeState
    verdicts: tuple[Verdict, ...]
    first: Score
    score: Score

    @classmethod
    def of(cls, start: RecipeState, steps: Sequence[Correction], formats_of: Formats, held_out: HeldOut) -> _Guarded:
        """Do the steps that help, one after the other."""
        state = replace(start, formats=formats_of(start.graph), data=held_out, reference=start.graph, observed={})
        first = held_out.score(state.graph, state.formats)
        score, verdicts = first, list[Verdict]()
        with working("trying corrections|steps", len(steps)) as advance:
            for _, alternatives in groupby(steps, lambda one: one.corrects or one.name):
                trials = []
                for one in alternatives:
                    trials.append(_trial(one, state, formats_of, held_out, score))
                    advance(1)
                best = max((t for t in trials if not t.objection), key=lambda t: t.score.mean, default=None)
                verdicts += [trial.verdict(best, held_out.runs) for trial in trials]
                if best is not None:
                    state, score = best.state, best.score
        return cls(state, tuple(verdicts), first, score)


@dataclass(frozen=True, eq=False)
class _Trial:
    """A step that was tried.

    Attributes
    ----------
    step : name of the correction.
    state : the state after it; the one before where it failed or changed nothing.
    before, score : figures before and after it.
    objection : why it does not help; "" where it does.
    """

    step: str
    state: RecipeState
    before: Score
    score: Score
    objection: str = ""

    def verdict(self, best: _Trial | None, runs: int) -> Verdict:
        """Return the verdict, where the best of the steps that correct the same constants is known."""
        reason = "" if self is best else self.objection or f"{best.step if best else ''} gains more"
        after = None if self.score is self.before else self.score.mean
        return Verdict(self.step, self is best, self.before.mean, after, runs, reason)


def _trial(one: Correction, state: RecipeState, formats_of: Formats, held_out: HeldOut, before: Score) -> _Trial:
    """Do a step, and measure the model."""
    if one.needs_data and held_out.is_alone:
        return _Trial(one.name, state, before, before, "there is one run alone, which cannot be held out")
    try:
        after = one.apply(state)
        if not any(entry.is_done for entry in after.entries[len(state.entries) :]):
            return _Trial(one.name, state, before, before, "it changes nothing")
        if not one.needs_formats:
            after = replace(after, formats=formats_of(after.graph), reference=after.graph, observed={})
        score = held_out.score(after.graph, after.formats)
    except QEngineError as error:
        return _Trial(one.name, state, before, before, str(error))
    return _Trial(one.name, after, before, score, score.objection(before))


__all__ = ["HeldOut", "Score", "guarded"]
