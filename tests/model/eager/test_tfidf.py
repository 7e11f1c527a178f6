"""TfIdfVectorizer against ONNX Runtime."""

import numpy as np
import pytest
from model.eager.nodes import check, run, text

from qengine import QEngineError

WHOLE = {
    "mode": "TF",
    "min_gram_length": 1,
    "max_gram_length": 2,
    "max_skip_count": 0,
    "ngram_counts": [0, 3],
    "ngram_indexes": [0, 1, 2, 3, 4, 5],
    "pool_int64s": [2, 3, 5, 2, 3, 3, 2, 5, 5],
}
X = np.array([2, 3, 2, 3, 5, 5, 3, 2])


def pools(rng, tokens, longest):
    """Return different n-grams of each length: their counts, and the pool."""
    counts, pool = [], []
    for n in range(1, longest + 1):
        counts.append(len(pool))
        grams = {tuple(map(int, rng.integers(0, tokens, n))) for _ in range(rng.integers(n == 1, 6))}
        pool += [token for gram in sorted(grams) for token in gram]
    total = sum(
        (end - start) // n for n, (start, end) in enumerate(zip(counts, [*counts[1:], len(pool)], strict=True), 1)
    )
    return counts, pool, total


@pytest.mark.parametrize("seed", range(60))
def test_random_pools(seed):
    rng = np.random.default_rng(seed)
    counts, pool, total = pools(rng, int(rng.integers(2, 5)), int(rng.integers(1, 4)))
    least = int(rng.integers(1, len(counts) + 1))
    attributes = {
        "mode": ["TF", "IDF", "TFIDF"][seed % 3],
        "min_gram_length": least,
        "max_gram_length": int(rng.integers(least, len(counts) + 1)),
        "max_skip_count": int(rng.choice([0, 1, 2, 5, 100])),
        "ngram_counts": counts,
        "ngram_indexes": rng.permutation(total).tolist(),
    }
    if rng.integers(2):
        attributes["weights"] = rng.random(total).astype(np.float32).tolist()
    x = rng.integers(
        0, 5, (int(rng.integers(1, 4)), int(rng.integers(0, 12))) if seed % 2 else int(rng.integers(0, 12))
    )
    if seed % 4 < 2:
        x = text(*(f"t{token}" for token in x.flat)).reshape(x.shape)
        attributes["pool_strings"] = [f"t{token}" for token in pool]
    else:
        x, attributes["pool_int64s"] = x.astype([np.int32, np.int64][seed % 3 == 0]), pool
    check("TfIdfVectorizer", [x], **attributes)


def test_several_grams_of_one_index_add_up():
    weights = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    shared = WHOLE | {"ngram_indexes": [0, 0, 1, 2, 2, 3], "weights": weights}
    for mode in ("TF", "TFIDF"):
        check("TfIdfVectorizer", [X], **(shared | {"mode": mode}))
    with pytest.raises(QEngineError, match="n-grams of one index have different weights"):
        run("TfIdfVectorizer", [X], **(shared | {"mode": "IDF"}))


def test_any_number_of_skips():
    """No n-gram reaches beyond the row, however many tokens it may skip."""
    (found,) = run("TfIdfVectorizer", [X], **(WHOLE | {"max_skip_count": 2**31 - 1}))
    (same,) = run("TfIdfVectorizer", [X], **(WHOLE | {"max_skip_count": 6}))
    np.testing.assert_array_equal(found, same)
    with pytest.raises(QEngineError, match="max_skip_count"):
        run("TfIdfVectorizer", [np.zeros(100_000, np.int64)], **(WHOLE | {"max_skip_count": 2**31 - 1}))


DAMAGED = {
    "gram twice": {"pool_int64s": [2, 2, 5, 2, 3, 3, 2, 5, 5]},
    "negative index": {"ngram_indexes": [0, 1, 2, 3, 4, -5]},
    "huge index": {"ngram_indexes": [0, 1, 2, 3, 4, 2**62]},
    "counts that do not divide": {"ngram_counts": [0, 4]},
    "counts that fall": {"ngram_counts": [3, 0]},
    "counts beyond the pool": {"ngram_counts": [0, 30]},
    "huge counts": {"ngram_counts": [0, 2**62]},
    "negative counts": {"ngram_counts": [-3, 0]},
    "pool before the counts": {"ngram_counts": [1, 3]},
    "fewer indexes": {"ngram_indexes": [0, 1]},
    "fewer weights": {"weights": [1.0]},
    "longest": {"max_gram_length": 3},
    "huge longest": {"max_gram_length": 2**62},
    "shortest": {"min_gram_length": 0},
    "order": {"min_gram_length": 2, "max_gram_length": 1},
    "mode": {"mode": "BM25"},
    "negative skips": {"max_skip_count": -1},
    "both pools": {"pool_strings": ["a"]},
    "type of a list": {"pool_int64s": 3},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_pools_are_refused(name):
    assert run("TfIdfVectorizer", [X], **WHOLE)[0].shape == (6,)
    with pytest.raises(QEngineError):
        run("TfIdfVectorizer", [X], **(WHOLE | DAMAGED[name]))


def test_text_for_a_pool_of_integers_is_refused():
    with pytest.raises(QEngineError):
        run("TfIdfVectorizer", [text("a")], **WHOLE)
