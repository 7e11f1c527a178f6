"""Targets: by name, from files and back; what a file extends; every mistake with its line and key."""

import os
import pickle
from dataclasses import replace

import pytest

import qengine
from qengine.errors import OptionError, TargetError
from qengine.model.rules import Modes
from qengine.qformat import Overflow, Rounding
from qengine.targets import Target, names


@pytest.mark.parametrize("name", names())
def test_a_bundled_target_is_written_and_read_back(name, tmp_path):
    target = Target.named(name)
    target.save(tmp_path / "copy.toml")
    assert Target.read(tmp_path / "copy.toml") == target
    assert Target.of_record(target.record()) == target
    assert pickle.loads(pickle.dumps(target)) == target
    assert hash(target) == hash(Target.named(name))


@pytest.mark.parametrize("name", names())
def test_a_bundled_target_says_what_it_is(name):
    target = Target.named(name)
    assert target.description
    assert target.sources
    assert target.checked
    assert len(target.description) <= 100
    assert target.name == name


def test_a_target_is_given_by_name_path_or_itself(tmp_path):
    target = Target.named("onnx")
    target.save(tmp_path / "mine.toml")
    assert Target.of("onnx") == Target.of(target) == Target.of(tmp_path / "mine.toml") == target
    assert Target.of(str(tmp_path / "mine.toml")) == target
    assert qengine.Target is Target


def test_a_bundled_name_wins_over_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "onnx").write_text("description = 'mine'\n")
    assert Target.of("onnx") == Target.named("onnx")
    assert Target.of("./onnx").description == "mine"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cmsis-nn-q", "^no target is named 'cmsis-nn-q'; did you mean 'cmsis-nn-q7'\\?$"),
        ("z", "^no target is named 'z'; there are aie, ap-fixed, "),
        (3, "^target must be a name, a path or a Target, not 3$"),
        ("no.toml", "^target file no.toml: No such file or directory$"),
        (os.sep, "^target file /: is a directory$"),
    ],
)
def test_no_such_target(given, message):
    with pytest.raises(TargetError, match=message):
        Target.of(given)


FILE = """\
description = "mine"
extends = "cmsis-nn-q7"

[rules.linear]
overflow = "wrap"

[rules.accumulator]
bits = 24

[rules.tensors."a.b"]
rounding = "ceil"

[constraints]
shifts = [1, 9]
refused = ["Add"]
operators = "any"
"""


def written(folder, text, name="mine.toml"):
    (folder / name).write_text(text)
    return folder / name


def test_a_file_replaces_single_keys_of_what_it_extends(tmp_path):
    base, found = Target.named("cmsis-nn-q7"), Target.read(written(tmp_path, FILE))
    rules = replace(
        base.rules,
        kinds={**base.rules.kinds, "linear": Modes(None, Overflow.WRAP)},
        tensors={"a.b": Modes(Rounding.CEIL)},
        accumulator=replace(base.rules.accumulator, bits=24),
    )
    assert found.rules == rules
    constraints = replace(base.constraints, shifts=(1, 9), refused=("Add",), operators=None)
    assert found.constraints == constraints
    assert (found.name, found.description, found.status, found.checked) == ("mine", "mine", "unverified", "")
    assert found.notes == base.notes


def test_a_file_extends_a_file_beside_it(tmp_path):
    (tmp_path / "inner").mkdir()
    written(tmp_path, FILE, "base.toml")
    found = Target.read(written(tmp_path / "inner", "extends = '../base.toml'\n[rules]\nrounding = 'floor'\n"))
    assert found.rules == replace(Target.read(tmp_path / "base.toml").rules, rounding=Rounding.FLOOR)


def test_a_file_may_have_the_name_of_the_target_that_it_extends(tmp_path):
    found = Target.read(written(tmp_path, "extends = 'onnx'\n[rules]\nrounding = 'floor'\n", "onnx.toml"))
    assert found.rules.rounding == Rounding.FLOOR


MISTAKES = [
    ("a = 1 = 2", "line 1, column 7: Expected newline or end of document after a statement"),
    ("name = 'a", 'column 10: Expected "\'"|end of document|column'),
    ("[rules]\nrounding = 'floor'\nrounding = 'ceil'\n", "line 3, column \\d+: Cannot overwrite a value"),
    ("\nnam = 'a'", "line 2: nam does not exist; did you mean 'name'\\?; allowed: name, description, "),
    ("[rule]\n", "line 1: rule does not exist; did you mean 'rules'\\?"),
    ("[[rules]]\n", "line 1: rules is not a table: begin it with a line; allowed: \\[rules\\]"),
    ("name = 'a b'", "line 1: name is 'a b'; allowed: letters, digits"),
    ("status = 'checked'", "line 1: status is 'checked'; allowed: verified, unverified"),
    ("status = 'verified'", "line 1: status is verified: say in `checked` what was compared with what"),
    ("notes = 'a'", "line 1: notes is 'a'; allowed: a list of texts"),
    ("extends = 'onx'", "line 1: extends names 'onx', and no target has that name; did you mean 'onnx'\\?"),
    ("extends = 'no.toml'", "target file .*no.toml: No such file or directory"),
    ("extends = 'mine.toml'", "line 1: extends names 'mine.toml', which extends this file"),
    ("[rules]\n\nmean.rounding = 'truncate'", "line 3: rules.mean.rounding is 'truncate'; did you mean 'trunc'\\?"),
    ("[rules.tensors.'a b']\nround = 1", 'line 2: rules.tensors."a b".round does not exist; did you mean'),
    ("[rules]\nmean = { rounding = 3 }", "line 2: rules.mean.rounding is 3; allowed: half_even"),
    ("[rules.accumulator]\nbits = [\n1]", "line 2: rules.accumulator.bits is \\[1\\]; allowed: 2 to 64 or all"),
    ("[rules.bias]\nrounding = 1979-05-27", "line 2: rules.bias.rounding is 1979-05-27; allowed"),
    ("[constraints]\nactivation_bits = [8, 17]", "line 2: constraints.activation_bits is 17; allowed"),
    ("extends = 'cmsis-nn-q7'\n[rules]\nrounding = 'half_even'", "line 3: rules.rounding contradicts other keys: "),
    ("[rules.accumulator]\noverflow = 'saturate'", "line 2: rules.accumulator.overflow contradicts other keys: "),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_mistakes_in_a_file(text, message, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(TargetError, match=message) as error:
        Target.read(path)
    assert str(error.value).startswith(f"target file {tmp_path}")
    assert "\n" not in str(error.value)


def test_files_that_extend_each_other_are_refused(tmp_path):
    written(tmp_path, "extends = 'b.toml'\n", "a.toml")
    written(tmp_path, "extends = 'a.toml'\n", "b.toml")
    with pytest.raises(TargetError, match=r"b.toml, line 1: extends names 'a.toml', which extends this file"):
        Target.read(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe", "codec can't decode"), (b"#" * 1_000_001, "1,000,001 bytes; allowed")]
)
def test_files_that_are_no_text(content, message, tmp_path):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(TargetError, match=message):
        Target.read(tmp_path / "a.toml")


def test_a_byte_order_mark_and_other_line_ends_are_read(tmp_path):
    (tmp_path / "a.toml").write_bytes("\ufeffname = 'x'\r\n[rules]\r\nrounding = 'up'\r\n".encode())
    with pytest.raises(TargetError, match=r"line 3: rules.rounding is 'up'"):
        Target.read(tmp_path / "a.toml")


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(OptionError, match="cannot write"):
        Target.named("onnx").save(tmp_path / "no" / "a.toml")
