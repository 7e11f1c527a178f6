"""The C of kernels is text that people read: its lines fit, and every block has the names that it needs."""

import pytest

from qengine.deploy.c.kernel_text import blocks, taken_names

WIDTH = 120


@pytest.mark.parametrize("name", sorted(blocks()))
def test_lines_fit(name):
    block = blocks()[name]
    assert [line for line in (block.struct + block.text).splitlines() if len(line) > WIDTH] == []


def test_blocks_need_blocks_with_their_parameters():
    found = blocks()
    for block in found.values():
        for other, given in block.needs:
            assert len(found[other].types) == len(given), (block.name, other)


def test_tensors_leave_the_beginnings_of_kernels():
    assert {"linear", "linear_dot", "step", "memory"} - taken_names() == {"linear_dot"}
