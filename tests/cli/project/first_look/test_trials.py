"""The numbers of each preprocessing, made in memory, are those that reading the data gives."""

import numpy as np
import pytest
from networks import network

from qengine.cli.project.first_look.candidates import candidates
from qengine.cli.project.first_look.trials import try_all
from qengine.data.datasets import open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.runtime.session import InferenceSession

SHAPES = {"nchw": ["N", 3, 4, 5], "nhwc": ["N", 4, 5, 3], "grey": ["N", 1, 4, 5], "plain": ["N", 4, 5]}


class Recorded(InferenceSession):
    """Session that keeps what it is fed."""

    def run(self, names, feeds, **options):
        self.fed = [*getattr(self, "fed", []), feeds]
        return super().run(names, feeds, **options)


@pytest.mark.parametrize("layout", list(SHAPES))
def test_the_feeds_of_every_candidate(tmp_path, layout):
    shape = SHAPES[layout]
    model = network([("Relu", "x", "r"), ("ReduceSum", "r", "y", {"keepdims": 0})], inputs={"x": shape})
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape[1:]), np.uint8)
    np.savez(tmp_path / "d.npz", x=pixels)
    session = Recorded(model)
    tried = candidates(3 if 3 in shape else 1, None)

    def open_data(preprocessing):
        return open_dataset(str(tmp_path / "d.npz"), session.graph, preprocessing=preprocessing)

    try_all(session, open_data, tried, Preprocessing(), advance=lambda _: None)
    expected = [
        batch.feeds["x"]
        for pair in zip(*(open_data(one.preprocessing(Preprocessing())).batches() for one in tried), strict=True)
        for batch in pair
    ]
    assert len(session.fed) == len(expected) == 2 * len(tried)
    for fed, wanted in zip(session.fed, expected, strict=True):
        assert fed["x"].dtype == wanted.dtype
        np.testing.assert_array_equal(fed["x"], wanted)
