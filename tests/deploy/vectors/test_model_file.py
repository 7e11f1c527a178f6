"""The session of a pack: it computes every tensor of the model as the session that wrote it."""

import numpy as np
import pytest

import qengine
from qengine.deploy.vectors.model_file import read_session, write_model

IMAGE = np.random.default_rng(3).random((1, 1, 28, 28), np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {"qformat": "Q3.4", "per_channel": True},
        {"qformat": "Q3.12", "weight_qformat": "Q1.6", "rules": {"mean.rounding": "trunc"}},
        {"qformat": "Q4.3", "formats": {"relu": "UQ2.6", "stem.weight": "Q0.7"}, "target": "cmsis-nn-s8"},
    ],
)
def test_a_pack_computes_tensors_that_passes_removed_as_its_writer_did(options, tmp_path):
    session = qengine.InferenceSession(qengine.zoo.find("digits").path, **options)
    assert write_model(session, tmp_path) == ()
    again = read_session(tmp_path)
    names = [name for node in session.network.source.nodes for name in node.outputs]
    written, read = (one.run(names, {"image": IMAGE}, raw=True) for one in (session, again))
    for name, a, b in zip(names, written, read, strict=True):
        np.testing.assert_array_equal(a, b, name)
