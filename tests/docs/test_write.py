"""What is written into a page keeps the lines that the page leaves out."""

import pytest
from docs.write import shortened

PRINTED = ["title", "a 1", "b 2", "c 3", "", "end 4"]


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (["title", "b 0"], PRINTED),
        (["title", "...", "c 0", "", "end 0"], ["title", "...", "c 3", "", "end 4"]),
        (["...", "b 0", "c 0", "..."], ["...", "b 2", "c 3", "..."]),
        (["title", "...", "z 0"], None),
        (["a ... 1"], None),
    ],
)
def test_shortened(shown, wanted):
    assert shortened(PRINTED, shown) == wanted
