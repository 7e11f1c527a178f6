"""Codes of pixels, as firmware needs them, are those that a run gives."""

import json

import numpy as np
import pytest
from networks import network

import qengine
from qengine.data.preprocessing import Preprocessing
from qengine.deploy.c.manifest import c_schema
from qengine.deploy.pixel_codes import pixel_codes
from qengine.deploy.vectors.schema import fault_of, manifest_schema

IMAGENET = Preprocessing.of(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=9, crop=8, bgr=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def session_of(shape=("N", 3, 8, 8), qformat="Q2.5", **options):
    model = network([("Relu", "x", "y")], inputs={"x": list(shape)})
    return qengine.InferenceSession(model, qformat=qformat, **options)


@pytest.mark.parametrize(
    ("one", "options"),
    [
        (IMAGENET, {}),
        (Preprocessing.of(scale=1 / 255), {"qformat": "UQ0.8"}),
        (Preprocessing.of(mean=0.5, std=0.5), {"rounding": "floor", "qformat": "Q0.7"}),
        (Preprocessing.of(scale=1 / 100), {"overflow": "wrap", "qformat": "Q0.3"}),
    ],
)
def test_the_table_gives_the_codes_of_a_run(one, options):
    session = session_of(**options)
    (found,) = pixel_codes(session, one)
    numbers = one.to_numbers(PIXELS)[None]
    (expected,) = session.run(["x"], {"x": numbers}, raw=True)
    ordered = PIXELS[..., ::-1] if one.bgr else PIXELS
    codes = np.stack([np.array(found.codes[c])[ordered[..., c]] for c in range(3)])
    np.testing.assert_array_equal(codes, expected[0])
    assert found.channels == (("blue", "green", "red") if one.bgr else ("red", "green", "blue"))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        (("N", 1, 8, 8), ("grey",)),
        ((1, 8, 8, 3), ("red", "green", "blue")),
        ((8, 8), ("grey",)),
        ((1, 4, 8, 8), None),
        ((1, 3, 8, 3), None),
        ((6,), None),
    ],
)
def test_inputs_that_can_be_pictures(shape, channels):
    found = pixel_codes(session_of(shape), Preprocessing.of(scale=1 / 255))
    assert [one.channels for one in found] == ([] if channels is None else [channels])


def test_nothing_where_it_does_not_fit():
    assert pixel_codes(session_of(), None) == ()
    assert pixel_codes(session_of(), Preprocessing.of(mean=(0.1, 0.2))) == ()
    assert pixel_codes(session_of(qformat=None), Preprocessing()) == ()


def test_a_network_in_c_and_a_pack_say_it(tmp_path):
    session = session_of((1, 3, 8, 8))
    project = qengine.export_c(session, tmp_path / "net", preprocessing=IMAGENET)
    feeds = {"x": IMAGENET.to_numbers(PIXELS)[None]}
    options = {"edges": 0, "operator_vectors": False}
    pack = qengine.export_vectors(session, feeds, tmp_path / "pack", preprocessing=IMAGENET, **options)
    for manifest in (project.manifest, pack.manifest):
        assert Preprocessing.from_record(manifest["preprocessing"]) == IMAGENET
        assert manifest["pixels"] == [one.as_json() for one in pixel_codes(session, IMAGENET)]
    assert fault_of(json.loads(json.dumps(project.manifest)), c_schema()) is None
    assert fault_of(pack.manifest, manifest_schema()) is None
    header = (tmp_path / "net" / "net.h").read_text()
    assert "from pixels, channels blue, green, red: shorter side 9, middle 8 x 8, blue first," in header
    low, high = (IMAGENET.to_numbers(np.full((1, 1, 3), n, np.uint8)).ravel()[0] for n in (0, 255))
    assert f"are codes {round(float(low) * 32)} to {round(float(high) * 32)}" in " ".join(header.split())
    assert "## Pixels" in (tmp_path / "net" / "README.md").read_text()


def test_nothing_is_said_where_nothing_is_known(tmp_path):
    project = qengine.export_c(session_of((1, 3, 8, 8)), tmp_path / "net")
    assert (project.manifest["preprocessing"], project.manifest["pixels"]) == (None, [])
    assert "Pixels" not in (tmp_path / "net" / "README.md").read_text()
