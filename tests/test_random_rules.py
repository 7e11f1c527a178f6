"""Hundreds of random graphs under random rules of a device: raw codes equal to an oracle in exact Python integers."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from oracle import OVERFLOWS, ROUNDINGS, Ambiguous, Codes, Fmt, Net, Options, run
from random_graphs import OPERATORS, Case, random_case
from random_graphs.rules import random_rules

import qengine
from qengine.kernels.isa import available
from qengine.model.rules import KINDS, Rules

GRAPHS = 10 * len(OPERATORS)
CHUNK = 40
_MOVES = ("Relu", "Clip", "Identity", "MaxPool", "Pad", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")


@cache
def solved(seed: int) -> tuple[Case, Rules, dict[str, Codes]]:
    """A case, its rules, and every activation by the oracle."""
    for attempt in range(40):
        case = random_case(seed, attempt, is_apart=True)
        rng = np.random.default_rng([seed, attempt, 16])
        formats = {name: Fmt.parse(text) for name, text in case.formats.items()}
        made = {node.output[0] for node in Net(case.model).nodes if node.op_type not in _MOVES}
        options = Options(Fmt.parse(case.options["qformat"]), per_channel=case.options["per_channel"])
        rules, options = random_rules(rng, sorted(made.intersection(case.names)), options)
        try:
            return case, rules, run(case.model, case.feeds, options, formats)
        except Ambiguous:
            continue
    raise AssertionError(f"no graph for seed {seed}")


def differences(case: Case, rules: Rules, expected: dict[str, Codes], isa: str | None = None) -> list[str]:
    options = {name: case.options[name] for name in ("qformat", "per_channel")}
    session = qengine.InferenceSession(
        case.model.SerializeToString(), formats=case.formats, rules=rules, isa=isa, **options
    )
    found = []
    for name, array in zip(case.names, session.run(case.names, case.feeds, raw=True), strict=True):
        want = expected[name]
        for i, (code, exact) in enumerate(zip(array.ravel().tolist(), want.codes.ravel().tolist(), strict=True)):
            if code not in want.open.get(i, {exact}):
                found.append(f"{name}[{i}] = {code}, expected {exact} in {want.fmt}")
                break
    return found


@pytest.mark.parametrize(
    ("start", "isa"),
    [
        *((start, None) for start in range(0, GRAPHS, CHUNK)),
        *(
            pytest.param(0, isa, marks=pytest.mark.exhaustive)
            for isa in ("reference", *(isa.name for isa in available()))
        ),
    ],
)
def test_codes_equal_the_oracle(start, isa):
    wrong = []
    for seed in range(start, min(start + CHUNK, GRAPHS) if isa is None else GRAPHS):
        case, rules, expected = solved(seed)
        if found := differences(case, rules, expected, isa):
            wrong.append(
                f"seed {seed}: {' > '.join(case.trail)}\n  {rules}\n  {case.options} {case.formats}\n  {found[0]}"
            )
    assert not wrong, "\n".join(wrong)


def test_everything_occurs():
    rules = [solved(seed)[1] for seed in range(GRAPHS)]
    modes = [found.modes(kind, "") for found in rules for kind in KINDS]
    assert set(Counter(one.rounding for one in modes)) == set(ROUNDINGS)
    assert set(Counter(one.overflow for one in modes)) == set(OVERFLOWS)
    for field in ("rounds_inside", "overflow", "order", "bits"):
        assert min(Counter(getattr(found.accumulator, field) for found in rules).values()) >= 20, field
    assert sum(found.aligns_add for found in rules) >= 50
