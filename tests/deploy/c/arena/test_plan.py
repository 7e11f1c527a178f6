"""Arenas of random networks, run byte by byte, and of networks whose best arena is known."""

from random import Random

import numpy as np
import pytest
from deploy.c.arena.simulated import Grown, Run, operation, row_steps, tensor
from qengine.deploy.c.arena import ArenaOptions, MemoryLimitError, plan_arena
from qengine.deploy.c.ir import CNetwork, Scratch, View


def arena_of(seed, count):
    grown = Grown(Random(seed))
    network = grown.network(count)
    return network, plan_arena(network), grown.steps


@pytest.mark.parametrize("seed", range(60))
def test_no_byte_is_overwritten_before_its_last_read(seed):
    network, arena, steps = arena_of(seed, 4 + seed % 12)
    Run(network, arena, steps).run()
