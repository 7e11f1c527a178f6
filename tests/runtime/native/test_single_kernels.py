"""Nodes that run alone on a native kernel choose what the reference chooses."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS, error_of_both

from qengine import InferenceSession
from qengine.runtime.native import single_kernels


def boxes(count, seed, batches=2, centered=False):
    rng = np.random.default_rng(seed)
    corners = rng.random((batches, count, 2), dtype=np.float32) * 50
    sizes = rng.random((batches, count, 2), dtype=np.float32) * 30
    sizes[:, ::7] = 0  # empty boxes
    found = np.concatenate([corners, sizes if centered else corners + sizes * rng.choice([-1, 1], sizes.shape)], -1)
    found = np.concatenate([found[:, : count // 2], found[:, : count - count // 2]], 1)  # equal boxes
    return found.astype(np.float32)


def suppressed(count, classes, most, overlap=0.5, least=0.2, seed=0, batches=2, **attributes):
    rng = np.random.default_rng(seed + 1)
    scores = np.round(rng.normal(size=(batches, classes, count)), 1).astype(np.float32)  # with equal scores
    feeds = {"b": boxes(count, seed, batches, bool(attributes.get("center_point_box"))), "s": scores}
    given = {"m": np.array([most]), "o": np.float32([overlap])} | ({} if least is None else {"l": np.float32([least])})
    inputs = {name: (array.dtype, list(array.shape)) for name, array in feeds.items()}
    nodes = [("NonMaxSuppression", " ".join([*feeds, *given]), "y", attributes)]
    return network(nodes, inputs=inputs, constants=given, opset=11), feeds


CASES = {
    "few": suppressed(9, 1, 3),
    "many": suppressed(300, 4, 40),
    "all": suppressed(60, 2, 1000, 1.0, None),
    "none overlap": suppressed(60, 2, 1000, 0.0, None),
    "no score is enough": suppressed(60, 2, 10, least=100.0),
    "no boxes are wanted": suppressed(60, 2, 0),
    "centers": suppressed(120, 3, 30, center_point_box=1),
    "one box": suppressed(1, 1, 5, batches=1),
    "no boxes": suppressed(0, 2, 5),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_the_same_boxes_remain(name, isa, monkeypatch):
    model, feeds = CASES[name]
    (wanted,) = InferenceSession(model, isa="reference").run(None, feeds)
    monkeypatch.setattr(single_kernels, "_ROOM", 5)
    evaluated = []
    monkeypatch.setattr("qengine.runtime.standalone_nodes.compute", lambda *_: evaluated.append(1))
    (got,) = InferenceSession(model, isa=isa).run(None, feeds)
    np.testing.assert_array_equal(got, wanted, strict=True)
    assert not evaluated


def test_numbers_that_are_none():
    model, feeds = suppressed(40, 2, 30, 0.3, None)
    feeds["s"][0, 0, ::3], feeds["s"][0, 1, 2], feeds["s"][1, 0, 5:9] = np.nan, -0.0, [np.inf, -np.inf, 0.0, -0.0]
    feeds["b"][0, 3:20:4, 1], feeds["b"][1, 2] = np.nan, np.inf
    got, wanted = (InferenceSession(model, isa=isa).run(None, feeds)[0] for isa in (ISAS[0], "reference"))
    np.testing.assert_array_equal(got, wanted, strict=True)


def test_a_node_that_is_not_valid():
    model, feeds = suppressed(9, 1, 3, overlap=2.0)
    assert "iou_threshold is 2.0" in error_of_both(model, feeds)
