"""A sweep in one process: what it finds, what it keeps, and what it does not compute again."""

import hashlib
import json
import math

import numpy as np
import onnx
import pytest
from joined_heads import APART, FEEDS, SAMPLES

import qengine
from qengine import InferenceSession
from qengine.analysis.sweep import Grid
from qengine.analysis.sweep import run as module
from qengine.analysis.sweep.store import Store, locked
from qengine.data.datasets import open_dataset
from qengine.errors import FeedError, OptionError, SweepError, UnsupportedError
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions
from qengine.quantization.correction import correct, fit_formats

from .conftest import classifier_bytes


def results(found):
    return [row.result() for row in found.rows]


def test_it_is_an_attribute():
    assert qengine.sweep is module.sweep


def test_a_point_is_a_run_of_its_formats(classifier, tmp_path):
    model, data = classifier
    grid = Grid(weight_bits=[5], activation_bits=[7], per_channel=[True], roundings=["half_up"], overflows=["wrap"])
    found = qengine.sweep(model, tmp_path / "out", grid, data=data)
    exact, row = found.rows
    held = np.load(data)
    options = CalibrationOptions(bits=7, weight_bits=5, per_channel=True, overflow="wrap")
    formats = qengine.calibrate(model, [{"x": held["x"]}], options)
    session = qengine.InferenceSession(model, formats=formats, rounding="half_up", overflow="wrap")
    (y,) = session.run(None, {"x": held["x"]})
    (real,) = qengine.InferenceSession(model).run(None, {"x": held["x"]})
    measures = row.outcome.measures
    assert measures.top1 == np.mean(y.argmax(1) == held["labels"])
    assert measures.agreement == np.mean(y.argmax(1) == real.argmax(1))
    noise = np.sum((real.astype(np.float64) - y) ** 2)
    assert measures.sqnr_db == pytest.approx(10 * math.log10(np.sum(real.astype(np.float64) ** 2) / noise), abs=1e-4)
    assert (exact.outcome.measures.agreement, exact.outcome.measures.sqnr_db) == (1.0, math.inf)
    # 36 + 20 weights of 5 bits, 4 + 5 biases of 32; 36 x 36 and 20 products of 7 x 5 bits.
    assert row.outcome.costs.weight_bytes == (56 * 5 + 9 * 32) / 8
    assert row.outcome.costs.bit_operations == (36 * 36 + 20) * 7 * 5
    assert exact.outcome.costs.weight_bytes == 65 * 4
    assert exact.outcome.costs.bit_operations == (36 * 36 + 20) * 32 * 32
    assert (found.task, found.evaluated_output, found.computed, row.samples) == ("classes", "y", 2, 12)


@pytest.mark.parametrize("recipe", ["fold", "best"])
def test_points_that_wrap_are_observed_again_where_others_were_observed_before(classifier, tmp_path, recipe):
    model, data = classifier
    proto = onnx.load(model)
    (bias,) = (one for one in proto.graph.initializer if one.name == "b1")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([-5, 1, -6, 0]), "b1"))
    onnx.save(proto, model)
    saturates, wraps = ({"bits": [8], "recipes": [recipe], "overflows": [name]} for name in ("saturate", "wrap"))
    both = {**saturates, "overflows": ["saturate", "wrap"]}
    together = qengine.sweep(model, tmp_path / "both", Grid(**both), data=data).rows[1:]
    each = [qengine.sweep(model, tmp_path / "one", Grid(**grid), data=data).rows[1] for grid in (saturates, wraps)]
    alone = qengine.sweep(model, tmp_path / "alone", Grid(**wraps), data=data).rows[1]
    assert [row.outcome.codes for row in together] == [row.outcome.codes for row in each]
    assert alone.outcome.codes == each[1].outcome.codes
    if recipe == "fold":
        formats = qengine.calibrate(model, [{"x": np.load(data)["x"]}], overflow="wrap")
        session = qengine.InferenceSession(model, formats=formats, overflow="wrap")
        (y,) = session.run(None, {"x": np.load(data)["x"]})
        (real,) = qengine.InferenceSession(model).run(None, {"x": np.load(data)["x"]})
        found = 10 * math.log10(np.sum(real.astype(np.float64) ** 2) / np.sum((real.astype(np.float64) - y) ** 2))
        assert alone.outcome.measures.sqnr_db == pytest.approx(found, abs=1e-4)


def test_given_formats(classifier, tmp_path):
    model, data = classifier
    formats = qengine.calibrate(model, open_dataset(str(data), load(model)), bits=6)
    formats.save(tmp_path / "formats.json")
    grid = Grid(bits=[6], qformats=["Q3.4"], formats=[tmp_path / "formats.json"])
    _, calibrated, given, listed = qengine.sweep(model, tmp_path / "out", grid, data=data).rows
    assert listed.outcome.codes == calibrated.outcome.codes != given.outcome.codes
    assert listed.point.formats_name == "formats.json"
    assert (given.point.width, listed.point.width) == (8, None)
    assert listed.outcome.costs == calibrated.outcome.costs


def test_recipes(normalized, tmp_path):
    model, data = normalized
    recipes = ["none", "fold", "fold+equalize", "fold+analytic", "best"]
    grid = Grid(bits=[4], qformats=["Q2.1"], recipes=recipes, roundings=["half_even", "floor"])
    rows = qengine.sweep(model, tmp_path / "out", grid, data=data).rows[1:]
    assert [row.outcome.error for row in rows] == [None] * 20
    graph, feeds = load(model), [{"x": np.load(data)["x"]}]

    def calibrated(changed):
        return qengine.calibrate(changed, feeds, bits=4)

    def given(changed):
        return {name: str(form) for name, form in InferenceSession(changed, qformat="Q2.1").formats.items()}

    for row in rows:
        point = row.point
        found = correct(graph, calibrated if point.is_calibrated else given, feeds, point.recipe)
        session = InferenceSession(found.graph, formats=found.formats, rounding=point.rounding)
        (codes,) = session.run(None, feeds[0], raw=True)
        expected = hashlib.sha256(f"y {codes.dtype.str} {codes.shape} ".encode() + codes.tobytes()).hexdigest()
        assert row.outcome.codes == expected, point
    assert len({row.outcome.codes for row in rows}) > 12
    # Histograms are kept for each model that ranges differ in, and for the model as it is.
    kept = sorted(path.name.split(".", 1)[1] for path in (tmp_path / "out" / "observed").glob("*.histograms.npz"))
    assert kept == ["fold+equalize.histograms.npz", "fold.histograms.npz", "histograms.npz", "none.histograms.npz"]


def test_a_model_is_corrected_once_for_its_formats(normalized, tmp_path, monkeypatch):
    model, data = normalized
    fitted = []

    def counted(*args):
        fitted.append(args[0].steps)
        return fit_formats(*args)

    def guarded(*args):
        fitted.append(args[3])
        return correct(*args)

    monkeypatch.setattr("qengine.analysis.sweep.prepare.fit_formats", counted)
    monkeypatch.setattr("qengine.analysis.sweep.prepare.correct", guarded)
    recipes = ["none", "fold+round", "fold+equalize", "fold+analytic", "fold+bias", "best"]
    grid = Grid(bits=[4, 8], recipes=recipes, roundings=["half_even", "floor"], accumulator_bits=[None, 16])
    assert qengine.sweep(model, tmp_path / "out", grid, data=data).computed == 49
    assert len(fitted) == 2 * len(recipes)


def test_models_that_no_correction_takes(classifier, tmp_path):
    model, data = classifier
    formats = qengine.calibrate(model, open_dataset(str(data), load(model)), bits=8)
    quantized = qengine.quantize_model(model, open_dataset(str(data), load(model)), formats=formats)
    (tmp_path / "q.onnx").write_bytes(quantized.model.SerializeToString())
    grid = Grid(bits=[8], recipes=["fold", "best"])
    _, plain, best = qengine.sweep(tmp_path / "q.onnx", tmp_path / "out", grid, data=data).rows
    assert plain.status == "done"
    assert "quantized already" in best.outcome.error


def test_it_goes_on_where_it_was(classifier, tmp_path, monkeypatch):
    model, data = classifier
    whole = qengine.sweep(model, tmp_path / "whole", Grid(bits=[4, 5, 6, 7]), data=data)
    computed = []
    evaluate = module.in_turn

    def stopped(work, points):
        for one in evaluate(work, points):
            computed.append(one[0])
            yield one
            if len(computed) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "in_turn", stopped)
    with pytest.raises(KeyboardInterrupt):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[4, 5, 6, 7]), data=data)
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[4, 5, 6, 7]), data=data)
    assert results(found) == results(whole)
    assert (found.computed, whole.computed) == (3, 5)
    assert len(computed) == len(set(computed)) == 5
    again = qengine.sweep(model, tmp_path / "out", Grid(bits=[7, 5, 8]), data=data)
    assert (again.computed, [row.point.width for row in again.rows]) == (1, [None, 7, 5, 8])


def test_histograms_are_collected_once(classifier, tmp_path, monkeypatch):
    model, data = classifier
    qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data)

    def refuse(*_, **__):
        raise AssertionError("observed again")

    monkeypatch.setattr("qengine.analysis.sweep.shared_results.observe", refuse)
    assert qengine.sweep(model, tmp_path / "out", Grid(bits=[4, 5]), data=data).computed == 1
    for path in (tmp_path / "out" / "observed").glob("*.histograms.npz"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AssertionError, match="observed again"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=data)


def test_a_change_is_no_stale_hit(classifier, tmp_path):
    model, data = classifier
    grid, out = Grid(bits=[6]), tmp_path / "out"
    first = qengine.sweep(model, out, grid, data=data)
    arrays = dict(np.load(data))

    def again(**options):
        found = qengine.sweep(model, out, grid, data=data, **options)
        return found.computed, found.rows[1].outcome.codes

    assert again() == (0, first.rows[1].outcome.codes)
    fewer, codes = again(limit=11)
    assert (fewer, codes != first.rows[1].outcome.codes) == (2, True)
    arrays["x"][0, 0, 0, 0] += 1
    np.savez(data, **arrays)
    other, codes = again()
    assert (other, codes != first.rows[1].outcome.codes) == (2, True)
    model.write_bytes(classifier_bytes(seed=9))
    assert again()[0] == 2
    assert again(strict=True)[0] == 2
    with Store(out / "results.sqlite") as store:
        assert len(store.rows()) == 10
        assert len(store.rows(first.rows[0].sweep)) == 2


def test_a_point_that_fails_is_a_row(classifier, tmp_path):
    model, data = classifier
    (tmp_path / "bad.json").write_text(json.dumps({"x": "Q3.4", "nothing": "Q3.4"}))
    grid = Grid(bits=[6], formats=[tmp_path / "bad.json"])
    found = qengine.sweep(model, tmp_path / "out", grid, data=data)
    assert [row.status for row in found.rows] == ["done", "done", "failed"]
    assert "formats name 'nothing', and the model has no such tensor" in found.rows[2].outcome.error
    assert qengine.sweep(model, tmp_path / "out", grid, data=data).computed == 0
    again = qengine.sweep(model, tmp_path / "out", grid, data=data, retry_failed=True)
    assert (again.computed, again.rows[2].status) == (1, "failed")


def test_what_nobody_foresaw_is_a_row_too(classifier, tmp_path, monkeypatch):
    model, data = classifier

    def fail(*_):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("qengine.analysis.sweep.prepare.SharedModel.costs", fail)
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=data)
    assert [row.outcome.error for row in found.rows] == [r"ZeroDivisionError: two\nlines"] * 2


def test_pictures_against_float32_and_targets(pictures, tmp_path):
    model, data = pictures
    scale = qengine.data.images.Preprocessing(scale=(1 / 255,))
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=data, preprocessing=scale)
    measures = found.rows[1].outcome.measures
    assert (found.task, measures.against) == ("images", "target")
    np.savez(tmp_path / "plain.npz", x=np.load(data)["x"])
    plain = qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=tmp_path / "plain.npz", preprocessing=scale)
    exact, row = plain.rows
    assert (exact.outcome.measures.psnr_db, exact.outcome.measures.ssim) == (math.inf, 1.0)
    assert row.outcome.measures.against == "float32"
    assert row.outcome.measures.psnr_db > 30 > measures.psnr_db
    assert row.outcome.codes == found.rows[1].outcome.codes


def test_batches_change_no_code_of_a_sample(classifier, tmp_path):
    model, data = classifier
    a = qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=data)
    b = qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=data, batch=1)
    assert b.computed == 2  # the digest is of arrays as they are run
    assert a.rows[1].outcome.measures.top1 == b.rows[1].outcome.measures.top1
    assert a.rows[1].outcome.measures.sqnr_db == pytest.approx(b.rows[1].outcome.measures.sqnr_db, rel=1e-5)


def test_calibration_options_of_a_point():
    point = Grid(bits=[6], methods=["max"], unsigned=True, tie_joins=True).points()[1]
    assert point.calibration() == CalibrationOptions(
        weight_bits=6, activation_bits=6, method="max", unsigned=True, tie_joins=True
    )


def test_errors(classifier, tmp_path):
    model, data = classifier
    with locked(tmp_path / "out"), pytest.raises(SweepError, match="another sweep is at work in"):
        qengine.sweep(model, tmp_path / "out", data=data)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "observed").touch()
    with pytest.raises(SweepError, match=r"cannot write to folder .*observed: File exists"):
        qengine.sweep(model, tmp_path / "taken", data=data)
    with pytest.raises(OptionError, match="holds the data, among which plots would be samples"):
        qengine.sweep(model, tmp_path / "taken", data=tmp_path / "taken")
    with pytest.raises(OptionError, match="data is needed"):
        qengine.sweep(model, tmp_path / "out")
    with pytest.raises(OptionError, match="jobs must be a whole number"):
        qengine.sweep(model, tmp_path / "out", data=data, jobs=0)
    np.savez(tmp_path / "far.npz", x=np.load(data)["x"], labels=np.arange(12))
    with pytest.raises(FeedError, match="labels reach from 0 to 11"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=tmp_path / "far.npz")
    nan = dict(np.load(data))
    nan["x"][3, 0, 1, 1] = np.nan
    np.savez(tmp_path / "nan.npz", **nan)
    with pytest.raises(FeedError, match="NaN"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[6]), data=tmp_path / "nan.npz")


def test_registered_operators_are_refused(tmp_path):
    from networks import network

    @qengine.register_operator("Twice", domain="my.domain")
    def twice(x):
        return x * 2

    (tmp_path / "m.onnx").write_bytes(network([("my.domain.Twice", "x", "y")], values={"y": [1, 3, 6, 5]}))
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3, 6, 5), np.float32))
    with pytest.raises(UnsupportedError, match="does not know registered operators"):
        qengine.sweep(tmp_path / "m.onnx", tmp_path / "out", data=tmp_path / "d.npz")


@pytest.mark.parametrize(("output_bits", "word"), [("auto", 8), (16, 16)])
def test_an_output_in_parts_is_compared_part_by_part(tmp_path, output_bits, word):
    model = tmp_path / "model.onnx"
    model.write_bytes(APART["an output"].model())
    np.savez(tmp_path / "data.npz", x=np.stack(SAMPLES))
    grid = Grid(bits=[8], output_bits=output_bits)
    found = qengine.sweep(str(model), tmp_path / "out", grid, data=str(tmp_path / "data.npz"))
    _, row = found.rows
    formats = qengine.calibrate(str(model), FEEDS, bits=8, output_bits=output_bits)
    sessions = InferenceSession(str(model)), InferenceSession(str(model), formats=formats)
    exact, given = (np.concatenate([one.run(None, feeds)[0] for feeds in FEEDS]).astype(float) for one in sessions)
    expected = 10 * math.log10(np.sum(exact**2) / np.sum((exact - given) ** 2))
    assert row.outcome.measures.sqnr_db == pytest.approx(expected, abs=1e-4)
    assert {form.bits for form in sessions[1].formats["y"].formats} == {word}


def test_text_and_html_show_the_columns_that_differ(tmp_path):
    found = qengine.sweep("digits", tmp_path / "out", qengine.Grid(bits=[4, 8]), limit=20)
    shown = found.shown_records()
    assert len(shown) == len(found.records()) == 3
    assert {"weight_bits", "activation_bits", "sqnr_db", "weight_bytes"} <= shown[0].keys()
    assert not {"key", "model", "rounding", "seconds"} & shown[0].keys()
    assert max(map(len, str(found).splitlines())) < 160
    assert "<th>key" not in found._repr_html_()
    assert "key" in found.to_pandas().columns
