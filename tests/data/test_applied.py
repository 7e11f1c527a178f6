"""Preprocessing that is recorded, bundled or typed: which one holds, and which are refused."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from networks import network, weights
from PIL import Image

import qengine
from qengine import zoo
from qengine.data.applied import Applied, Base, applied, base_of, base_of_manifest
from qengine.data.datasets import open_dataset, provenance_of, runs_of
from qengine.data.preprocessing import Preprocessing
from qengine.data.provenance import Provenance, provenance_in_file, provenance_in_model
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


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A model, pictures, and a formats file that records how they were read."""
    folder = tmp_path_factory.mktemp("recorded")
    model = network(
        [("GlobalAveragePool", "x", "p"), ("Flatten", "p", "f"), ("MatMul", "f w", "y")],
        inputs={"x": ["N", 3, 8, 8]},
        constants={"w": weights(3, 4)},
    )
    (folder / "m.onnx").write_bytes(model)
    (folder / "photos").mkdir()
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{seed}.png")
    scale = Preprocessing.of(mean=(0.5, 0.4, 0.6), std=0.25)
    found = qengine.calibrate(folder / "m.onnx", folder / "photos", preprocessing=scale)
    found.save(folder / "f.json")
    return folder, found, scale


RUNS = {
    "evaluate": lambda session, data, **options: qengine.evaluate(session, data, **options).fixed["sqnr"],
    "blame": lambda session, data, **options: qengine.blame(session, data, **options).sqnr_db,
    "compare": lambda session, data, **options: qengine.compare(session, session, data, **options).equal,
    "open_dataset": lambda session, data, **options: [
        feeds["x"].tolist() for feeds in qengine.open_dataset(data, session, **options)
    ],
}


@pytest.mark.parametrize("form", ["file", "calibration", "read", "replaced"])
@pytest.mark.parametrize("name", RUNS)
def test_a_session_reads_pixels_as_its_formats_record(photographs, name, form):
    folder, calibration, scale = photographs
    forms = {"calibration": calibration, "read": json.loads((folder / "f.json").read_text())}
    session = qengine.InferenceSession(folder / "m.onnx", formats=forms.get(form, folder / "f.json"))
    if form == "replaced":
        session = session.with_options(replace(session.options, threads=1))
    data, run = folder / "photos", RUNS[name]
    unrecorded = qengine.InferenceSession(folder / "m.onnx", formats=calibration.formats)
    assert run(session, data) == run(unrecorded, data, preprocessing=scale)
    opened = open_dataset(data, unrecorded)
    for given, options in ((data, {"preprocessing": Preprocessing()}), (opened, {})):
        with pytest.raises(OptionError, match=r"numbers are pixels 0\.\.255, and .* was made with"):
            run(session, given, **options)


def test_pictures_one_by_one_are_read_as_formats_record(photographs):
    folder, _, scale = photographs
    session = qengine.InferenceSession(folder / "m.onnx", formats=folder / "f.json")
    pictures = [Image.open(path) for path in sorted((folder / "photos").iterdir())]
    expected = [feeds["x"] for feeds in open_dataset(folder / "photos", session.graph, preprocessing=scale)]
    assert np.array_equal([feeds["x"] for feeds in runs_of(iter(pictures), session)], expected)
    numbers = [np.zeros((1, 3, 8, 8), np.float32)]
    assert len(list(runs_of(iter(numbers), session, {"preprocessing": Preprocessing()}))) == 1
    with pytest.raises(OptionError, match=r"f\.json was made with"):
        list(runs_of(iter(pictures), session, {"preprocessing": Preprocessing()}))


def test_a_report_and_a_pack_read_pixels_as_formats_record(photographs, tmp_path):
    folder, _, scale = photographs
    quick = {"quick": True, "curve": [], "targets": [], "formats": folder / "f.json"}
    facts = qengine.report(folder / "m.onnx", folder / "photos", tmp_path / "r.html", **quick).facts
    session = qengine.InferenceSession(folder / "m.onnx", formats=folder / "f.json")
    assert facts.data.preprocessing == scale.described()
    assert facts.accuracy.fixed.figures["sqnr_db"] == qengine.evaluate(session, folder / "photos").fixed["sqnr"]
    with pytest.raises(OptionError, match=r"f\.json was made with"):
        qengine.report(
            folder / "m.onnx", folder / "photos", tmp_path / "r.html", preprocessing=Preprocessing(), **quick
        )
    pack = qengine.export_vectors(session, folder / "photos", tmp_path / "pack", limit=1)
    assert pack.manifest["preprocessing"] == json.loads(json.dumps(scale.record()))
