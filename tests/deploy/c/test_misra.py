"""Generated C keeps the rules of MISRA C:2012 but for those that are listed with a reason."""

from __future__ import annotations

import pytest
from deploy.c.misra import DEVIATIONS, needs_cppcheck, violations
from deploy.c.test_random_graphs import drawn
from deploy.c.test_toolchains import convolutions, fed
from random_graphs.deep_cases import ALL

import qengine
from qengine.deploy.c.emit import source_files
from qengine.deploy.c.network import network_of

pytestmark = [needs_cppcheck, pytest.mark.exhaustive]


def unknown(session, feeds, folder) -> list[str]:
    """Return the lines of generated C that break another rule than those that are listed."""
    files = source_files(network_of(session, feeds), "net", one_file=True).files
    for name, text in files.items():
        (folder / name).write_text(text)
    broken = [one for one in violations(folder, ["net.c"]) if one.rule not in DEVIATIONS]
    return [f"{one.rule}: {files[one.file].splitlines()[one.line - 1].strip()}" for one in broken]


def test_a_net_of_convolutions(tmp_path):
    session = qengine.InferenceSession(convolutions(4, 6), qformat="Q4.11", rounding="half_up", isa="reference")
    assert not unknown(session, fed((1, 3, 6, 6))[0], tmp_path)


@pytest.mark.parametrize("seed", range(0, len(ALL), 12))
def test_random_graphs(seed, tmp_path):
    (session, feeds), _, refused = drawn(seed)
    if not refused:
        assert not unknown(session, feeds[0], tmp_path)
