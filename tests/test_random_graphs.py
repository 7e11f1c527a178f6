"""Hundreds of random graphs: raw codes equal to an oracle in exact Python integers, element for element."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
from oracle import OVERFLOWS, ROUNDINGS, Ambiguous, Codes, Fmt, Options, run
from random_graphs import OPERATORS, Case, expected_options, random_case

import qengine

GRAPHS = 20 * len(OPERATORS)
CHUNK = 40


@cache
def solved(seed: int) -> tuple[Case, dict[str, Codes]]:
    """A case and every activation by the oracle."""
    for attempt in range(20):
        case = random_case(seed, attempt, is_apart=True)
        formats = {name: Fmt.parse(text) for name, text in case.formats.items()}
        try:
            return case, run(case.model, case.feeds, Options(**expected_options(case)), formats)
        except Ambiguous:
            continue  # an operator would read a code that float64 does not pin down
    raise AssertionError(f"no graph for seed {seed}")


def differences(case: Case, expected: dict[str, Codes]) -> list[str]:
    session = qengine.InferenceSession(case.model.SerializeToString(), formats=case.formats, **case.options)
    found = []
    for name, array in zip(case.names, session.run(case.names, case.feeds, raw=True), strict=True):
        want = expected[name]
        if array.dtype != want.fmt.dtype or array.shape != want.shape:
            found.append(f"{name}: {array.dtype} {array.shape}, expected {want.fmt.dtype} {want.shape}")
            continue
        for i, (code, exact) in enumerate(zip(array.ravel().tolist(), want.codes.ravel().tolist(), strict=True)):
            allowed = want.open.get(i, {exact})
            if code not in allowed:
                found.append(f"{name}[{i}] = {code}, expected {sorted(allowed)} in {want.fmt}")
                break
    return found


@pytest.mark.parametrize("start", range(0, GRAPHS, CHUNK))
def test_codes_equal_the_oracle(start):
    wrong = []
    for seed in range(start, min(start + CHUNK, GRAPHS)):
        case, expected = solved(seed)
        onnx.checker.check_model(case.model)
        if found := differences(case, expected):
            wrong.append(f"seed {seed}: {' > '.join(case.trail)}\n  {case.options} {case.formats}\n  {found[0]}")
    assert not wrong, "\n".join(wrong)


def test_everything_occurs():
    cases = [solved(seed)[0] for seed in range(GRAPHS)]
    operators = Counter(case.operator for case in cases)
    assert min(operators[name] for name in OPERATORS) >= 20
    for option, values in (("rounding", ROUNDINGS), ("overflow", OVERFLOWS), ("per_channel", (False, True))):
        seen = Counter(case.options[option] for case in cases)
        assert min(seen[value] for value in values) >= 50, seen
    assert sum(case.options["accumulator_bits"] is not None for case in cases) >= 200
    words = Counter(Fmt.parse(text).bits for case in cases for text in case.formats.values())
    assert set(words) >= {2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16}


def test_codes_saturate_and_do_not():
    """The graphs are worth comparing: most codes lie inside their words, and many do not."""
    inside = at_the_end = 0
    for seed in range(0, GRAPHS, 7):
        _, expected = solved(seed)
        for tensor in expected.values():
            ends = np.isin(tensor.codes.astype(np.int64), [tensor.fmt.low, tensor.fmt.high])
            at_the_end += int(ends.sum())
            inside += int((~ends).sum())
    assert inside > at_the_end > 1000
