import json

import pytest
from model.formats.sessions import CHAIN, Q, session

from qengine.errors import FormatError
from qengine.model.formats.files import read_formats, read_record, write_formats


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ({"W": ["Q0.7"] * 3}, r"^formats give 'W' 3 formats for 4 channels"),
        ({"W": ["Q0.7", "Q0.7", "Q0.7", "Q0.6"]}, r"^format of 'W': .*differ in word length"),
        ({"W": []}, r"^format of 'W': \[\] is neither"),
        ({"W": ["Q0.7", 3]}, r"^format of 'W': .* is neither"),
        ({"c": ["Q0.7", "Q0.7"]}, r"^formats give 'c' 2 formats; only weights"),
        ({"k": ["Q0.7"]}, r"^formats give 'k' 1 formats, and it has no output channels"),
        ({"c": 3}, r"^format of 'c': 3 is neither a format"),
        ({"c": None}, r"^format of 'c': None is neither a format"),
        ({"c": {"m": 1}}, r"^format of 'c': "),
        ({"c": "4.3"}, r"^format of 'c': '4\.3' is not .*did you mean Q4\.3"),
    ],
)
def test_formats_that_are_none(formats, message):
    with pytest.raises(FormatError, match=message):
        session([*CHAIN[:-1], ("Mul", "p k", "y")], formats, qformat="Q4.3")


def test_a_file_of_formats(tmp_path):
    path = tmp_path / "formats.json"
    path.write_text(json.dumps({"c": "Q2.5", "W": ["Q0.7"] * 4}))
    assert session(CHAIN, path, qformat="Q4.3").formats == session(CHAIN, str(path), qformat="Q4.3").formats
    assert session(CHAIN, path, qformat="Q4.3").formats["p"] == Q("Q2.5")
    path.write_text("\ufeff{}", encoding="utf-8")  # as Windows writes it
    assert read_formats(path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "not an object"),
        (b'"Q4.3"', "not an object"),
        (b'{"c": "Q4.3", "c": "Q4.3"}', "'c' is given twice"),
        (b"\xff\xfe{}", "decode"),
        (b"[" * 100_000, "recursion|nested"),
    ],
)
def test_files_that_hold_no_formats(tmp_path, content, message):
    path = tmp_path / "formats.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"^formats file .*formats\.json: .*({message})") as error:
        read_formats(path)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FormatError, match=r"none\.json: No such file"):
        read_formats(tmp_path / "none.json")
    with pytest.raises(FormatError, match=r": is a directory"):
        read_formats(tmp_path)
    with pytest.raises(FormatError, match=r"null"):
        read_formats("a\0b")


def test_the_record_of_the_data_is_no_format(tmp_path):
    path, record = tmp_path / "formats.json", {"version": "1", "preprocessing": {"scale": [0.5]}}
    write_formats(path, {"c": "Q2.5"}, record)
    assert (read_formats(path), read_record(path)) == ({"c": "Q2.5"}, record)
    assert session(CHAIN, path, qformat="Q4.3").formats["c"] == Q("Q2.5")
    as_read = json.loads(path.read_text())  # as people give it in Python
    assert session(CHAIN, as_read, qformat="Q4.3").formats["c"] == Q("Q2.5")
    write_formats(path, {"c": "Q2.5"})
    assert read_record(path) is None


@pytest.mark.parametrize(
    "formats", [{"qengine": "Q1.6"}, {"qengine": ["Q1.6"], "qengine_": "Q2.5"}, {"qengine_": "Q1.6"}]
)
def test_a_tensor_may_have_the_name_of_the_record(tmp_path, formats):
    write_formats(tmp_path / "f.json", formats, {"data": "d"})
    assert (read_formats(tmp_path / "f.json"), read_record(tmp_path / "f.json")) == (formats, {"data": "d"})
