"""The schema: every field of the dataclasses has a key, and docs/how-to/targets.md lists every key as it is.

`python tests/targets/test_schema.py` prints the tables of the page, without the meanings.
"""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from qengine.model.rules import KINDS, AccumulatorRule, BiasRule, MeanRule, Modes, Rules, TableRule
from qengine.targets import Constraints, Target, names, schema

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


def test_the_page_lists_every_bundled_target():
    found = re.findall(r"^\| `([\w-]+)` \| ((?:un)?verified) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert found == [(one.name, one.status, one.description) for one in map(Target.named, names())]


def summary(name):
    """Return the roundings, the register and the bias of a target, as docs/how-to/targets.md has them."""
    rules = Target.named(name).rules

    def rounding(kind, operator):
        return str(rules.modes(kind, "", operator).rounding)

    linear = [("linear", "Conv"), ("depthwise", "Conv"), ("dense", "Gemm")]
    mean = rounding("mean", "AveragePool") + f", {rules.mean.method}" * (rules.mean.method != "exact")
    add = rounding("add", "Add") + ", aligned" * rules.aligns_add
    register, bias = rules.accumulator, rules.bias
    sums = "all" if register.bits is None else f"{register.bits}, {register.overflow}s"
    word = (
        f"{bias.bits}"
        + f", {bias.fraction_bits}" * (bias.fraction_bits != "sums")
        + f", shift {bias.shift}" * (bias.shift > 0)
    )
    return [
        name,
        *(rounding(*one) for one in linear),
        add,
        rounding("mul", "Mul"),
        mean,
        str(rules.overflow),
        sums,
        word,
    ]


def test_the_page_says_how_each_target_rounds():
    found = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.count(" | ") == 9]
    assert found[0][0] == "target"
    assert found[1:] == [summary(name) for name in names()]


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
    for one in map(Target.named, names()):
        print(f"| `{one.name}` | {one.status} | {one.description} |")  # noqa: T201
    for name in names():
        print("| " + " | ".join(summary(name)) + " |")  # noqa: T201
