import threading

import numpy as np
import pytest

from qengine.lru_cache import LruCache, cached_by_array, digest


def test_the_least_recently_used_item_is_dropped():
    cache, made = LruCache(2), []

    def get(key):
        def make():
            made.append(key)
            return key.upper()

        assert cache.get(key, make) == key.upper()

    for key in "abacab":
        get(key)
    assert made == ["a", "b", "c", "b"]


def test_an_error_stores_nothing():
    cache = LruCache(1)
    with pytest.raises(ZeroDivisionError):
        cache.get(0, lambda: 1 // 0)
    assert cache.get(0, lambda: "made") == "made"


def test_an_item_may_be_made_while_another_is():
    cache, inner = LruCache(2), []
    other = threading.Thread(target=lambda: inner.append(cache.get("b", lambda: "B")))

    def make():
        other.start()
        other.join(60)
        return "A"

    assert cache.get("a", make) == "A"
    assert inner == ["B"]


def test_digests_tell_type_shape_and_elements():
    a = np.arange(6, dtype=np.int32)
    others = [a.astype(np.uint32), a.reshape(2, 3), a[::-1], a.astype(">i4"), np.array(["a"], object), np.array(0)]
    assert len({digest(array) for array in (a, *others)}) == 7
    assert digest(a.reshape(2, 3).T) == digest(np.array([[0, 3], [1, 4], [2, 5]], np.int32))


def test_a_result_is_kept_as_long_as_its_array():
    seen = []
    total = cached_by_array(lambda array: seen.append(array.size) or float(array.sum()))
    a, b = np.ones(3), np.full(4, 2.0)
    assert [total(a), total(b), total(a), total(b)] == [3.0, 8.0, 3.0, 8.0]
    assert seen == [3, 4]
    del a
    for n in range(50):  # one of them may have the place in memory of the first
        assert total(np.full(3, float(n))) == 3.0 * n
    assert total(b) == 8.0
