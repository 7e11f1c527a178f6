"""In fixed point the bits are the same whatever kernels BLAS picks for a CPU, and however many threads it has."""

import hashlib
import os
import subprocess
import sys

from networks import network, weights

import qengine


def digest() -> str:
    """Return a digest of raw codes: weights that loading computes, and a Gemm that is an island."""
    model = network(
        [
            ("MatMul", "A B", "W"),
            ("Conv", "K F", "V"),
            ("MatMul", "x W", "h"),
            ("Gemm", "h x", "p", {"transB": 1, "alpha": 0.3}),
            ("Softmax", "p", "s"),
            ("Conv", "z V", "y"),
        ],
        inputs={"x": [40, 60], "z": [1, 4, 30, 30]},
        outputs=["s", "y"],
        constants={
            "A": weights(60, 3000, scale=0.05),
            "B": weights(3000, 60, seed=1),
            "K": weights(8, 64, 12, 12, seed=2),
            "F": weights(4, 64, 9, 9, seed=3, scale=0.1),
        },
    )
    s = qengine.InferenceSession(model, qformat="Q3.12")
    codes = s.run(["W", "V", "h", "p", "s", "y"], {"x": weights(40, 60), "z": weights(1, 4, 30, 30)}, raw=True)
    return hashlib.sha256(b"".join(array.tobytes() for array in codes)).hexdigest()


def elsewhere(**variables: str) -> str:
    """Return the digest that a process with other settings of OpenBLAS finds."""
    command = "from test_reproducible import digest; print(digest())"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__), **variables}  # noqa: PTH120
    return subprocess.run(
        [sys.executable, "-c", command], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_kernels_and_threads_of_blas_change_no_bit():
    # Every processor of this architecture has what Prescott has; others do not know the word, and ignore it.
    found = {elsewhere(OPENBLAS_NUM_THREADS="1", OPENBLAS_CORETYPE="Prescott"), elsewhere(OPENBLAS_NUM_THREADS="2")}
    assert found == {digest()}
