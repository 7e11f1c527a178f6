"""Vectors of single operators: inputs that are set directly, as a test of one hardware block sets them.

A network reaches few of the states of a deep layer. An operator by itself reaches all of them: its inputs are chosen
freely. A first vector is random over the whole word; linear operators then get steered windows (`steering`), side by
side; a table gets every code. Then random candidates of several kinds are tried, and those are kept that show
something new or detect a fault that none did before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.coverage import Coverage, coverage_of, is_elementwise
from qengine.deploy.vectors.record import Operator
from qengine.deploy.vectors.steering import Patch, patches
from qengine.deploy.vectors.sums import bounds
from qengine.deploy.vectors.taps import Taps
from qengine.kernels.reference.word import Word
from qengine.model.steps import Combine, Tensor
from qengine.qformat import PartFormats, QFormat

Array = NDArray[Any]
Operands = tuple[Array, ...]

MOST_VECTORS = 16
"""Vectors of an operator."""

_CANDIDATES = 24
_MOST_CANDIDATES = 96
_SMALL = 1 << 12  # elements below which more candidates are tried
_MOST_WORK = 1 << 31  # multiplications of all candidates of an operator


@dataclass(frozen=True)
class OperatorVector:
    """Inputs of an operator, and its output.

    Attributes
    ----------
    operands : arrays in the order of the step's operands, constants included.
    output : the codes that it computes.
    source : the words that say how the vector was made.
    """

    operands: Operands
    output: Array
    source: str


def operator_vectors(
    operator: Operator,
    sample: Operands,
    taps: Taps | None,
    work: int,
    detects_more: Callable[[Operands, Array], bool],
    seed: int,
) -> tuple[list[OperatorVector], Coverage]:
    """Return vectors of an operator, and what they show.

    Parameters
    ----------
    operator
        The operator, in fixed point.
    sample
        Operands of a run on data: those that are not codes, such as indices, stay as they are there.
    taps
        Taps of a linear operator; None for any other.
    work
        Multiplications of one run of the operator.
    detects_more
        Function of operands and output that says whether they detect a fault that nothing before did.
    seed
        Seed of all that is random.
    """
    random = np.random.default_rng(seed)
    bound_step = operator.bound_step
    assert bound_step is not None
    kept: list[OperatorVector] = []
    total = Coverage()
    for operands, source, is_wanted in _candidates(operator, sample, taps, work, random):
        if len(kept) >= MOST_VECTORS:
            break
        with bound_step.node.errors_named():
            output = bound_step.kernel(*operands)
        coverage = coverage_of(bound_step, operands)
        is_new = total.new_in(coverage) if is_wanted else bool(set(+coverage.counts) - set(+total.counts))
        if detects_more(operands, output) or is_new or not kept:
            kept.append(OperatorVector(operands, output, source))
            total.add(coverage)
    return kept, total


def random_operands(operator: Operator, sample: Operands, seed: int) -> Operands:
    """Return operands of an operator with random codes; others are those of a sample."""
    assert operator.bound_step is not None
    random = np.random.default_rng(seed)
    return tuple(
        uniform(t, random) if t.value is None and isinstance(t.format, QFormat | PartFormats) else array
        for t, array in zip(operator.bound_step.step.operands, sample, strict=True)
    )


def _candidates(
    operator: Operator, sample: Operands, taps: Taps | None, work: int, random: np.random.Generator
) -> Iterator[tuple[Operands, str, bool]]:
    """Yield operands, how they were made, and whether a larger accumulator is a reason to keep them."""
    bound_step = operator.bound_step
    assert bound_step is not None
    step = bound_step.step
    free = [i for i, t in enumerate(step.operands) if t.value is None and isinstance(t.format, QFormat | PartFormats)]
    if not free:
        return

    def filled(make: Callable[[Tensor], Array]) -> Operands:
        return tuple(make(step.operands[i]) if i in free else array for i, array in enumerate(sample))

    yield filled(lambda t: uniform(t, random)), "random", True
    if is_elementwise(step):
        yield from ((ramp, "every code", True) for ramp in _ramps(step.operands, sample, free))
    for operands in _products(operator, sample, free, random):
        yield operands, "products at ties", False
    if taps is not None:
        t = step.operands[0]
        found = list(patches(taps, t.one_format.word(), bounds(step, bound_step.output), random))
        for codes, shows in _placed(found, t, random):
            yield (codes, *sample[1:]), shows, True
    size = max(1, prod(bound_step.output.shape))
    count = _CANDIDATES if size > _SMALL else min(_MOST_CANDIDATES, _CANDIDATES * _SMALL // size)
    for number in range(min(count, max(3, _MOST_WORK // max(work, 1)))):
        name, make = _KINDS[number % len(_KINDS)]
        yield filled(lambda t, make=make: make(t, random)), name, False  # type: ignore[misc]


def _products(operator: Operator, sample: Operands, free: list[int], random: np.random.Generator) -> Iterator[Operands]:
    """Yield operands of a Mul whose products are ties, or just below.

    An odd code b of one operand is given, and the other one is the remainder times the inverse of b modulo 2^s.
    """
    assert operator.bound_step is not None
    step, out = operator.bound_step.step, operator.output
    if not isinstance(step, Combine) or step.operation != "multiply" or not isinstance(out.format, QFormat):
        return
    whole = [i for i in free if step.terms[i].shape == step.shape]
    shift = sum(t.fraction_bits for t in step.terms) - out.fraction_bits
    if not whole or not 1 <= shift <= 30:
        return
    solved, given = whole[0], 1 - whole[0]
    t, word = step.terms[solved], step.terms[solved].one_format.word()
    half, modulus = 1 << (shift - 1), np.int64(1 << shift)
    for remainder in (half, half - 1, half, half - 1) if shift > 1 else (half,):
        other = sample[given]
        if given in free:
            other = _fitted(step.terms[given], _scaled(step.terms[given], random).astype(np.int64) | 1)
        b = other.astype(np.int64)
        odd = np.where(b & 1, b, 1)
        inverse = odd.copy()
        for _ in range(5):  # Newton: each step doubles the bits that are right
            inverse = inverse * (2 - odd * inverse)
        code = word.least + (remainder * (inverse % modulus) - word.least) % modulus
        choices = np.maximum((word.most - code) // modulus, 0)
        code = code + modulus * (random.random(code.shape) * (choices + 1)).astype(np.int64)
        fits = ((b & 1) == 1) & (code <= word.most)
        codes = np.where(fits, np.broadcast_to(code, step.shape), uniform(t, random))
        yield tuple(
            codes.astype(t.one_format.dtype) if i == solved else other if i == given else a
            for i, a in enumerate(sample)
        )


def uniform(t: Tensor, random: np.random.Generator) -> Array:
    """Return random codes over the whole word."""
    assert t.format is not None
    word = t.format.word()
    return _fitted(t, random.integers(word.least, word.most + 1, t.shape))


def _fitted(t: Tensor, codes: Array) -> Array:
    """Return codes within the words of all parts, in the type of the tensor."""
    if isinstance(t.format, PartFormats) and t.format.lengths:
        shape = [1] * len(t.shape)
        shape[t.format.axis] = -1
        words = [f.word() for f in t.format.formats]
        least = np.repeat([w.least for w in words], t.format.lengths).reshape(shape)
        most = np.repeat([w.most for w in words], t.format.lengths).reshape(shape)
        codes = np.clip(codes, least, most)
    assert t.format is not None
    return codes.astype(t.format.dtype)


def _scaled(t: Tensor, random: np.random.Generator) -> Array:
    """Return random codes whose size differs from element to element."""
    assert t.format is not None
    word = t.format.word()
    codes = random.integers(word.least, word.most + 1, t.shape)
    return _fitted(t, codes >> random.integers(0, word.bits, t.shape))


def _small(t: Tensor, random: np.random.Generator) -> Array:
    """Return random codes of one size, a random one."""
    assert t.format is not None
    word = t.format.word()
    codes = random.integers(word.least, word.most + 1, t.shape)
    return _fitted(t, codes >> int(random.integers(0, word.bits)))


def _ends(t: Tensor, random: np.random.Generator) -> Array:
    """Return a mixture of the least and the most code, 0, 1 and -1."""
    assert t.format is not None
    word = t.format.word()
    choices = np.array([word.least, word.most, word.most, 0, 1, max(word.least, -1)])
    return _fitted(t, choices[random.integers(0, len(choices), t.shape)])


def _constant(t: Tensor, random: np.random.Generator) -> Array:
    """Return one code everywhere, the most or the least."""
    assert t.format is not None
    word = t.format.word()
    return _fitted(t, np.full(t.shape, word.most if random.integers(0, 2) else word.least))


_KINDS: tuple[tuple[str, Callable[[Tensor, np.random.Generator], Array]], ...] = (
    ("random sizes", _scaled),
    ("ends", _ends),
    ("random of one size", _small),
    ("one code", _constant),
    ("random", uniform),
)


def _ramps(tensors: Sequence[Tensor], sample: Operands, free: list[int]) -> Iterator[Operands]:
    """Yield inputs of a table that go through all codes, as far as a few vectors hold them."""
    (place,) = free[:1]
    t = tensors[place]
    word: Word = t.one_format.word()
    codes = np.arange(word.least, word.most + 1)
    size = prod(t.shape)
    for start in range(0, len(codes), max(size, 1)):
        if not size or start >= (MOST_VECTORS - 1) * size:
            return
        whole = np.resize(np.roll(codes, -start), t.shape).astype(t.one_format.dtype)
        yield tuple(whole if i == place else array for i, array in enumerate(sample))


def _placed(found: list[Patch], t: Tensor, random: np.random.Generator) -> Iterator[tuple[Array, str]]:
    """Yield inputs that hold patches side by side, as many as do not overlap; random codes lie between them."""
    left = _alternating(found)
    while left:
        codes = uniform(t, random).reshape(-1)
        taken = np.zeros(codes.size, bool)
        later, shows = [], []
        for patch in left:
            if taken[patch.elements].any():
                later.append(patch)
                continue
            codes[patch.elements] = patch.codes
            taken[patch.elements] = True
            shows.append(patch.shows)
        left = later
        yield codes.reshape(t.shape), "steered: " + ", ".join(dict.fromkeys(shows))


def _alternating(found: list[Patch]) -> list[Patch]:
    """Return the patches with the first of every kind first, then the second ones."""
    seen: dict[str, int] = {}
    order = []
    for number, patch in enumerate(found):
        seen[patch.shows] = seen.get(patch.shows, 0) + 1
        order.append((seen[patch.shows], number))
    return [found[number] for _, number in sorted(order)]
