"""The largest distance at which an output may be written onto its input is safe, for every operator that gives one.

Random graphs get an arena in which each output lies at exactly that distance after an input, whatever room it takes.
"""

from functools import partial

import pytest
from deploy.c.running import Comparison, needs_gcc
from random_graphs.deep_cases import ALL, deep_case

import qengine
from qengine.deploy.c.arena import ArenaOptions, plan
from qengine.deploy.c.arena.exact import Outcome
from qengine.deploy.c.arena.problem import lowest
from qengine.deploy.c.emit import project
from qengine.deploy.c.network import network_of
from qengine.errors import QEngineError

GRAPHS = len(ALL)
BASE = 1 << 16
"""Offset of items that share with none: room for those that lie before."""


def closest(problem, bound):
    """Return offsets where items share as much as they may: each at the largest distance from one before it."""
    offsets = [-1] * len(problem.sizes)
    for item in sorted(range(len(offsets)), key=lambda i: problem.lives[i]):
        step, size = problem.alignments[item], problem.sizes[item]
        taken, wanted = [(-1, BASE)], []
        for other, intervals in problem.neighbours[item]:
            if offsets[other] < 0:
                continue
            for low, high in intervals:
                taken.append((offsets[other] + low, offsets[other] + high))
                if low > -size:
                    wanted.append((offsets[other] + low) // step * step)
                if high < problem.sizes[other]:
                    wanted.append(-(-(offsets[other] + high) // step) * step)
        fitting = [o for o in wanted if o >= 0 and not any(low < o < high for low, high in taken[1:])]
        offsets[item] = fitting[0] if fitting else lowest(sorted(taken), step)
    assert problem.is_valid(offsets)
    return Outcome(tuple(offsets), False)


def case_of(seed):
    """Return a session and its feeds; None where C does not compute the graph."""
    case, rules = deep_case(seed)
    given = {"rules": rules} if rules is not None else {}
    try:
        model = case.model.SerializeToString()
        session = qengine.InferenceSession(model, formats=case.formats, isa="reference", **case.options, **given)
        session.run(None, case.feeds, raw=True)
        network_of(session, case.feeds)
    except QEngineError:
        return None
    return session, [case.feeds]


@needs_gcc
@pytest.mark.parametrize("part", range(2))
def test_outputs_at_the_largest_distance_have_the_codes_of_the_session(part, monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "best_offsets", closest)
    monkeypatch.setattr(project, "ArenaOptions", partial(ArenaOptions, alignment=1))
    cases = [case for seed in range(part, GRAPHS, 2) if (case := case_of(seed)) is not None]
    comparison = Comparison(cases, tmp_path)
    assert comparison.differences() == []
    assert sum(len(source.arena.shares) for source in comparison.sources) > len(cases) // 4
