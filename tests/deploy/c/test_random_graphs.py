"""Random graphs of every kind of step, under every rounding, overflow and accumulator, in C: all codes are equal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from deploy.c.running import Case, Comparison
from deploy.c.toolchains import Failure, Toolchain, toolchain
from random_graphs.deep_cases import ALL, deep_case

import qengine
from qengine.deploy.c.network import network_of
from qengine.errors import QEngineError, UnsupportedError

GRAPHS = 2 * len(ALL)
SANITIZED = 380  # graphs that sanitizers see; `tests/c_graphs.py` tries any number
SHARE = 4  # a machine gets every 4th graph, each from another one on
CHUNK = 38  # graphs of a program
MOST_REFUSED = 0.1  # share of the graphs
MACHINES = (
    *("gcc -O0", "gcc -O2", "gcc -O3", "gcc -O3 native", "gcc NET_SMALL", "gcc -std=c11 unsigned char", "g++"),
    *("gcc -m32", "clang", "clang++", "clang sanitizers", "tcc", "s390x (big-endian)"),
    *("Cortex-M3", "Cortex-M4", "Cortex-M33", "RISC-V 64", "RISC-V 32"),
)
REASONS = {
    "real numbers": "it computes real numbers",
    "four spatial axes": "is a convolution over . axes",
}
"""Why C does not compute an operator: the only reasons that may occur."""


@cache
def drawn(seed: int) -> tuple[Case, str, str]:
    """A session and its feeds, what the graph is, and why it is refused; "" where it is exported."""
    for attempt in range(20):
        case, rules = deep_case(seed, attempt)
        given = {"rules": rules} if rules is not None else {}
        try:
            model = case.model.SerializeToString()
            session = qengine.InferenceSession(model, formats=case.formats, isa="reference", **case.options, **given)
            feeds = [case.feeds, {name: -3 * array for name, array in case.feeds.items()}]  # the others saturate more
            for one in feeds:
                session.run(None, one, raw=True)
        except QEngineError:
            continue  # rules that no run has for an operator
        title = f"seed {seed}: {' > '.join(case.trail)}\n  {rules or ''} {case.options} {case.formats}"
        try:
            network_of(session, case.feeds)
        except UnsupportedError as error:
            return (session, feeds), title, str(error)
        return (session, feeds), title, ""
    raise AssertionError(f"no graph for seed {seed}")


def wrong(seeds: Iterable[int], folder: Path, with_: Toolchain, flags: Iterable[str] = ()) -> list[str]:
    """Return what differs in the graphs of some seeds, which are two programs."""
    taken = [seed for seed in seeds if not drawn(seed)[2]]

    def of(seeds: list[int]) -> list[str]:
        if not seeds:
            return []
        inside = folder / str(seeds[0])
        inside.mkdir()
        found = Comparison([drawn(seed)[0] for seed in seeds], inside).differences(with_, tuple(flags))
        return [f"{drawn(seeds[number])[1]}\n  {line}" for number, line in first_of_each(found)]

    with ThreadPoolExecutor(2) as pool:
        return [line for lines in pool.map(of, [taken[::2], taken[1::2]]) for line in lines]


def first_of_each(lines: list[str]) -> list[tuple[int, str]]:
    """Return the first line of each network with its number: what follows a wrong tensor is wrong too."""
    found: dict[int, str] = {}
    for line in lines:
        number = int(re.match(r"network (\d+)", line)[1])
        found.setdefault(number, line)
    return list(found.items())


@pytest.mark.parametrize("start", range(len(ALL), GRAPHS, 2 * CHUNK))
def test_codes_equal_the_session(start, tmp_path):
    """The seeds before are those of `arena/test_sharing.py`."""
    seeds = range(start, min(start + 2 * CHUNK, GRAPHS))
    assert not (found := wrong(seeds, tmp_path, toolchain("gcc -O1"))), "\n".join(found)


def test_some_graphs_are_clean(tmp_path):
    seeds = range(5, GRAPHS, 16)
    assert not (found := wrong(seeds, tmp_path, toolchain("gcc sanitizers"))), "\n".join(found)


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", range(GRAPHS, GRAPHS + SANITIZED, 2 * CHUNK))
def test_many_graphs_are_clean(start, tmp_path):
    seeds = range(start, min(start + 2 * CHUNK, GRAPHS + SANITIZED))
    assert not (found := wrong(seeds, tmp_path, toolchain("gcc sanitizers"))), "\n".join(found)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MACHINES)
def test_codes_are_equal_everywhere(name, tmp_path):
    seeds = range(MACHINES.index(name) % SHARE, GRAPHS, SHARE)
    assert not (found := wrong(seeds, tmp_path, toolchain(name))), "\n".join(found)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["AVR atmega1284p", "Cortex-M0"])
def test_codes_are_equal_on_small_machines(name, tmp_path):
    """One program for each graph that has room: 16 kB of memory, and on an AVR integers of 16 bits."""
    found, ran, seeds = [], 0, range(0, GRAPHS, SHARE)
    for seed in seeds:
        (tmp_path / f"{seed}").mkdir()
        try:
            found += wrong([seed], tmp_path / f"{seed}", toolchain(name))
            ran += 1
        except Failure as failure:
            if not failure.is_of_size:
                raise
    assert not found, "\n".join(found)
    assert ran >= len(seeds) / 2


def test_few_graphs_are_refused():
    refusals = [reason for seed in range(GRAPHS) if (reason := drawn(seed)[2])]
    counted = Counter(one for text in refusals for one in reasons_of(text))
    print(f"{len(refusals)} of {GRAPHS} graphs are refused")  # noqa: T201
    print("\n".join(f"{count:5} {name}" for name, count in counted.most_common()))  # noqa: T201
    assert set(counted) <= set(REASONS), sorted(set(counted) - set(REASONS))
    assert len(refusals) <= MOST_REFUSED * GRAPHS


def reasons_of(text: str) -> list[str]:
    """Return the names of the reasons in a refusal; a reason that is not known is its own name."""
    found = []
    for part in re.split(r"; (?=\w+ '|input ')", text.partition("C cannot compute this model: ")[2] or text):
        names = [name for name, pattern in REASONS.items() if re.search(pattern, part)]
        found.append(names[0] if names else part)
    return found
