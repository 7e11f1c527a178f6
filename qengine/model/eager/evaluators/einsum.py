"""Einsum, as a chain of matrix products of two operands whose sizes are checked first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import checked_shape, working_dtype
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.steps import Tensor

Array = NDArray[Any]
Label = str | int
"""A letter, or the place of an axis of the ellipsis counted from its end: -1 is the last."""

_MAX_OPERANDS = 64


def _types(*inputs: Tensor, equation: str) -> tuple[OutputType, ...]:
    _check_count(inputs)
    terms, result = labels_of(equation, [one.ndim for one in inputs])
    lengths = lengths_of(terms, [one.shape for one in inputs], equation)
    return ((tuple(lengths.get(label, 1) for label in result), inputs[0].dtype),)


def _check_count(inputs: Sequence[Any]) -> None:
    if not inputs or len(inputs) > _MAX_OPERANDS or any(one is None for one in inputs):
        raise ModelError(f"takes 1 to {_MAX_OPERANDS} inputs, none of them left out")


@evaluator("Einsum", since=12, outputs=_types)
def einsum(*inputs: Array, equation: str) -> Array:
    """Sums of products over the labels that the output does not have."""
    _check_count(inputs)
    dtype = inputs[0].dtype
    wide = working_dtype(dtype) if dtype.kind in "fV" else dtype
    terms, result = labels_of(equation, [one.ndim for one in inputs])
    lengths = lengths_of(terms, [one.shape for one in inputs], equation)
    operands = [_diagonal(one.astype(wide, copy=False), term, lengths) for one, term in zip(inputs, terms, strict=True)]
    return np.asarray(_contracted(operands, result, lengths)).astype(dtype)


@dataclass(frozen=True)
class _Operand:
    """An array and the label of each of its axes, each label once."""

    array: Array
    labels: tuple[Label, ...]

    def without(self, labels: Iterable[Label]) -> _Operand:
        """Return the sums over labels."""
        axes = tuple(self.labels.index(label) for label in labels)
        if not axes:
            return self
        kept = tuple(label for label in self.labels if label not in set(labels))
        return _Operand(np.asarray(self.array.sum(axis=axes, dtype=self.array.dtype)), kept)


def labels_of(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[Label, ...]], tuple[Label, ...]]:
    """Return the labels of each input and of the output."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise ModelError(f"equation '{equation}' has {len(texts)} terms, {len(ranks)} inputs are given")
    terms = []
    width = 0
    for text, rank in zip(texts, ranks, strict=True):
        letters = len(_letters(text, equation))
        covered = rank - letters
        if covered < 0 or (covered and "..." not in text):
            raise ModelError(f"term '{text}' of equation '{equation}' does not fit an input of {rank} axes")
        terms.append(_labels(text, covered))
        width = max(width, covered)
    if arrow:
        result = _labels(right, width if "..." in right else 0)
        _letters(right, equation)
    else:
        flat = "".join(_letters(text, equation) for text in texts)
        once = sorted(label for label in set(flat) if flat.count(label) == 1)
        result = (*range(-width, 0), *once)
    known = {label for term in terms for label in term}
    if len(set(result)) != len(result) or not {label for label in result if isinstance(label, str)} <= known:
        raise ModelError(f"equation '{equation}': each label of the output must occur once there, and in an input")
    return terms, result


def _letters(text: str, equation: str) -> str:
    """Return a term without its ellipsis."""
    letters = text.replace("...", "", 1)
    if any(letter not in ascii_letters for letter in letters):
        raise ModelError(f"equation '{equation}' may hold letters, commas, one '...' a term and one '->'")
    return letters


def _labels(text: str, width: int) -> tuple[Label, ...]:
    before, _, after = text.partition("...")
    return (*before, *range(-width, 0), *after)


def lengths_of(
    terms: Sequence[tuple[Label, ...]], shapes: Sequence[tuple[int, ...]], equation: str
) -> dict[Label, int]:
    """Return the length of each label; an axis of length 1 broadcasts."""
    lengths: dict[Label, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        own: dict[Label, int] = {}
        for label, length in zip(term, shape, strict=True):
            if own.setdefault(label, length) != length:
                raise ModelError(f"equation '{equation}': '{label}' has lengths {own[label]} and {length} in a term")
            known = lengths.setdefault(label, length)
            if known == 1:
                lengths[label] = length
            elif length not in (1, known):
                what = "the ellipsis" if isinstance(label, int) else f"'{label}'"
                raise ModelError(f"equation '{equation}': {what} has the lengths {known} and {length}")
    return lengths


def _diagonal(array: Array, term: tuple[Label, ...], lengths: dict[Label, int]) -> _Operand:
    """Return an operand with each label once; axes that broadcast are removed."""
    axes = [i for i, label in enumerate(term) if array.shape[i] != 1 or lengths[label] == 1]
    array = array.reshape([array.shape[i] for i in axes])
    labels = [term[i] for i in axes]
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            array = np.diagonal(array, axis1=first, axis2=second)  # the diagonal becomes the last axis
            labels = [one for i, one in enumerate(labels) if i not in (first, second)] + [label]
    return _Operand(array, tuple(labels))


def _contracted(operands: list[_Operand], result: tuple[Label, ...], lengths: dict[Label, int]) -> Array:
    """Return the product of all operands, summed over every label that the output does not have."""
    operands = [_summed_alone(i, operands, result) for i in range(len(operands))]
    while len(operands) > 1:
        # Multiply the two operands whose product is the smallest.
        pairs = [(i, j) for i in range(len(operands)) for j in range(i + 1, len(operands))]
        left, right = min(pairs, key=lambda pair: prod(lengths[label] for label in _product(pair, operands, result)))
        labels = _product((left, right), operands, result)
        checked_shape([lengths[label] for label in labels], operands[left].array.itemsize, "an intermediate result")
        joined = _multiplied(operands[left], operands[right], labels, lengths)
        operands = [one for i, one in enumerate(operands) if i not in (left, right)] + [joined]
    (last,) = operands
    present = [label for label in result if label in last.labels]
    array = last.without(label for label in last.labels if label not in result).array
    array = array.transpose([[one for one in last.labels if one in result].index(label) for label in present])
    shape = [lengths.get(label, 1) for label in result]
    checked_shape(shape, array.itemsize, "the output")
    array = array.reshape([n if label in present else 1 for n, label in zip(shape, result, strict=True)])
    return np.broadcast_to(array, shape)


def _summed_alone(index: int, operands: Sequence[_Operand], result: tuple[Label, ...]) -> _Operand:
    """Return an operand summed over the labels that no other operand and not the output has."""
    needed = set(result).union(*(one.labels for i, one in enumerate(operands) if i != index))
    own = operands[index]
    return own.without([label for label in own.labels if label not in needed])


def _product(pair: tuple[int, int], operands: Sequence[_Operand], result: tuple[Label, ...]) -> tuple[Label, ...]:
    """Return the labels of the product of two operands: those that the output or another operand needs."""
    needed = set(result).union(*(one.labels for i, one in enumerate(operands) if i not in pair))
    both = dict.fromkeys((*operands[pair[0]].labels, *operands[pair[1]].labels))
    return tuple(label for label in both if label in needed)


def _multiplied(a: _Operand, b: _Operand, labels: tuple[Label, ...], lengths: dict[Label, int]) -> _Operand:
    """Return the product of two operands as a stack of matrix products."""
    shared = [label for label in a.labels if label in b.labels]
    stack = [label for label in shared if label in labels]
    summed = [label for label in shared if label not in labels]
    rows = [label for label in a.labels if label not in shared]
    columns = [label for label in b.labels if label not in shared]
    sizes = [prod(lengths[label] for label in group) for group in (stack, rows, summed, columns)]
    x = a.array.transpose([a.labels.index(one) for one in (*stack, *rows, *summed)]).reshape(sizes[0], *sizes[1:3])
    y = b.array.transpose([b.labels.index(one) for one in (*stack, *summed, *columns)]).reshape(sizes[0], *sizes[2:])
    order = (*stack, *rows, *columns)
    return _Operand((x @ y).reshape([lengths[label] for label in order]), order)


__all__ = ["Label", "einsum", "labels_of", "lengths_of"]
