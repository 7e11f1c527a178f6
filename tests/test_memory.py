"""The limit on memory: sizes as text, what is counted, and the error."""

import numpy as np
import pytest

from qengine import memory
from qengine.errors import OptionError, UnsupportedError


@pytest.mark.parametrize(
    ("text", "size"),
    [(1, 1), (10**12, 10**12), ("123", 123), ("2k", 2048), ("512M", 1 << 29), ("2G", 1 << 31), ("1TiB", 1 << 40)],
)
def test_sizes(text, size):
    assert memory.parse_size("max_memory", text) == size


@pytest.mark.parametrize("text", [0, -1, True, 2.5, "", "0", "-1", "1.5G", "2X", "G", "1_000", "9" * 30, "２"])
def test_what_is_no_size(text):
    with pytest.raises(OptionError, match=r"max_memory must be a number of bytes such as 2000000000, 512M or 2G"):
        memory.parse_size("max_memory", text)


def test_sizes_for_people():
    assert [memory.size_text(n) for n in (5, 2048, 3 << 19, 3 << 30)] == ["5 bytes", "2.0 KiB", "1.5 MiB", "3.0 GiB"]


def test_the_default_is_a_part_of_the_machine():
    assert 0 < memory.default_limit() < memory.machine_bytes()


def test_without_a_budget_nothing_is_checked():
    memory.require(1 << 80, "it")
    with memory.holding(1 << 80):
        memory.hold(1 << 80, "it")


def test_what_is_held_counts():
    with memory.limited(100):
        memory.require(100, "it")
        with memory.holding(60):
            memory.hold(30, "it")
            memory.require(10, "it")
            with pytest.raises(
                UnsupportedError, match=r"^it needs 101 bytes of memory at once, more than 100 bytes; .*--max-memory"
            ):
                memory.require(11, "it")
        memory.require(100, "it")  # both have ended
        with memory.limited(5, keep=True):
            memory.require(100, "it")
        with memory.limited(5), pytest.raises(UnsupportedError):
            memory.require(6, "it")


def test_an_iterator_is_limited_only_while_it_computes():
    def items():
        for size in (5, 11):
            memory.require(size, "it")
            yield size

    found = memory.each_limited(10, items())
    assert next(found) == 5
    memory.require(11, "it")
    with pytest.raises(UnsupportedError):
        next(found)
    assert list(memory.each_limited(10, iter([1, 2]))) == [1, 2]


def test_bytes_of_values():
    one = np.zeros(3, np.float32)
    assert memory.bytes_of(one) == 12
    assert memory.bytes_of([one, one, None]) == 24
    assert memory.bytes_of({"a": one, "b": [one]}) == 24
    assert memory.bytes_of([one] * 1000) == 12000
    assert memory.bytes_of(None) == memory.bytes_of([]) == 0
