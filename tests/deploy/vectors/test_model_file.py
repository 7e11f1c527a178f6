"""The session of a pack: it computes every tensor of the model as the session that wrote it."""

import numpy as np
import pytest

import qengine
from qengine.deploy.vectors.model_file import read_session, write_model
from qengine.errors import FeedError

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


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "session.json is list, expected object"),
        ('{"qformat": "Q3.4"}', "session.json has no"),
        (
            '{"qformat": null, "weight_qformat": null, "formats": "/etc/hosts", "per_channel": false, "rules": {}}',
            "session.json.formats is str, expected object or null",
        ),
        (
            '{"qformat": null, "weight_qformat": null, "formats": null, "per_channel": false, "rules": "/etc/hosts"}',
            "session.json.rules is str, expected object",
        ),
    ],
)
def test_options_are_checked_before_a_session_reads_them(content, match, tmp_path):
    write_model(qengine.InferenceSession(qengine.zoo.find("digits").path, qformat="Q3.4"), tmp_path)
    (tmp_path / "session.json").write_text(content)
    with pytest.raises(FeedError, match=match):
        read_session(tmp_path)
