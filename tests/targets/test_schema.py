"""The schema: every field of the dataclasses has a key, and docs/how-to/targets.md lists every key as it is.

`python tests/targets/test_schema.py` prints the tables of the page, without the meanings.
"""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from qengine.model.rules import KINDS, AccumulatorRule, BiasRule, MeanRule, Modes, Rules, TableRule
from qengine.targets import Constraints, Target, schema

PAGE = Path(__file__).parents[2] / "docs/how-to/targets.md"
PARTS = {"accumulator": AccumulatorRule, "bias": BiasRule, "mean": MeanRule, "table": TableRule}


def named(kind):
    return [field.name for field in fields(kind)]


def test_every_field_has_a_key():
    tables = {"kinds", "operators", "tensors"}
    assert {*schema.RULES, *schema.PARTS} | tables == set(named(Rules))
    assert {name: list(keys) for name, keys in schema.PARTS.items()} == {n: named(kind) for n, kind in PARTS.items()}
    assert list(schema.MODES) == named(Modes)
    assert list(schema.CONSTRAINTS) == named(Constraints)
    assert {*schema.TOP, "rules", "constraints"} == {*named(Target), "extends"}
    assert set(schema.TABLES) == {*KINDS, *PARTS}


def text(value, default):
    written = value.write(default)
    if isinstance(written, list | dict):
        return ", ".join(map(str, written)) or "none"
    return str(written).lower() if isinstance(written, bool) else str(written)


def rows():
    """Yield (key, allowed, default) of every key, as docs/how-to/targets.md lists them."""
    defaults = {"name": "the file's", "status": "unverified"}
    for name, value in schema.TOP.items():
        yield f"top.{name}", value.allowed, defaults.get(name, "none")
    for name, value in schema.RULES.items():
        yield name, value.allowed, text(value, getattr(Rules(), name))
    for name, value in schema.MODES.items():
        yield f"KIND.{name}", value.allowed, "the model's"
    for part, kind in PARTS.items():
        for name, value in schema.PARTS[part].items():
            yield f"{part}.{name}", value.allowed, text(value, getattr(kind(), name))
    for name, value in schema.CONSTRAINTS.items():
        yield f"constraints.{name}", value.allowed, text(value, getattr(Constraints(), name))


def listed():
    cells = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \| ", PAGE.read_text(), re.MULTILINE)
    return [tuple(cell.replace("`", "") for cell in row) for row in cells]


def test_the_page_lists_every_key_with_its_values_and_its_default():
    wanted = [(key.removeprefix("top.").removeprefix("constraints."), *rest) for key, *rest in rows()]
    assert listed() == wanted


def test_the_page_lists_every_kind():
    found = re.findall(r"^\| `(\w+)` \| [^|]*\|$", PAGE.read_text(), re.MULTILINE)
    assert found == list(KINDS)


@pytest.mark.parametrize(
    ("keys", "default"),
    [(schema.RULES, Rules()), (schema.CONSTRAINTS, Constraints())] + [(schema.PARTS[n], k()) for n, k in PARTS.items()],
)
def test_every_default_is_a_value_that_is_read(keys, default):
    for name, value in keys.items():
        assert value.read(value.write(getattr(default, name))) == getattr(default, name)


if __name__ == "__main__":
    for row in rows():
        print("| `{}` | {} | {} |  |".format(*row))  # noqa: T201 - for an author
