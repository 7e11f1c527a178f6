"""Own errors beside inherited ones, partial dumps, samples, inputs from the dump, pairs of faults, packs."""

import json
import shutil

import numpy as np
import pytest
from small import NAMES, codes, frames, model, session

import qengine
from qengine.deploy.compare.html import page
from qengine.errors import DumpError, OptionError, QEngineError

ROUNDED_DOWN = {"rules": {"linear.rounding": "floor"}}


def test_equal_with_inputs_given_and_from_the_dump():
    for feeds in (frames()[0], None):
        result = qengine.compare(session(), codes(), feeds)
        assert result.equal
        assert result.sentence.startswith("Equal: all")
        assert not result.own
        assert not result.inherited


def test_a_model_and_its_options_stand_for_a_session():
    assert qengine.compare(model(), codes(), qformat="Q3.4").equal
    assert not qengine.compare(model(), codes(rounding="floor"), qformat="Q3.4").equal
    with pytest.raises(OptionError, match="qformat or --formats"):
        qengine.compare(model(), codes())


def test_own_and_inherited_errors():
    device = codes()
    device["first/relu"] = device["first/relu"].copy()
    device["first/relu"][0, 2, 4, 4] += 5
    rest = session().run(["second.conv", "pool", "flat", "y"], frames()[0], raw=True)
    assert rest  # the others are of the clean run: they do not follow from the wrong code
    result = qengine.compare(session(), device, frames()[0])
    assert result.first.tensor == "first/relu"
    assert result.first.element == (0, 2, 4, 4)
    assert result.first.found - result.first.expected == 5
    assert result.own[0] == "first/relu"
    assert "no hypothesis explains" in result.sentence


def test_what_follows_from_an_error_is_inherited():
    device = codes(**ROUNDED_DOWN, formats={"y": "Q3.4"})
    clean = codes()
    wrong = {**clean, "x": clean["x"], "first/relu": device["first/relu"]}
    # What a right device computes from the wrong tensor.
    steps = {s.output.name: s for s in session().plan(session().check_feeds(frames()[0]), list(NAMES)).steps}
    for name in ("second.conv", "pool", "flat", "y"):
        step = steps[name]
        wrong[name] = step.kernel(*[wrong[s] if isinstance(s, str) else s for s in step.sources])
    result = qengine.compare(session(), wrong, frames()[0])
    assert result.own == ("first/relu",)
    assert set(result.inherited) <= {"second.conv", "pool", "flat", "y"}
    assert "second.conv" in result.inherited
    assert result.cause.name == "rounding:floor"


@pytest.mark.parametrize("names", [("x", "y"), ("second.conv", "y"), ("y",)])
def test_a_span_between_dumped_tensors(names):
    clean = codes()
    steps = {s.output.name: s for s in session().plan(session().check_feeds(frames()[0])).steps}
    device = dict(clean)
    for name in ("first/relu", "second.conv", "pool", "flat", "y"):
        step = steps[name]
        bias = np.zeros(1)
        device[name] = step.kernel(*[device[s] if isinstance(s, str) else s for s in step.sources])
        if name == "second.conv":  # its bias is left out
            bare = qengine.InferenceSession(model(), qformat="Q3.4")
            linear = next(s for s in bare.plan(bare.check_feeds(frames()[0])).steps if s.output.name == name).step
            from dataclasses import replace

            from qengine.model.rules import Arithmetic

            without = replace(linear, b=None)
            device[name] = without.fixed(step.output, Arithmetic())(device["first/relu"], linear.w.codes)
            del bias
    result = qengine.compare(session(), {n: device[n] for n in names}, frames()[0])
    assert result.cause.name == "bias:missing"
    assert result.cause.tensor == "second.conv"
    assert result.cause.explained == 1.0


def test_a_fault_of_every_operator_in_a_span():
    result = qengine.compare(session(), {"second.conv": codes(**ROUNDED_DOWN)["second.conv"]}, frames()[0])
    assert result.cause.name == "rounding:floor"
    assert "every operator since" in result.sentence


def test_a_tensor_before_a_fused_activation():
    clean = codes()
    before = session().run(["first/conv"], frames()[0], raw=True)[0]
    result = qengine.compare(session(), {**clean, "first/conv": before}, frames()[0])
    assert result.equal
    assert "first/conv" in {one.name for one in result.tensors}
    # An activation that is left out is told from a wrong convolution.
    result = qengine.compare(session(), {"first/conv": before, "first/relu": before}, frames()[0])
    assert result.own == ("first/relu",)
    assert result.cause.name == "activation:missing"


def test_the_dump_of_another_sample():
    result = qengine.compare(session(), codes(2), frames())
    assert result.equal
    assert any("that of sample 2, not of 0" in note for note in result.notes)


def test_another_input_than_the_given_one():
    result = qengine.compare(session(), codes(1), frames()[0])
    assert not result.equal
    assert result.first.tensor == "x"
    assert any("another one than the given input" in note for note in result.notes)
    assert result.own == ("x",)


def test_an_input_that_is_missing():
    with pytest.raises(DumpError, match="has no input 'x'"):
        qengine.compare(session(), {"y": codes()["y"]})


def test_two_faults_at_once():
    plan = session().plan(session().check_feeds(frames()[0]))
    from dataclasses import replace

    from qengine.model.rules import Arithmetic
    from qengine.qformat import Rounding

    step = next(s for s in plan.steps if s.output.name == "second.conv")
    kernel = replace(step.step, b=None).fixed(step.output, Arithmetic(Rounding.FLOOR))
    device = {**codes(), "second.conv": kernel(codes()["first/relu"], step.step.w.codes)}
    result = qengine.compare(session(), device, frames()[0])
    assert set(result.cause.name.split(" + ")) == {"bias:missing", "rounding:floor"}
    assert result.cause.explained == 1.0
    assert not qengine.compare(session(), device, frames()[0], pairs=False).cause.explains_all


def test_json_has_every_key():
    found = qengine.compare(session(), codes(**ROUNDED_DOWN), frames()[0]).record()
    assert {"equal", "first", "cause", "explained", "inherited", "own", "tensors", "sentence"} <= found.keys()
    assert found["equal"] is False
    assert found["cause"] == "rounding:floor"
    assert found["first"].keys() == {"tensor", "operator", "element", "expected", "found"}
    assert found["by_hand"].startswith("Element [")


def test_an_element_is_worked_out_by_hand():
    result = qengine.compare(session(), codes(**ROUNDED_DOWN), frames()[0])
    text = result.cause.by_hand
    acc, exact, shift = (text.split("acc ")[1].split(" ")[i] for i in (0, 2, 4))
    bits = int(shift.split("^")[1].rstrip(":"))
    assert int(acc.replace(",", "")) / 2**bits == pytest.approx(float(exact))
    assert np.floor(float(exact)) == result.first.found
    assert np.rint(float(exact)) == result.first.expected


def test_a_page_is_deterministic_and_complete():
    result = qengine.compare(session(), codes(**ROUNDED_DOWN), frames()[0])
    text = page(result, "<title>")
    assert text == page(qengine.compare(session(), codes(**ROUNDED_DOWN), frames()[0]), "<title>")
    assert "<title>&lt;title&gt;</title>" in text
    assert "data:image/png;base64," in text
    assert "rounding:floor" in text
    assert "http" not in text
    planes = [plane for one in result.maps.values() for plane in one.reshape(-1, *one.shape[-2:])]
    assert text.count("<img") == sum(plane.any() for plane in planes) < len(planes)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "pack"
    return qengine.export_vectors(session(), frames()[:2], folder, edges=0, operator_vectors=False).folder


class TestPack:
    def test_a_pack_needs_nothing_else(self, pack):
        assert qengine.compare(pack, codes()).equal
        result = qengine.compare(pack, codes(1, rounding="half_up"))
        assert result.sample == "s1"
        assert result.cause is not None

    def test_a_pack_is_a_dump_too(self, pack):
        result = qengine.compare(pack, pack)
        assert result.equal
        assert result.samples == 2

    def test_a_pack_without_samples(self, pack, tmp_path):
        copy = shutil.copytree(pack, tmp_path / "copy")
        manifest = json.loads((copy / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps({**manifest, "samples": []}))
        with pytest.raises(DumpError, match="a pack without samples"):
            qengine.compare(copy, codes())

    def test_options_beside_a_pack(self, pack):
        with pytest.raises(OptionError, match="of its own"):
            qengine.compare(pack, codes(), qformat="Q3.4")

    def test_a_pack_of_another_model(self, pack):
        from qengine.deploy.compare.pack_subject import subject_of_pack

        with pytest.raises(QEngineError, match="other formats"):
            subject_of_pack(pack, session(qformat="Q4.3"))

    def test_a_pack_that_was_changed(self, pack, tmp_path):
        import shutil

        other = tmp_path / "other"
        shutil.copytree(pack, other)
        path = next((other / "t" / "s0").glob("y.npy"))
        np.save(path, np.load(path) + 1)
        with pytest.raises(QEngineError):
            qengine.compare(other, codes())


def test_a_fault_of_one_operator_in_a_span_is_not_said_of_all():
    device = codes(rules={"tensors": {"second.conv": {"rounding": "floor"}}})
    result = qengine.compare(session(), {"first/relu": device["first/relu"], "pool": device["pool"]}, frames()[0])
    # Five means cannot tell whether the sums or the means were rounded down; another dump can.
    assert {result.cause.name, *result.cause.equally_good} >= {"rounding:floor", "rounding:floor of 'second.conv'"}
    assert not result.cause.is_complete
    assert "every operator" not in result.sentence
    assert "a dump of 'second.conv' too" in result.cause.decided_by.values()


def test_a_fault_of_a_whole_device_shows_in_its_output_alone():
    result = qengine.compare(session(), {"y": codes(rounding="floor")["y"]}, frames()[0])
    assert "rounding:floor" in {result.cause.name, *(n.removesuffix(" throughout") for n in result.cause.equally_good)}
    assert result.cause.explains_all
