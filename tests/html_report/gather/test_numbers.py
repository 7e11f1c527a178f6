"""The numbers of a report are those of the analyses that they come from."""

import numpy as np
import pytest
from html_report.models import KINDS, classifier

import qengine
from qengine.html_report.facts import AccuracyFacts, BlameFacts, MetricFacts, RunFacts, TensorFacts
from qengine.html_report.gather.summary import next_step, summary

QUICK = {"quick": True, "targets": ["onnx"], "curve": [4, 8]}


def test_figures_are_those_of_an_evaluation(tmp_path):
    model, data = classifier().written(tmp_path)
    result = qengine.report(model, data, tmp_path / "r.html", qformat="Q1.2", **QUICK)
    expected = qengine.evaluate(model, data, qformat="Q1.2")
    facts = result.facts
    assert facts.accuracy.fixed.figures["top1"] == expected.fixed["top1"]
    assert facts.accuracy.float32.figures["top1"] == expected.float32["top1"]
    by_name = {one.name: one for one in facts.tensors}
    for one in expected.tensors:
        shown = by_name[one.name]
        assert (shown.sqnr_db, shown.saturated, shown.elements) == (one.sqnr_db, one.saturated, one.elements)
    assert facts.worst.flipped == expected.flips
    assert [one.index for one in facts.worst.samples] == [one.index for one in expected.worst]
    assert result.evaluation.fixed == expected.fixed


def test_tensors_are_measured_on_as_many_samples_of_each_class(tmp_path, monkeypatch):
    kind = classifier()
    model, _ = kind.written(tmp_path)
    folder = tmp_path / "classes"
    for i, sample in enumerate(kind.samples["x"]):
        (folder / f"{i // 3}").mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{i // 3}" / f"{i}.npy", sample)
    monkeypatch.setattr("qengine.html_report.gather.tensors._MAX_SAMPLES", 4)
    options = {"quick": True, "targets": [], "curve": [], "batch": 2}
    found = qengine.report(model, folder, tmp_path / "r.html", qformat="Q1.3", **options).facts
    session = qengine.InferenceSession(model, qformat="Q1.3")
    assert found.blame.samples == 4
    assert found.blame.sqnr_db == qengine.blame(session, folder, batch=2, limit=4).sqnr_db
    assert any(one.text.endswith("--limit 4") for one in found.commands)


def test_targets_and_the_curve_are_those_of_a_sweep(tmp_path):
    model, data = classifier().written(tmp_path)
    facts = qengine.report(model, data, tmp_path / "r.html", **QUICK).facts.accuracy
    options = {"data": data, "ssim": False}
    curve = qengine.sweep(model, tmp_path / "a", qengine.Grid(bits=[4, 8]), **options).rows
    target = qengine.sweep(model, tmp_path / "b", qengine.Grid(targets=["onnx"]), **options).rows
    assert [one.figures for one in facts.curve] == [row.outcome.measures.figures for row in curve[1:]]
    assert [one.figures for one in facts.targets] == [row.outcome.measures.figures for row in target[1:]]
    assert facts.fixed.figures["sqnr_db"] == pytest.approx(curve[2].outcome.measures.sqnr_db)
    assert facts.fixed.costs == curve[2].outcome.costs
    assert facts.front == (0, 1) or facts.curve[0].figures["top1"] >= facts.curve[1].figures["top1"]


def test_histograms_count_every_value(tmp_path):
    kind = classifier()
    model, data = kind.written(tmp_path)
    facts = qengine.report(model, data, tmp_path / "r.html", qformat="UQ0.8", quick=True, curve=[], targets=[]).facts
    bars = next(one.bars for one in facts.tensors if one.name == "x")
    values = kind.samples["x"]
    assert bars.total == sum(bars.counts) == values.size
    assert (bars.least, bars.most) == (values.min(), values.max())
    assert bars.outside == pytest.approx((values > 255 / 256).sum(), abs=2)


def test_memory_is_that_of_the_export(tmp_path):
    model, data = classifier().written(tmp_path)
    facts = qengine.report(
        model, data, tmp_path / "r.html", qformat="Q3.4", quick=True, curve=[], targets=[]
    ).facts.memory
    session = qengine.InferenceSession(model, qformat="Q3.4")
    project = qengine.export_c(session, tmp_path / "c", shapes={"x": [1, 3, 8, 8]})
    assert facts.arena == project.manifest["memory"]["arena"]
    assert facts.flash == project.flash
    assert facts.macs == project.macs
    assert [one.name for one in facts.operations] == [one["node"] for one in project.operators]


@pytest.mark.parametrize(("kind", "why"), [("control_flow", "If"), ("detector", "NonMaxSuppression")])
def test_what_c_cannot_compute_is_said(kind, why, written):
    assert why in written(kind)[0].facts.missing["memory"]


def test_pictures_are_there_for_models_of_pictures(written):
    (first, *_) = written("super_resolution")[0].facts.worst.samples
    assert [one.caption.split(",")[0] for one in first.pictures] == ["input x", "float32", "fixed point", "difference"]
    assert {(one.width, one.height) for one in first.pictures[1:]} == {(20, 24)}


def test_edges_are_those_of_the_graph(written):
    nodes = {one.name: (i, one) for i, one in enumerate(written("transformer")[0].facts.model.nodes)}
    _, attention = nodes["the_a"]
    assert set(attention.sources) == {nodes["the_q"][0], nodes["the_kt"][0]}
    inner = [one for one in written("control_flow")[0].facts.model.nodes if one.within]
    assert {one.operator for one in inner} >= {"Mul", "Identity"}


TOP1 = MetricFacts("top1", "top1", "Top-1 accuracy", "share", True)
PSNR = MetricFacts("psnr", "psnr_db", "PSNR", "dB", True)
SQNR = MetricFacts("sqnr", "sqnr_db", "SQNR", "dB", True)


def accuracy(metric, exact, value, *, curve=(), bits=8, against="target"):
    def run(label, figure, width):
        return RunFacts(label, "", width, {metric.column: figure}, {"weight_bytes": 1024.0})

    runs = tuple(run(f"{width} bits", figure, width) for width, figure in curve)
    fixed = run("fixed", value, bits)
    return AccuracyFacts("t", "y", 1000, against, metric, (metric,), run("float32", exact, None), fixed, (), runs, ())


def tensor(name, gain):
    return TensorFacts(name, "activation", "Conv", "Q3.4", 8, -8.0, 7.9, 0.0625, gain_db=gain)


def noisy(gain):
    verdict = "mend 'a' first" if gain >= 3 else "no tensor is to blame by itself"
    return BlameFacts(10, 20.0, 20.0, None, None, (verdict,))


@pytest.mark.parametrize(
    ("facts", "gain", "begin", "step"),
    [
        (accuracy(TOP1, 0.98, 0.977), 6.0, "8 bits loses 0.3 points of top-1 accuracy (98.00 %", "still, mend 'a'"),
        (accuracy(TOP1, 0.98, 0.97), 6.0, "8 bits loses 1.0 point of top-1 accuracy", "within 1 point"),
        (accuracy(TOP1, 0.98, 0.98), 1.0, "8 bits loses no top-1 accuracy", "export these formats"),
        (accuracy(TOP1, 0.98, 0.985), 1.0, "8 bits gains 0.5 points of", "export these formats"),
        (
            accuracy(TOP1, 0.98, 0.5, curve=[(8, 0.5), (10, 0.98)]),
            6.0,
            "8 bits loses 48.0 points",
            "10 bits stay within",
        ),
        (accuracy(TOP1, 0.98, 0.5), 6.0, "8 bits loses 48.0 points", "Mend 'a' first"),
        (accuracy(TOP1, 0.98, 0.98, curve=[(6, 0.979), (8, 0.98)]), 1.0, "8 bits", "6 bits would do too"),
        (accuracy(PSNR, 30.0, 29.5), 1.0, "8 bits loses 0.50 dB of PSNR", "within 1 dB"),
        (accuracy(PSNR, np.inf, 45.0, against="float32"), 1.0, "8 bits gives a PSNR of 45.00 dB", "above 30 dB"),
        (accuracy(SQNR, np.inf, 12.0), 1.0, "8 bits gives an SQNR of 12.00 dB", "No tensor is to blame"),
        (accuracy(SQNR, np.inf, 12.0, bits=None), 6.0, "This mix of formats gives an SQNR", "Mend"),
        (accuracy(SQNR, np.inf, np.inf), 1.0, "With 8 bits the output loses nothing", "export"),
        (accuracy(SQNR, np.inf, None), 1.0, "With 8 bits the output has no SQNR", "No tensor"),
    ],
)
def test_the_summary_is_a_sentence(facts, gain, begin, step):
    found = summary(facts, noisy(gain), [tensor("a", gain), tensor("b", 0.1)], "chosen")
    assert found.startswith(begin)
    assert found.endswith(".")
    assert ("'a' is why" in found) == (gain >= 3)
    assert step in next_step(facts, noisy(gain), "qengine quantize MODEL -o q.onnx")


def test_every_kind_has_a_summary(written):
    for kind in KINDS:
        facts = written(kind)[0].facts
        assert facts.summary.endswith(".")
        assert facts.next_step.endswith(".")


def test_constants_have_their_roles(written):
    roles = {one.name: one.role for one in written("classifier")[0].facts.tensors}
    constants = {"w": "weights of the_c", "v": "weights of the_scores"}
    assert roles == {**dict.fromkeys(("x", "r", "p", "f", "scores"), ""), **constants}


def test_the_classes_of_few_are_counted(written):
    report, evaluation = written("classifier")[0].facts, written("classifier")[0].evaluation
    found = report.accuracy.confusion
    assert np.array_equal(found.counts, evaluation.confusion.fixed)
    assert found.reference == str(evaluation.confusion.reference)
    assert np.sum(found.counts) == report.accuracy.samples
