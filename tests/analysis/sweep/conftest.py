"""Small models with data: a classifier with labels, and a filter of pictures."""

import numpy as np
import pytest
from networks import network

from qengine.analysis.sweep import files


@pytest.fixture(autouse=True)
def draws_nothing(monkeypatch):
    """Sweeps of tests draw no plots, which takes longer than the sweep."""
    monkeypatch.setattr(files, "write_plots", lambda *_: [])
    monkeypatch.setattr(files, "write_target_plots", lambda *_: [])


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
def normalized(tmp_path):
    """A model with BatchNormalization behind channels of different size, and 12 samples without labels."""
    rng = np.random.default_rng(4)
    size = 2.0 ** rng.integers(-3, 4, 6).astype(np.float32)
    constants = {
        "w1": rng.normal(size=(6, 1, 3, 3)).astype(np.float32) * size[:, None, None, None],
        "scale": rng.uniform(0.5, 2, 6).astype(np.float32),
        "shift": rng.normal(size=6).astype(np.float32),
        "mean": rng.normal(size=6).astype(np.float32) * size,
        "var": rng.uniform(0.5, 2, 6).astype(np.float32) * size**2,
        "w2": rng.normal(size=(4, 6, 3, 3)).astype(np.float32),
        "b2": rng.normal(size=4).astype(np.float32),
    }
    model = network(
        [
            ("Conv", "x w1", "c"),
            ("BatchNormalization", "c scale shift mean var", "n"),
            ("Relu", "n", "r"),
            ("Conv", "r w2 b2", "d"),
            ("GlobalAveragePool", "d", "g"),
            ("Flatten", "g", "y"),
        ],
        inputs={"x": ["N", 1, 7, 7]},
        constants=constants,
    )
    (tmp_path / "model.onnx").write_bytes(model)
    np.savez(tmp_path / "set.npz", x=rng.normal(size=(12, 1, 7, 7)).astype(np.float32))
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
