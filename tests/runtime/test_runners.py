"""Plans that run one at a time, in memory that they share."""

import numpy as np
import pytest
from networks import network, weights
from runtime.native.native import ISAS

from qengine import InferenceSession

MODEL = network(
    [("Conv", "x w", "c", {"pads": [1] * 4}), ("Relu", "c", "y")],
    inputs={"x": [1, 3, "H", "W"]},
    constants={"w": weights(5, 3, 3, 3, seed=1)},
)
SHAPES = ((6, 5), (9, 14), (7, 5), (1, 1))


@pytest.mark.parametrize("isa", [*ISAS, "reference"])
def test_runs_in_any_order_are_those_of_the_session(isa):
    session = InferenceSession(MODEL, isa=isa)
    feeds = [{"x": weights(1, 3, *shape, seed=k, scale=1.0)} for k, shape in enumerate(SHAPES)]
    runners = session.plans.runners([session.plan(feed, None) for feed in feeds])
    expected = [session.run(None, feed)[0] for feed in feeds]
    for k in (0, 1, 0, 3, 2, 1, 0, 3):
        np.testing.assert_array_equal(runners[k](feeds[k])["y"], expected[k])


@pytest.mark.parametrize("isa", ISAS[:1])
def test_memory_is_shared(isa):
    session = InferenceSession(MODEL, isa=isa)
    plans = [session.plan({"x": weights(1, 3, *shape)}, None) for shape in SHAPES[:3]]
    executors = [run.__self__ for run in session.plans.runners([*plans, *plans])]
    memories = {id(segment.compiled.memory) for executor in executors for segment in executor.segments}
    assert len(memories) == 1
    alone = sum(session.executor(plan).memory for plan in plans)
    assert executors[0].memory <= alone
