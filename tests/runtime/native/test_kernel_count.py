"""Kernels that models need: few, because formats are arguments of kernels and not parts of them."""

from __future__ import annotations

import numpy as np
import pytest

from qengine import InferenceSession, zoo
from qengine.runtime.native import plan_lowering

FEEDS = {
    "digits": {"image": np.zeros((1, 1, 28, 28), np.float32)},
    "srcnn": {"input": np.zeros((1, 3, 64, 64), np.float32), "factor": np.float32([1, 1, 3, 3])},
}


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    monkeypatch.setattr(plan_lowering, "load", lambda programs: None)


def specs(name, qformat, threads=1):
    session = InferenceSession(zoo.path_of(name), qformat=qformat, isa="generic", threads=threads)
    feeds = session.check_feeds(FEEDS[name])
    executor = session.executor(session.plan(feeds), raw=False)
    return {repr(spec) for segment in executor.segments for spec in segment.compiled.program.specs()}


@pytest.mark.parametrize("name", FEEDS)
def test_all_formats_of_8_bits_share_their_kernels(name):
    found = [specs(name, qformat) for qformat in ("Q0.7", "Q3.4", "Q6.1", "UQ0.8", "UQ4.4", "UQ7.1")]
    assert found == [found[0]] * len(found)
    assert len(found[0]) < 12


@pytest.mark.parametrize("name", FEEDS)
def test_threads_need_no_kernels_of_their_own(name):
    assert len(specs(name, "Q3.4", threads=2) - specs(name, "Q3.4")) <= 2
