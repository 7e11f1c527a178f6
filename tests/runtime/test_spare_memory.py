"""Memory that sessions of one model hand on."""

import numpy as np
from networks import network, weights

from qengine import InferenceSession
from qengine.runtime.native.memory import Memory, SpareMemory
from qengine.runtime.options import SessionOptions


def test_large_memory_goes_to_the_next_plan():
    spare = SpareMemory()
    memory = Memory(spare)
    address = memory.allocate(5 << 20)
    del memory
    again = Memory(spare)
    assert again.allocate(6 << 20) != address  # too large for it
    assert again.allocate(4 << 20) == address
    assert again.allocate(5 << 20) != address  # it is in use


def test_a_piece_that_is_taken_meanwhile_is_not_taken_again():
    spare = SpareMemory()
    pieces = [np.zeros(size << 20, np.uint8) for size in (5, 4)]
    spare.keep(pieces)

    class Size(int):
        """A size that another thread and the end of a plan come before, when it is compared."""

        def __le__(self, other):
            taken.append(spare.take(4 << 20))
            spare.keep([np.zeros(1 << 20, np.uint8)])
            return int(self) <= other

    taken = []
    assert spare.take(Size(4 << 20)) is pieces[0]
    assert taken[0] is pieces[1]


def test_the_next_format_runs_in_the_same_memory(monkeypatch):
    model = network(
        [("Conv", "x w", "c", {"pads": [1, 1, 1, 1]}), ("Conv", "c v", "y", {"pads": [1, 1, 1, 1]})],
        inputs={"x": [8, 16, 96, 96]},
        constants={"w": weights(16, 16, 3, 3, scale=0.2), "v": weights(16, 16, 3, 3, scale=0.2)},
    )
    x = np.random.default_rng(0).normal(size=(8, 16, 96, 96)).astype(np.float32)
    base = InferenceSession(model, threads=1, isa="generic")
    taken, take = [], SpareMemory.take
    monkeypatch.setattr(SpareMemory, "take", lambda self, size: taken.append(take(self, size)) or taken[-1])
    for qformat in ("Q2.5", "Q3.4", "Q2.5"):
        session = base.with_options(SessionOptions(qformat=qformat, threads=1, isa="generic"))
        (y,) = session.run(None, {"x": x}, raw=True)
        del session
        (want,) = InferenceSession(model, qformat=qformat, isa="reference").run(None, {"x": x}, raw=True)
        np.testing.assert_array_equal(y, want)
    assert any(piece is not None for piece in taken)
