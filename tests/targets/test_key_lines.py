"""Lines of keys: every key of hand-made and of random TOML is found on its line, whatever stands around it."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qengine.targets.key_lines import key_lines
from qengine.targets.toml import write_table

TEXT = '''\
# rounding = "in a comment"
name = "a # not a comment"   # rules = 1
notes = [
    "first = 1", # [rules]
    """
    rounding = "in a string"
    """,
    'it''s', ]
description = """one \\"quoted\\" [rules]
two"""
[rules] # a table
rounding = "floor"
mean = { rounding = "trunc", "counts_pads" = false }
  [ rules . linear ]
  overflow='wrap'
accumulator.bits = 32
[rules.tensors."a.b\\n"]
rounding = 'floor'
'''.replace("'it''s', ]", "'its', ]")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("notes",), 3),
        (("description",), 9),
        (("rules",), 11),
        (("rules", "rounding"), 12),
        (("rules", "mean"), 13),
        (("rules", "mean", "rounding"), 13),
        (("rules", "mean", "counts_pads"), 13),
        (("rules", "linear"), 14),
        (("rules", "linear", "overflow"), 15),
        (("rules", "linear", "accumulator", "bits"), 16),
        (("rules", "tensors", "a.b\n"), 17),
        (("rules", "tensors", "a.b\n", "rounding"), 18),
    ],
)
def test_lines(path, line):
    tomllib.loads(TEXT)
    assert key_lines(TEXT)[path] == line


def test_nothing_but_keys_is_found():
    found = key_lines(TEXT)
    assert ("rules", "rounding") in found
    assert set(found) == set(paths(tomllib.loads(TEXT)))


def paths(table, path=()):
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths(value, (*path, key))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.booleans() | st.integers(-99, 99) | texts
tables = st.recursive(
    st.dictionaries(texts, scalars | st.lists(scalars, max_size=3), max_size=3),
    lambda inner: st.dictionaries(texts, inner | scalars, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(tables)
def test_what_is_written_is_read_back_with_a_line_for_every_key(table):
    text = write_table(table)
    assert tomllib.loads(text) == table
    assert set(key_lines(text)) == set(paths(table))


@pytest.mark.parametrize("text", ["", "\n\n# only\n", "a=1", "a = 1\r\nb = 2\r\n", "[a]\n[a.b]\n", "a = []", "a = {}"])
def test_small_texts(text):
    found = key_lines(text)
    assert set(found) == set(paths(tomllib.loads(text)))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
