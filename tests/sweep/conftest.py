"""Small models with data: a classifier with labels, and a filter of pictures."""

import numpy as np
import pytest
from networks import network


def classifier_bytes(seed=1):
    rng = np.random.default_rng(seed)
    constants = {
        "w1": rng.normal(size=(4, 1, 3, 3)).astype(np.float32) / 2,
        "b1": rng.normal(size=4).astype(np.float32) / 4,
        "w2": rng.normal(size=(5, 4)).astype(np.float32),
        "b2": rng.normal(size=5).astype(np.float32) / 4,
    }
    return network(
        [
            ("Conv", "x w1 b1", "c", {"pads": [1, 1, 1, 1]}),
            ("Relu", "c", "r"),
            ("GlobalAveragePool", "r", "g"),
            ("Flatten", "g", "f"),
            ("Gemm", "f w2 b2", "y", {"transB": 1}),
        ],
        inputs={"x": ["N", 1, 6, 6]},
        constants=constants,
    )


@pytest.fixture
def classifier(tmp_path):
    """A model of five classes, and 12 samples with labels."""
    rng = np.random.default_rng(2)
    (tmp_path / "model.onnx").write_bytes(classifier_bytes())
    np.savez(tmp_path / "set.npz", x=rng.normal(size=(12, 1, 6, 6)).astype(np.float32), labels=rng.integers(0, 5, 12))
    return tmp_path / "model.onnx", tmp_path / "set.npz"


@pytest.fixture
def pictures(tmp_path):
    """A blur of grey pictures in [0, 1], and three samples with targets."""
    rng = np.random.default_rng(3)
    model = network(
        [("Conv", "x w", "y", {"pads": [1, 1, 1, 1]})],
        inputs={"x": ["N", 1, 16, 20]},
        constants={"w": np.full((1, 1, 3, 3), 1 / 9, np.float32)},
    )
    (tmp_path / "blur.onnx").write_bytes(model)
    x = rng.random((3, 1, 16, 20)).astype(np.float32)
    np.savez(tmp_path / "pictures.npz", x=x, target=np.clip(x * 0.5 + 0.2, 0, 1))
    return tmp_path / "blur.onnx", tmp_path / "pictures.npz"
