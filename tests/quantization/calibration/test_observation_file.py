"""An observation goes to a file and back, and gives the same formats."""

import json

import numpy as np
import pytest
from networks import network

from qengine.errors import FeedError
from qengine.model.loader import load
from qengine.quantization.calibration import (
    CalibrationOptions,
    choose_formats,
    load_observation,
    observe,
    save_observation,
)

MODEL = network(
    [("Conv", "x w b", "c"), ("Relu", "c", "r"), ("Sigmoid", "r", "y")],
    constants={"w": np.float32(np.arange(12).reshape(4, 3, 1, 1)) / 7 - 1, "b": np.float32([0, 1, 2, 3])},
)


def observed(seed=0):
    rng = np.random.default_rng(seed)
    feeds = [{"x": (rng.normal(size=(1, 3, 6, 5)) * 10.0**k).astype(np.float32)} for k in range(-3, 3)]
    feeds[0]["x"][0, 0, 0, :3] = 0, 1e-40, -1e-40
    return observe(MODEL, feeds)


@pytest.mark.parametrize("method", ["mse", "max", "percentile"])
def test_the_same_formats(tmp_path, method):
    observation = observed()
    save_observation(observation, tmp_path / "o.npz", "key")
    again = load_observation(tmp_path / "o.npz", load(MODEL), "key")
    for bits in (4, 8, 16):
        options = CalibrationOptions(bits=bits, method=method, unsigned=True, per_channel=True)
        assert choose_formats(again, options) == choose_formats(observation, options)


def test_every_count_is_kept(tmp_path):
    observation = observed()
    histogram = next(iter(observation.histograms.values()))
    histogram.infinite, histogram.nan = 3, 4
    save_observation(observation, tmp_path / "o.npz", "key")
    again = load_observation(tmp_path / "o.npz", load(MODEL), "key")
    assert again.runs == 6
    assert list(again.histograms) == list(observation.histograms)
    for name, one in observation.histograms.items():
        other = again.histograms[name]
        for fact in ("least", "most", "zeros", "infinite", "nan", "exponent", "finite"):
            assert getattr(one, fact) == getattr(other, fact)
        assert one.octaves() == other.octaves()
        for a, b in zip(vars(one.cells()).values(), vars(other.cells()).values(), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


def test_other_files_are_refused(tmp_path):
    path, graph = tmp_path / "o.npz", load(MODEL)
    with pytest.raises(FeedError, match=r"observation .*o\.npz cannot be read"):
        load_observation(path, graph, "key")
    save_observation(observed(), path, "key")
    with pytest.raises(FeedError, match="was made of another model, or of other data"):
        load_observation(path, graph, "another")
    arrays = dict(np.load(path))
    header = json.loads(arrays["header"].tobytes())
    np.savez(path, **arrays | {"header": np.frombuffer(json.dumps(header | {"version": 99}).encode(), np.uint8)})
    with pytest.raises(FeedError, match="has version 99"):
        load_observation(path, graph, "key")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FeedError, match="cannot be read"):
        load_observation(path, graph, "key")
