import csv
import json
import math
import sys
from dataclasses import dataclass
from enum import Enum
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest

from qengine import QFormat, zoo
from qengine.errors import OptionError
from qengine.qformat import ChannelFormats
from qengine.results import Result, csv_cell, csv_text, html_table, json_text, plain, text_table

Q = QFormat.parse
HOSTILE = "<script>alert(1)</script>\x1b[31m&\"'\n"


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, repr=False)
class Found(Result):
    rows: tuple
    extra: object = None

    @property
    def summary(self):
        return f"{len(self.rows)} rows of {HOSTILE}"

    def records(self):
        return [{"name": name, "value": value} for name, value in self.rows]


ROWS = (("a", 1.5), (HOSTILE, None), ("=1+1", math.inf))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1.5),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.arange(2), [0, 1]),
        (np.array([math.nan, 1]), [None, 1.0]),
        (Q("Q4.3"), "Q4.3"),
        (ChannelFormats((Q("Q4.3"), Q("Q3.4")), 0), ["Q4.3", "Q3.4"]),
        (Colour.RED, "red"),
        ({"a": (1, {"b": Q("Q1.2")})}, {"a": [1, {"b": "Q1.2"}]}),
        ({3, 1}, [1, 3]),
        (Found(ROWS[:1]), {"rows": [["a", 1.5]], "extra": None}),
    ],
)
def test_plain_values(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (math.nan, ""),
        (True, 1),
        (-1.5, -1.5),
        (math.inf, math.inf),
        ("plain", "plain"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("a=1", "a=1"),
        ({"=a": 1}, '{"=a": 1}'),
        ((1, 2), "[1, 2]"),
    ],
)
def test_cells_of_csv_are_no_formulas(value, cell):
    assert csv_cell(value) == cell


def test_names_of_columns_are_no_formulas_either():
    assert csv_text([{"=a": 1}]).splitlines() == ["'=a", "1"]


class Texts(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_html_holds_hostile_names_as_text():
    page = Texts(Found(ROWS)._repr_html_())
    assert set(page.tags) == {"p", "b", "table", "thead", "tr", "th", "tbody", "td"}
    shown = "<script>alert(1)</script>\\x1b[31m&\"'\\n"
    assert shown in page.text
    assert f"3 rows of {shown}" in page.text
    assert "\x1b" not in "".join(page.text)


def test_text_is_a_table_without_control_characters():
    text = str(Found(ROWS))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2 + 1 + len(ROWS)
    assert repr(Found(ROWS)).startswith("<Found: 3 rows of ")
    assert "\n" not in repr(Found(ROWS))


def test_numbers_are_right_aligned_and_names_left():
    assert text_table([{"n": "a", "v": 1}, {"n": "bb", "v": 12.5}, {"n": "c", "v": None}]).splitlines() == [
        "n      v",
        "a      1",
        "bb  12.5",
        "c      -",
    ]


def test_long_tables_say_how_much_they_leave_out():
    records = [{"n": i} for i in range(1000)]
    assert text_table(records).splitlines()[-1] == "... and 960 more: to_pandas() and save() have all"
    assert html_table(records).count("<tr>") == 201
    assert "800 more" in html_table(records)
    assert text_table([]) == html_table([]) == ""


def test_save_writes_by_ending(tmp_path):
    found = Found(ROWS, extra={"f": Q("Q4.3")})
    found.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["extra"] == {"f": "Q4.3"}
    found.save(tmp_path / "A.CSV")
    read = list(csv.reader(StringIO((tmp_path / "A.CSV").read_text(encoding="utf-8"), newline="")))
    assert read[0] == ["name", "value"]
    assert read[1] == ["a", "1.5"]
    assert read[3] == ["'=1+1", "inf"]
    for name in ("a.txt", "a"):
        with pytest.raises(OptionError, match=r"the name must end in \.json or \.csv"):
            found.save(tmp_path / name)
    with pytest.raises(OptionError, match="no folder"):
        found.save(tmp_path / "none" / "a.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["A.CSV", "a.json"]


def test_a_data_frame_has_the_records():
    pandas = pytest.importorskip("pandas")
    frame = Found(ROWS).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["name", "value"]
    assert frame["name"].tolist() == [name for name, _ in ROWS]


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match=r"pip install 'qengine\[pandas\]'"):
        Found(ROWS).to_pandas()


def test_json_has_no_bare_infinity():
    assert json.loads(json_text({"a": [math.inf, math.nan]}), parse_constant=pytest.fail) == {"a": ["inf", None]}


def test_a_path_is_text():
    assert plain(zoo.ENTRIES["digits"].path) == str(zoo.ENTRIES["digits"].path)
