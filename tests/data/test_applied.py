"""Preprocessing that is recorded, bundled or typed: which one holds, and which are refused."""

import json

import numpy as np
import onnx
import pytest
from networks import network

import qengine
from qengine import zoo
from qengine.data.applied import Applied, Base, applied, base_of, base_of_manifest
from qengine.data.datasets import open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.data.provenance import Provenance, provenance_in_file, provenance_in_model, provenance_of
from qengine.errors import OptionError
from qengine.model.formats.files import write_formats
from qengine.model.loader import load

UNIT, HALF = Preprocessing.of(scale=1 / 255), Preprocessing.of(mean=0.5, std=0.5)
DIGITS = zoo.find("digits")


def record(preprocessing):
    return Provenance("1", "m.onnx", "photos", preprocessing).record()


def graph_of(preprocessing):
    model = network([("Relu", "x", "y")], inputs={"x": ["N", 3, 4, 4]})
    model = onnx.load_from_string(model) if isinstance(model, bytes) else model
    if preprocessing is not None:
        onnx.helper.set_model_props(model, {"qengine": json.dumps(record(preprocessing)), "other": "{"})
    return load(model)


@pytest.mark.parametrize(
    ("in_file", "in_model", "entry", "expected"),
    [
        (None, None, None, Base()),
        (None, None, DIGITS, Base(UNIT, "digits")),
        (None, HALF, DIGITS, Base(HALF, "q.onnx", is_recorded=True)),
        (HALF, None, DIGITS, Base(HALF, "f.json", is_recorded=True)),
        (HALF, HALF, None, Base(HALF, "f.json", is_recorded=True)),
        (Preprocessing(), None, DIGITS, Base(Preprocessing(), "f.json", is_recorded=True)),
    ],
)
def test_what_is_recorded_goes_before_what_is_bundled(tmp_path, in_file, in_model, entry, expected):
    write_formats(tmp_path / "f.json", {"y": "Q1.6"}, None if in_file is None else record(in_file))
    assert base_of(tmp_path / "f.json", graph_of(in_model), entry, model="dir/q.onnx") == expected


def test_two_records_that_differ_are_refused(tmp_path):
    for name, one in (("a.json", UNIT), ("b.json", HALF)):
        write_formats(tmp_path / name, {}, record(one))
    with pytest.raises(OptionError, match=r"a\.json was made with pixel / 255, and b\.json with \(pixel - 127\.5\)"):
        base_of([tmp_path / "a.json", tmp_path / "b.json"])


@pytest.mark.parametrize(
    ("base", "one", "inputs", "typed", "line"),
    [
        (Base(UNIT, "f.json", is_recorded=True), UNIT, ["x"], [], "preprocessing of 'x': pixel / 255 (from f.json)"),
        (Base(UNIT, "digits"), UNIT, ["x", "x"], [], "preprocessing of 'x': pixel / 255 (from digits)"),
        (Base(UNIT, "digits"), HALF, ["x"], ["--mean"], "preprocessing of 'x': (pixel - 127.5) / 127.5"),
        (Base(), Preprocessing(), ["x"], [], "preprocessing of 'x': pixels 0..255"),
        (Base(UNIT, "f.json", is_recorded=True), HALF, [], [], None),
    ],
)
def test_the_line_says_what_is_applied_and_where_it_is_from(base, one, inputs, typed, line):
    found = applied(base, one, inputs, typed=typed)
    assert (found.line, found.notes) == (line, ())
    assert found.record == (one.record() if inputs else None)


def test_another_one_than_recorded_is_refused_where_pixels_are_read():
    base = Base(UNIT, "f.json", is_recorded=True)
    with pytest.raises(OptionError) as caught:
        applied(base, HALF, ["x"], typed=["--mean", "--std"])
    assert str(caught.value) == (
        "with --mean, --std numbers are (pixel - 127.5) / 127.5, and f.json was made with pixel / 255: "
        "leave --mean, --std out, or calibrate again with them"
    )
    found = applied(base, HALF, [], typed=["--mean"])
    assert found == Applied(HALF, (), "", ("--mean is for pixels, and not applied to arrays of real numbers",))


@pytest.mark.parametrize(
    ("one", "other", "agrees"),
    [
        (Preprocessing((2 / 255,)), Preprocessing.of(std=0.5), True),
        (Preprocessing((0.5,)), Preprocessing((0.5, 0.5, 0.5)), True),
        (Preprocessing((0.5,)), Preprocessing((0.5, 0.5, 0.4)), False),
        (Preprocessing((0.5, 0.5)), Preprocessing((0.5, 0.5, 0.5)), False),
        (UNIT, Preprocessing.of(scale=1 / 255, layout="nhwc", convert=["grey"]), True),
        (Preprocessing(layout="nchw"), Preprocessing(layout="nhwc"), False),
        (UNIT, Preprocessing.of(scale=1 / 255, bgr=True), False),
        (UNIT, Preprocessing.of(scale=1 / 255, crop=3), False),
    ],
)
def test_two_agree_if_they_make_the_same_numbers(one, other, agrees):
    assert one.agrees_with(other) is other.agrees_with(one) is agrees


def test_a_size_may_be_given_where_none_is_recorded():
    sized = Preprocessing.of(scale=1 / 255, resize=256, crop=224)
    assert sized.keeps(UNIT)
    assert not UNIT.keeps(sized)
    assert not Preprocessing.of(scale=1 / 255, resize=255, crop=224).keeps(sized)


def test_formats_from_data_record_it(tmp_path):
    data = open_dataset("digits", DIGITS.path, limit=20)
    found = qengine.calibrate(DIGITS.path, data)
    found.save(tmp_path / "f.json")
    known = provenance_in_file(tmp_path / "f.json")
    assert known == Provenance(qengine.__version__, "digits.onnx", "digits", UNIT)
    assert dict(qengine.InferenceSession(DIGITS.path, formats=tmp_path / "f.json").formats) == dict(
        qengine.InferenceSession(DIGITS.path, formats=found).formats
    )
    quantized = qengine.quantize_model(DIGITS.path, data)
    assert provenance_in_model(load(quantized.model)) == known
    session = qengine.InferenceSession(quantized.model)  # the record is no part of what a model computes
    assert session.in_fixed_point


def test_numbers_that_are_no_pixels_record_no_preprocessing(tmp_path):
    graph = graph_of(None)
    np.savez(tmp_path / "set.npz", x=np.ones((2, 3, 4, 4), np.float32))
    found = provenance_of("m", open_dataset(str(tmp_path / "set.npz"), graph))
    assert found == Provenance(qengine.__version__, "m", "set.npz", None)
    assert Provenance.from_record(found.record(), "f") == found
    assert provenance_of("m", [{"x": 1}]) is None


@pytest.mark.parametrize("known", [{"version": 3}, {"preprocessing": 5}, {"preprocessing": {"colour": 1}}])
def test_a_damaged_record_is_one_line(tmp_path, known):
    write_formats(tmp_path / "f.json", {"y": "Q1.6"}, known)
    with pytest.raises(OptionError, match=r"^formats file .*f\.json: ") as caught:
        base_of(tmp_path / "f.json")
    assert "\n" not in str(caught.value)


def test_manifests(tmp_path):
    assert base_of_manifest({"preprocessing": HALF.record()}, "a/pack") == Base(HALF, "pack", is_recorded=True)
    assert base_of_manifest({"preprocessing": None}, "pack") == base_of_manifest({}, "pack") == Base()
