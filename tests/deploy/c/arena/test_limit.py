"""Sizes of memory as text."""

import pytest

from qengine.deploy.c.arena import parse_size
from qengine.errors import OptionError


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("64K", 65536), ("64k", 65536), ("64 KB", 65536), ("64KiB", 65536), ("1M", 1 << 20), ("9B", 9)],
)
def test_a_size_is_bytes_or_a_number_with_a_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "0", "1.5K", "64Q", "64KK", "1 000"])
def test_other_text_is_refused_with_an_example(text):
    with pytest.raises(OptionError, match="is not a size of memory: give bytes, or a number with K"):
        parse_size(text)
