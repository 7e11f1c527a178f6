"""Rules are learned from traces, and a session with them gives the traces again."""

import numpy as np
import pytest
from fault_networks import branches, residual

import qengine
from qengine.deploy.compare.dump import Dump, DumpedTensor
from qengine.deploy.compare.learn import learn
from qengine.deploy.compare.subject import Subject
from qengine.errors import DumpError

RULES = {
    "one rounding for all": {"rounding": "half_up"},
    "rounds down and wraps": {"rounding": "floor", "overflow": "wrap"},
    "kinds differ": {"rounding": "half_away", "add.rounding": "half_up"},
    "a narrow bias": {"rounding": "half_up", "bias.bits": 8, "bias.fraction_bits": "most"},
    "constants are cut": {
        "rounding": "floor",
        "constants.rounding": "floor",
        "constants.overflow": "wrap",
        "bias.rounding": "floor",
    },
    "the bias of max78000": {"rounding": "half_up", "bias.bits": 8, "bias.shift": 7, "bias.rounding": "half_up"},
}


def traced(make, rules):
    case = make()
    session = qengine.InferenceSession(case.model, rules=rules, **case.options)
    names = sorted(session.rounded)
    samples = []
    for feeds in case.feeds:
        arrays = dict(zip(names, session.run(names, feeds, raw=True), strict=True))
        samples.append(tuple(DumpedTensor.of_array(n, n, a) for n, a in arrays.items()))
    return case, Dump("traces", tuple(samples)), names


@pytest.mark.parametrize("name", RULES)
def test_learned_rules_give_the_traces(name, tmp_path):
    case, dump, names = traced(residual, RULES[name])
    plain = qengine.InferenceSession(case.model, **case.options)
    learned = learn(Subject(plain, case.feeds, ["0", "1"]), dump)
    assert learned.explains_all
    learned.target.save(tmp_path / "t.toml")
    again = qengine.InferenceSession(case.model, target=tmp_path / "t.toml", **case.options)
    inner = [n for n in names if n != "x"]  # how inputs are rounded shows only in real numbers
    for one, two in zip(again.run(inner, case.feeds[1], raw=True), dump_arrays(dump, 1, inner), strict=True):
        np.testing.assert_array_equal(one, two)


def dump_arrays(dump, sample, names):
    by_name = {one.name: next(iter(one.readings(8, 1))).numbers for one in dump.samples[sample]}
    return [by_name[name] for name in names]


def test_what_is_open_is_said():
    case, dump, _ = traced(branches, {"rounding": "half_up"})
    plain = qengine.InferenceSession(case.model, **case.options)
    learned = learn(Subject(plain, case.feeds, ["0", "1"]), dump)
    assert str(learned.target.rules.rounding) == "half_up"
    assert any("nothing of add" in note for note in learned.target.notes)


def test_traces_without_inputs_of_layers():
    case, dump, _ = traced(residual, {})
    only = Dump("traces", tuple(tuple(one for one in sample if one.name == "y") for sample in dump.samples))
    plain = qengine.InferenceSession(case.model, **case.options)
    with pytest.raises(DumpError, match="inputs of layers"):
        learn(Subject(plain, case.feeds, ["0", "1"]), only)
