"""Einsum against ONNX Runtime and NumPy."""

import numpy as np
import pytest
from model.eager.nodes import run
from model.ops.cases import Case, each, real

from qengine.errors import ModelError, QEngineError, UnsupportedError
from qengine.model.eager.evaluators.einsum import einsum

EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("iij->j", (4, 4, 3)),
    ("iii->i", (3, 3, 3)),
    ("ijij->ji", (2, 3, 2, 3)),
    ("ij->ji", (3, 4)),
    ("ij->", (3, 4)),
    ("i,j->ij", (3,), (4,)),
    ("...ij,...jk->...ik", (2, 6, 3, 4), (2, 6, 4, 5)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (1, 6, 4, 5)),
    ("...ij,jk->...ik", (2, 6, 3, 4), (4, 5)),
    ("...ij,...jk", (2, 3, 4), (2, 4, 5)),
    ("i...j->j...", (3, 4, 5)),
    (" i j , j k -> i k ", (3, 4), (4, 5)),
    ("ab,bc,cd->ad", (2, 3), (3, 4), (4, 5)),
    ("ab,cd,ab->cd", (2, 3), (3, 4), (2, 3)),
    ("Ab,bA->A", (2, 3), (3, 2)),
    ("bA,Ac", (2, 3), (3, 2)),
    ("ii,ij->j", (3, 3), (3, 4)),
    ("->", ()),
    (",ij->ij", (), (2, 3)),
    ("i->", (0,)),
    ("ij,jk->ik", (3, 0), (0, 4)),
    ("...->...", (2, 3)),
    ("...i,i->...", (2, 3), (3,)),
    ("ij,jk->ik", (3, 1), (4, 5)),
    ("ij,ij->ij", (1, 3), (2, 3)),
    ("a,b,c,d->dcba", (2,), (3,), (2,), (4,)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("ijk,ilm->ijklm", (2, 2, 2), (2, 3, 2)),
    ("...ii->...i", (2, 3, 3)),
    ("ij...,jk...->ik...", (2, 3, 4), (3, 5, 4)),
]
CASES = [
    *(
        Case("Einsum", tuple(real(*shape, seed=i) for i, shape in enumerate(shapes)), {"equation": equation}, rtol=1e-4)
        for equation, *shapes in EQUATIONS
    ),
    # ONNX Runtime does not sum over an ellipsis.
    *(Case("Einsum", (real(2, 3),), {"equation": e}, follows="reference") for e in ("...->", "i...->i")),
    *(
        Case("Einsum", tuple(np.arange(12).reshape(shape).astype(kind) for shape in shapes), {"equation": equation})
        for kind in (np.int32, np.int64, np.float64, np.uint8, np.int8, np.uint64)
        for equation, *shapes in (("ij,jk->ik", (3, 4), (4, 3)), ("ij->j", (3, 4)))
    ),
    Case("Einsum", (real(3, 40).astype(np.float16),) * 2, {"equation": "ij,kj->ik"}, rtol=1e-2, atol=1e-2),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_numpy(seed):
    rng = np.random.default_rng(seed)
    lengths = dict(zip("abcdef", rng.integers(1, 4, 6), strict=True))
    terms = ["".join(rng.choice(list(lengths), rng.integers(0, 4))) for _ in range(rng.integers(1, 5))]
    letters = sorted(set("".join(terms)))
    result = "".join(rng.permutation([one for one in letters if rng.random() < 0.5]))
    equation = ",".join(terms) + ("" if seed % 4 == 0 else f"->{result}")
    arrays = [rng.normal(size=[lengths[one] for one in term]) for term in terms]
    np.testing.assert_allclose(einsum(*arrays, equation=equation), np.einsum(equation, *arrays), 1e-9, 1e-9)


def test_a_chain_of_products_takes_little():
    # The product of all labels has 10^12 elements.
    arrays = [np.ones((100, 100), np.float32)] * 5
    y = einsum(*arrays, equation="ab,bc,cd,de,ef->af")
    assert y[0, 0] == 1e8


def test_a_result_that_is_too_large_is_refused_before_it_is_made():
    x = np.ones(1 << 16, np.float32)
    with pytest.raises(UnsupportedError, match="more than 1,073,741,824 elements"):
        einsum(x, x, equation="i,j->ij")
    with pytest.raises(UnsupportedError, match="an intermediate result"):
        einsum(x, x, x, equation="i,j,k->kji")


ERRORS = [
    ("ij,jk->ikz", (3, 4), (4, 5)),
    ("ij,jk->ii", (3, 4), (4, 5)),
    ("ij,kj->ik", (3, 4), (4, 5)),
    ("ij", (3,)),
    ("i", (3, 4)),
    ("i,j", (3,)),
    ("i1->i", (3, 4)),
    ("ij->i->j", (3, 4)),
    ("..ij->ij", (3, 4, 5)),
    ("......ij->ij", (3, 4, 5)),
    ("i-j", (3, 4)),
    ("é", (3,)),
    ("ii->i", (3, 4)),
    ("ii->i", (3, 1)),
]


@pytest.mark.parametrize(("equation", "shapes"), [(e, s) for e, *s in ERRORS], ids=[e for e, *_ in ERRORS])
def test_an_equation_that_does_not_fit_is_an_error(equation, shapes):
    with pytest.raises(ModelError, match="equation"):
        einsum(*(real(*shape) for shape in shapes), equation=equation)


def test_an_error_names_the_node():
    with pytest.raises(QEngineError, match=r"node 'node' \(Einsum\)"):
        run("Einsum", (real(3), real(4)), opset=12, equation="i,i")
