import numpy as np
import pytest
import torch

from qengine.kernels.reference.normalization import softmax, standardize

ROWS = np.random.default_rng(0).normal(size=(7, 33)) * np.geomspace(1e-3, 1e3, 7)[:, None]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_softmax(dtype):
    rows = ROWS.astype(dtype)
    wide = torch.from_numpy(rows.astype(np.float64))
    np.testing.assert_allclose(softmax(rows), torch.softmax(wide, -1).numpy(), rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(
        softmax(rows, logarithm=True), torch.log_softmax(wide, -1).numpy(), rtol=1e-13, atol=1e-13
    )


def test_softmax_of_infinities_and_of_nothing():
    assert softmax(np.array([[-np.inf, 0, 0]])).tolist() == [[0, 0.5, 0.5]]
    assert softmax(np.zeros((2, 0))).shape == (2, 0)


def test_standardize():
    wanted = torch.nn.functional.layer_norm(torch.from_numpy(ROWS), (33,), eps=1e-5).numpy()
    np.testing.assert_allclose(standardize(ROWS, 1e-5), wanted, rtol=1e-10, atol=1e-12)
    assert standardize(np.zeros((3, 0)), 1e-5).shape == (3, 0)
    assert standardize(np.full((2, 1), 7.0), 1e-5).tolist() == [[0], [0]]
