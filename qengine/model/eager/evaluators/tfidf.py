"""Evaluator of TfIdfVectorizer: counts of n-grams, found through a tree of the pool's n-grams.

The tokens of the pool are numbered. A pair (number of a prefix, number of a token) is the number of a longer prefix,
level by level, so all windows of the input descend together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import evaluator
from qengine.model.eager.ml.features import floats, rows_of, text
from qengine.model.eager.ml.lookup import positions_in

_MODES = ("TF", "IDF", "TFIDF")
_MAX_WINDOWS = 1 << 26
"""Largest number of windows of the input that are looked up."""


@dataclass(frozen=True)
class Pool:
    """Attributes that describe the n-grams; the fields have ONNX's names."""

    ngram_counts: tuple[int, ...]
    ngram_indexes: tuple[int, ...]
    pool_int64s: tuple[int, ...] = ()
    pool_strings: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def grams(self) -> list[NDArray[Any]]:
        """Return the n-grams of each length, [number, length], after a check of all the attributes.

        Raises
        ------
        ModelError
            If the attributes contradict each other.
        """
        if bool(self.pool_int64s) == bool(self.pool_strings):
            raise ModelError("must have pool_int64s or pool_strings, and not both")
        pool = np.array(self.pool_int64s, np.int64) if self.pool_int64s else text(self.pool_strings)
        ends = [*self.ngram_counts[1:], len(pool)]
        grams = []
        for n, (start, end) in enumerate(zip(self.ngram_counts, ends, strict=True), 1):
            if not 0 <= start <= end <= len(pool) or (end - start) % n:
                raise ModelError(f"ngram_counts {start} to {end} does not fit a pool of {len(pool)} for {n}-grams")
            grams.append(pool[start:end].reshape(-1, n))
        count = sum(map(len, grams))
        if len(self.ngram_indexes) != count or len(self.weights) not in (0, count):
            raise ModelError(
                f"has {len(self.ngram_indexes)} ngram_indexes and {len(self.weights)} weights for {count} n-grams"
            )
        if min(self.ngram_indexes, default=-1) < 0:
            raise ModelError("ngram_indexes must not be empty, and none can be negative")
        return grams


@evaluator("TfIdfVectorizer")
def tf_idf_vectorizer(
    x: NDArray[Any], *, pool: Pool, max_gram_length: int, max_skip_count: int, min_gram_length: int, mode: str
) -> NDArray[np.float32]:
    """Return for each row the number of occurrences of each n-gram, its weight where it occurs, or their product."""
    if mode not in _MODES:
        raise ModelError(f"mode is '{mode}'; it must be one of {', '.join(_MODES)}")
    grams = pool.grams()
    if not 0 < min_gram_length <= max_gram_length <= len(grams) or max_skip_count < 0:
        raise ModelError(
            f"min_gram_length {min_gram_length}, max_gram_length {max_gram_length}, max_skip_count {max_skip_count}: "
            f"they must be within 1..{len(grams)}, in this order, and not negative"
        )
    if (x.dtype == object) != bool(pool.pool_strings):
        raise ModelError(f"its pool holds {'text' if pool.pool_strings else 'integers'}, and its input is {x.dtype}")
    rows = x[None, None] if x.ndim == 0 else rows_of(x)
    width = max(pool.ngram_indexes) + 1
    columns = np.array(pool.ngram_indexes, np.int64)
    weights = floats(pool.weights) if pool.weights else np.ones(len(columns), np.float32)
    result = np.zeros(checked_shape((len(rows), width)), np.float32)
    if mode == "IDF" and len(np.unique(np.stack([columns, weights]), axis=1).T) > len(np.unique(columns)):
        raise UnsupportedError("mode is IDF, and n-grams of one index have different weights")
    for row, gram in _occurrences(rows, grams, range(min_gram_length, max_gram_length + 1), max_skip_count):
        if mode == "IDF":
            result[row, columns[gram]] = weights[gram]
        else:
            np.add.at(result, (row, columns[gram]), weights[gram] if mode == "TFIDF" else np.float32(1))
    return result if x.ndim == 2 else result[0]


def _occurrences(rows: NDArray[Any], grams: list[NDArray[Any]], lengths: range, skips: int) -> Any:
    """Yield pairs of arrays: rows, and the n-grams that occur there, for each length and distance of the tokens."""
    tokens = np.unique(np.concatenate([one.ravel() for one in grams]))
    numbers = positions_in(rows.ravel(), tokens).reshape(rows.shape)
    first, length = np.cumsum([0, *map(len, grams)]), rows.shape[1]
    windows = 0
    for n in lengths:
        tree = _Tree(positions_in(grams[n - 1].ravel(), tokens).reshape(-1, n), len(tokens))
        most = 0 if n == 1 else min(skips, (length - 1) // (n - 1) - 1)
        for skip in range(most + 1):
            step = skip + 1
            count = length - (n - 1) * step
            windows += max(count, 0) * len(rows) * n
            if windows > _MAX_WINDOWS:
                raise UnsupportedError(f"looks up more than {_MAX_WINDOWS:,} tokens; lower max_skip_count")
            if count > 0 and len(rows):
                found = tree.find([numbers[:, k * step : k * step + count] for k in range(n)])
                at = np.nonzero(found >= 0)
                yield at[0], first[n - 1] + found[at]


class _Tree:
    """The n-grams of one length, as tables of the pairs (prefix, token) of each level."""

    def __init__(self, grams: NDArray[np.intp], tokens: int) -> None:
        self._tokens, self._levels = tokens, []
        prefix = np.zeros(len(grams), np.intp)
        for token in grams.T:
            level, prefix = np.unique(prefix * tokens + token, return_inverse=True)
            self._levels.append(level)
        self._grams = np.full(len(self._levels[-1]), -1, np.intp)
        self._grams[prefix] = np.arange(len(grams))
        if len(grams) and len(self._grams) < len(grams):
            raise ModelError(f"the pool holds one of its {grams.shape[1]}-grams twice")

    def find(self, tokens: list[NDArray[np.intp]]) -> NDArray[np.intp]:
        """Return the n-gram that each window is, -1 for none."""
        prefix = np.zeros(tokens[0].shape, np.intp)
        for level, token in zip(self._levels, tokens, strict=True):
            pair = np.where((prefix >= 0) & (token >= 0), prefix * self._tokens + token, -1)
            prefix = positions_in(pair.ravel(), level).reshape(pair.shape)
        return np.where(prefix >= 0, self._grams[prefix], -1) if len(self._grams) else prefix
