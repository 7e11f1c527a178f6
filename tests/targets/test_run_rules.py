"""The rules of a run: options over a target, in their order, and the words for what they replace."""

from dataclasses import replace

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, SessionOptions
from qengine.errors import OptionError, TargetError
from qengine.model.rules import AccumulatorRule, Modes, Rules
from qengine.qformat import Overflow, Rounding
from qengine.targets import Target

Q7 = Target.named("cmsis-nn-q7")


def rules_of(**options):
    return SessionOptions(**options).rules_of_run()


def test_without_options_the_rules_are_the_default():
    assert rules_of() == Rules()
    assert SessionOptions().notes_on_target() == ()


@pytest.mark.parametrize("target", ["cmsis-nn-q7", Q7])
def test_a_target_gives_its_rules(target):
    assert rules_of(target=target) == Q7.rules
    assert SessionOptions(target=target).notes_on_target() == ()


OVER = [
    ({"rounding": "half_up"}, {"kinds": {}}, ("mean.rounding unset, not trunc",)),
    (
        {"rounding": "floor"},
        {"rounding": Rounding.FLOOR, "kinds": {}},
        ("rounding floor, not half_up", "mean.rounding unset, not trunc"),
    ),
    (
        {"rounding": "half_even"},
        {
            "rounding": Rounding.HALF_EVEN,
            "kinds": {},
            "accumulator": replace(Q7.rules.accumulator, rounds_inside=False),
        },
        (
            "rounding half_even, not half_up",
            "accumulator.rounds_inside false, not true",
            "mean.rounding unset, not trunc",
        ),
    ),
    ({"overflow": "wrap"}, {"overflow": Overflow.WRAP}, ("overflow wrap, not saturate",)),
    (
        {"accumulator_bits": 24},
        {"accumulator": replace(Q7.rules.accumulator, bits=24)},
        ("accumulator.bits 24, not 32",),
    ),
    ({"islands": "softmax"}, {"islands": frozenset({"softmax"})}, ("islands softmax, not none",)),
    ({"islands": ()}, {}, ()),
    (
        {"rules": {"mean.rounding": "floor"}},
        {"kinds": {"mean": Modes(Rounding.FLOOR)}},
        ("mean.rounding floor, not trunc",),
    ),
    (
        {"rounding": "floor", "rules": {"mean": {"rounding": "ceil"}}},
        {"rounding": Rounding.FLOOR, "kinds": {"mean": Modes(Rounding.CEIL)}},
        ("rounding floor, not half_up", "mean.rounding ceil, not trunc"),
    ),
    (
        {"rules": {"tensors.a.overflow": "zero"}},
        {"tensors": {"a": Modes(None, Overflow.ZERO)}},
        ("tensors.a.overflow zero, not unset",),
    ),
]


@pytest.mark.parametrize(("options", "changes", "words"), OVER, ids=[str(options) for options, *_ in OVER])
def test_options_win_over_the_target_and_are_named(options, changes, words):
    found = SessionOptions(target="cmsis-nn-q7", **options)
    assert found.rules_of_run() == replace(Q7.rules, **changes)
    wanted = (f"options replace rules of target cmsis-nn-q7: {'; '.join(words)}",) if words else ()
    assert found.notes_on_target() == wanted


def test_constants_keep_their_rules():
    found = rules_of(target="ap-fixed", rounding="half_up", overflow="saturate")
    assert found.kinds["constants"] == Modes(Rounding.FLOOR, Overflow.WRAP)


def test_rules_as_an_object_replace_all_of_the_target():
    given = Rules(Rounding.CEIL, accumulator=AccumulatorRule(16))
    assert rules_of(target="cmsis-nn-q7", rules=given) == given
    assert rules_of(rules=given, accumulator_bits=12).accumulator.bits == 12


def test_rules_of_a_file(tmp_path):
    (tmp_path / "rules.toml").write_text("[rules]\nrounding = 'floor'\n[rules.mean]\nrounding = 'ceil'\n")
    given = {"rounding": "floor", "mean.rounding": "ceil"}
    assert (
        rules_of(rules=tmp_path / "rules.toml") == rules_of(rules=given) == rules_of(rules=str(tmp_path / "rules.toml"))
    )


MISTAKES = [
    ("rounding = 'floor'", "rules file .*, line 1: rounding does not exist; allowed: \\[rules\\]"),
    ("[constraints]", "rules file .*, line 1: constraints does not exist"),
    ("[rules]\n\nrounding = 'flor'", "rules file .*, line 3: rules.rounding is 'flor'; did you mean 'floor'\\?"),
    ("rules = 3", "rules file .*: rules are a mapping such as"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes_in_a_file_of_rules(text, message, tmp_path):
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(TargetError, match=message):
        SessionOptions(rules=tmp_path / "rules.toml")


@pytest.mark.parametrize("rules", [3, ["rounding"], object()])
def test_other_kinds_of_rules_are_refused(rules):
    with pytest.raises(OptionError, match=r"^rules must be Rules, a mapping such as"):
        SessionOptions(rules=rules)


def test_rules_that_contradict_the_target_name_it():
    with pytest.raises(TargetError, match=r"^rules over target cmsis-nn-q7: rounding contradicts other keys"):
        SessionOptions(target="cmsis-nn-q7", rules={"rounding": "half_even"})


def test_an_unverified_target_says_so():
    (note,) = SessionOptions(target="tidl").notes_on_target()
    assert note.startswith("target tidl is unverified: the documentation only")


def test_many_changes_are_cut():
    rules = {f"tensors.t{i}.rounding": "floor" for i in range(20)}
    (note,) = SessionOptions(target="onnx", rules=rules).notes_on_target()
    assert note.endswith("; and 14 more")


def test_options_with_a_target_are_hashable_and_can_be_replaced():
    options = SessionOptions(target="cmsis-nn-q7", rules={"mean.rounding": "floor"}, qformat="Q4.3")
    assert hash(options) == hash(SessionOptions(target="cmsis-nn-q7", rules={"mean.rounding": "ceil"}, qformat="Q4.3"))
    assert replace(options, qformat="Q3.4").rules_of_run() == options.rules_of_run()
    assert options.unread_in_float32() == ["target", "rules"]
    assert options.in_float32() == SessionOptions()


MODEL = network(
    [
        ("Conv", "x w", "a"),
        ("Flatten", "a", "f"),
        ("Gemm", "f v", "g"),
        ("Sigmoid", "g", "y"),
    ],
    constants={"w": weights(4, 3, 3, 3), "v": weights(48, 40, scale=0.05)},
)
X = {"x": weights(1, 3, 6, 5, seed=3, scale=2.0)}
NAMES = ["a", "g", "y"]


def codes(isa=None, **options):
    session = InferenceSession(MODEL, qformat="Q3.4", formats={"y": "Q0.7"}, isa=isa, **options)
    return session.run(NAMES, X, raw=True)


@pytest.mark.parametrize("isa", [None, "reference"])
@pytest.mark.parametrize(
    ("rules", "differs"),
    [
        ({"linear.rounding": "floor"}, [True, True, True]),
        ({"operators.Gemm.rounding": "floor"}, [False, True, True]),
        ({"tensors.g.rounding": "floor"}, [False, True, True]),
        ({"tensors.y.rounding": "floor"}, [False, False, True]),
        ({"table.rounding": "floor"}, [False, False, True]),
        ({"linear.rounding": "floor", "operators.Gemm.rounding": "half_even"}, [True, True, True]),
        ({"operators.Gemm.rounding": "floor", "tensors.g.rounding": "half_even"}, [False, False, False]),
        ({"mean.rounding": "floor"}, [False, False, False]),
    ],
)
def test_a_rule_changes_the_results_that_it_names(rules, differs, isa):
    found = [bool((a != b).any()) for a, b in zip(codes(isa), codes(isa, rules=rules), strict=True)]
    assert found == differs


def test_native_and_reference_agree_with_rules_of_operators():
    rules = {"operators.Gemm.rounding": "trunc", "linear.rounding": "half_away", "tensors.y.overflow": "wrap"}
    for native, reference in zip(codes(rules=rules), codes("reference", rules=rules), strict=True):
        np.testing.assert_array_equal(native, reference)


def test_a_session_tells_its_target_and_only_in_fixed_point():
    session = InferenceSession(MODEL, qformat="Q3.4", target="tidl")
    assert any(note.startswith("target tidl is unverified") for note in session.notes)
    assert session.rules.rounding == Rounding.HALF_UP
    assert not session.in_float32().notes


FUSED = network(
    [
        ("Conv", "x w", "c"),
        ("BatchNormalization", "c s b m v", "a"),
        ("Relu", "a", "r"),
        ("MaxPool", "r", "y", {"kernel_shape": [2, 2]}),
    ],
    constants={
        "w": weights(4, 3, 3, 3),
        **{name: np.abs(weights(4, seed=i)) + np.float32(0.5) for i, name in enumerate("sbmv")},
    },
)


@pytest.mark.parametrize("isa", [None, "reference"])
@pytest.mark.parametrize("names", [["y"], ["r", "y"], ["a", "r", "y"]])
def test_a_result_and_the_activation_that_is_fused_into_it_share_a_rule(names, isa):
    found = {}
    for rules in ({}, {"tensors.a.rounding": "floor"}, {"tensors.r.rounding": "floor"}, {"linear.rounding": "floor"}):
        session = InferenceSession(FUSED, qformat="Q4.3", rules=rules, isa=isa)
        assert not session.notes
        found[str(rules)] = session.run(names, X, raw=True)
    plain, *others = found.values()
    assert (plain[-1] != others[0][-1]).any()
    for other in others:
        for one, wanted in zip(other, others[0], strict=True):
            np.testing.assert_array_equal(one, wanted)


def test_a_rule_for_a_tensor_that_is_not_computed_is_a_note():
    session = InferenceSession(FUSED, qformat="Q4.3", rules={"tensors.c.rounding": "floor"})
    assert session.notes == ("a rule for 'c' has no effect, as the run does not compute it",)
    with pytest.raises(OptionError, match="rules name 'cc', and the model has no such tensor"):
        _ = InferenceSession(FUSED, qformat="Q4.3", rules={"tensors.cc.rounding": "floor"}).rules


@pytest.mark.parametrize(("name", "has_effect"), [("w", True), ("b", False), ("low", False)])
def test_a_rule_for_a_constant_without_a_format_is_a_note(name, has_effect):
    constants = {"w": weights(2, 2), "b": weights(2), "low": np.float32(-0.3)}
    nodes = [("Gemm", "x w b", "a"), ("Clip", "a low", "y")]
    model, rules = network(nodes, inputs={"x": [1, 2]}, constants=constants), {f"tensors.{name}.rounding": "floor"}
    notes = InferenceSession(model, qformat="Q4.3", rules=rules).notes
    assert ([f"a rule for '{name}' has no effect" in note for note in notes] == [True]) != has_effect


@pytest.mark.parametrize("format_of_y", ["Q4.3", "Q5.2"])
@pytest.mark.parametrize(
    "node", [("MaxPool", "a", "y", {"kernel_shape": [2, 2]}), ("Transpose", "a", "y"), ("Flatten", "a", "y")]
)
def test_a_rule_for_what_is_moved_is_a_note(node, format_of_y):
    model = network([("Conv", "x w", "a"), node], constants={"w": weights(4, 3, 3, 3)})
    formats, feeds = {"x": "Q3.4", "a": "Q4.3", "y": format_of_y}, {"x": weights(1, 3, 6, 5, seed=4)}
    plain = InferenceSession(model, formats=formats)
    session = InferenceSession(model, formats=formats, rules={"tensors.y.rounding": "floor"})
    (one,), (other,) = (each.run(["y"], feeds, raw=True) for each in (plain, session))
    is_moved = format_of_y == "Q4.3"  # else it is rounded to another format
    assert (one == other).all() == is_moved
    reason = f"as {node[0]} moves codes of 'a' and rounds none"
    assert session.notes == ((f"a rule for 'y' has no effect, {reason}",) if is_moved else ())


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"bias.bits": 16}, "rules bias.* have"),
        ({"bias.bits": 16, "table.rounding": "floor"}, "rules bias.* and table.* have"),
        ({"recurrent.rounding": "floor"}, None),
        ({"bias.bits": 16, "islands": ["recurrent"]}, None),
    ],
)
def test_rules_that_recurrent_operators_do_not_follow_are_one_note(rules, words):
    nodes = [("GRU", "x w r", "y h", {"hidden_size": 4}), ("GRU", "x w r", "z k", {"hidden_size": 4})]
    constants = {"w": weights(1, 12, 3), "r": weights(1, 12, 4)}
    model = network(nodes, inputs={"x": [5, 1, 3]}, outputs=("y", "z"), constants=constants)
    notes = InferenceSession(model, qformat="Q4.3", rules=rules).notes
    reason = "no effect in LSTM, GRU and RNN, which have biases and tables of their own"
    assert notes == (() if words is None else (f"{words} {reason}",))


NOT_RULES = {
    "rounding": (Rules("nearest"), "rounding is 'nearest'"),
    "kind": (Rules(kinds={"conv": Modes(Rounding.FLOOR)}), "kinds is 'conv'"),
    "modes": (Rules(kinds={"mean": "trunc"}), "of a type that it cannot have"),
    "islands": (Rules(islands=frozenset(["sigmoid"])), "islands is 'sigmoid'"),
    "width": (Rules(accumulator=AccumulatorRule(-5)), "accumulator.bits is -5; allowed: 2 to 64"),
    "contradiction": (Rules(accumulator=AccumulatorRule(16, rounds_inside=True)), "contradicts other keys"),
}


@pytest.mark.parametrize("name", NOT_RULES)
def test_rules_of_python_are_checked_as_those_of_a_file(name):
    given, words = NOT_RULES[name]
    with pytest.raises(TargetError, match=words):
        SessionOptions(rules=given)
    with pytest.raises(TargetError, match=words):
        Target("own", rules=given)


@pytest.mark.parametrize("of", [lambda inner: inner, lambda inner: Rules(kinds=inner)], ids=["mapping", "Rules"])
def test_a_later_change_of_a_mapping_changes_no_session(of):
    inner = {"mean": Modes(Rounding.TRUNC)} if isinstance(of({}), Rules) else {"mean": {"rounding": "trunc"}}
    options = SessionOptions(rules=of(inner))
    before = options.rules_of_run()
    if isinstance(inner["mean"], dict):
        inner["mean"]["rounding"] = "ceil"
    else:
        inner["mean"] = Modes(Rounding.CEIL)
    assert options.rules_of_run() == before
