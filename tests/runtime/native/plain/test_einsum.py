"""Einsum in plain order, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check


def einsum(equation, *shapes, dtype=np.float32, kernel="matmul"):
    rng = np.random.default_rng(1)
    feeds = {f"x{i}": rng.standard_normal(shape).astype(dtype) for i, shape in enumerate(shapes)}
    model = network(
        [("Einsum", " ".join(feeds), "y", {"equation": equation})],
        inputs={name: (array.dtype, list(array.shape)) for name, array in feeds.items()},
    )
    return PlainCase(model, feeds, kernel, 2e-6)


CASES = {
    case.model: case
    for case in (
        einsum("bqhd,bkhd->bhqk", (2, 7, 3, 16), (2, 9, 3, 16)),
        einsum("bhqk,bkhd->bqhd", (2, 3, 7, 9), (2, 9, 3, 16)),
        einsum("bhid,bhjd->bhij", (2, 3, 7, 16), (2, 3, 9, 16)),
        einsum("ij,jk->ik", (7, 9), (9, 33)),
        einsum("ij,jk", (7, 9), (9, 33)),
        einsum("ij,kj->ki", (7, 9), (33, 9)),
        einsum("ij,jk->ki", (7, 9), (9, 33)),
        einsum("...ij,...jk->...ik", (2, 3, 7, 9), (2, 3, 9, 5)),
        einsum("abc,cd->abd", (4, 5, 6), (6, 7)),
        einsum("nchw,cd->ndhw", (2, 6, 5, 4), (6, 7)),
        einsum("nctw,cd->ntwd", (2, 6, 5, 4), (6, 7)),
        einsum("bixd,bjyd->bxiyj", (2, 3, 4, 8), (2, 5, 6, 8)),
        einsum("i,j->ij", (7,), (9,)),
        einsum("i,i->", (7,), (7,)),
        einsum("bi,bi->b", (4, 7), (4, 7)),
        einsum("bi,bi->bi", (4, 7), (4, 7)),
        einsum("bij,b->ij", (4, 7, 5), (4,)),
        einsum("ij,jk->ik", (7, 9), (9, 33), dtype=np.float64),
        einsum("ij,kj->ik", (7, 29), (33, 29), dtype=np.float64),
        einsum("abc->cab", (3, 4, 5), kernel="copy_transposed"),
    )
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", CASES.values(), ids=range(len(CASES)))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


def test_any_number_of_threads_gives_the_same():
    check(einsum("bqhd,bkhd->bhqk", (2, 60, 3, 16), (2, 70, 3, 16)), ISAS[0], threads=3)
