import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession
from qengine.errors import FeedError
from qengine.runtime import plan_cache

X = weights(1, 3, 6, 5, seed=1, scale=2.0)
SMALL = network(
    [("Conv", "x W", "c"), ("Relu", "c", "y")],
    inputs={"x": ["N", 3, "H", "W"]},
    constants={"W": weights(4, 3, 3, 3)},
)


def counted(monkeypatch):
    made = []
    original = plan_cache.make_plan

    def make_plan(graph, inputs, *rest):
        made.append({name: tensor.shape for name, tensor in inputs.items()})
        return original(graph, inputs, *rest)

    monkeypatch.setattr(plan_cache, "make_plan", make_plan)
    return made


def test_a_plan_is_made_once_for_each_shape_and_list_of_outputs(monkeypatch):
    made = counted(monkeypatch)
    s = InferenceSession(SMALL)
    for shape in ((1, 3, 6, 5), (2, 3, 6, 5), (1, 3, 6, 5), (2, 3, 6, 5), (1, 3, 5, 6)):
        (y,) = s.run(None, {"x": np.full(shape, 0.5, np.float32)})
        assert y.shape == (shape[0], 4, shape[2] - 2, shape[3] - 2)
    assert [shapes["x"] for shapes in made] == [(1, 3, 6, 5), (2, 3, 6, 5), (1, 3, 5, 6)]
    for names in (["c"], ["c", "y"], ["c"], ["c", "c"], ["y"], None):
        s.run(names, {"x": X})
    assert len(made) == 5


def test_a_plan_is_made_for_what_inputs_decide(monkeypatch):
    made = counted(monkeypatch)
    model = network([("Resize", "x - factor", "y")], inputs={"x": ["N", 3, "H", "W"], "factor": [4]})
    s = InferenceSession(model)
    factor = np.float32([1, 1, 2, 2])
    for scale, height in ((2, 12), (3, 18), (2, 12), (1, 6)):
        factor[2] = scale  # the same array, with other elements
        assert s.run(None, {"x": X, "factor": factor})[0].shape == (1, 3, height, 10)
        factor[2] = 9
    assert len(made) == 3


def test_the_oldest_plan_goes_first(monkeypatch):
    made = counted(monkeypatch)
    monkeypatch.setattr(plan_cache, "_CACHED_PLANS", 2)
    s = InferenceSession(SMALL)

    def run(batch):
        before = len(made)
        s.run(None, {"x": np.zeros((batch, 3, 6, 5), np.float32)})
        return len(made) > before

    assert [run(n) for n in (1, 2, 1, 3, 1, 2, 3)] == [True, True, False, True, False, True, True]


@pytest.mark.parametrize("options", [{}, {"qformat": "Q4.11"}, {"qformat": "Q4.11", "threads": 1}])
def test_one_session_in_many_threads(monkeypatch, options):
    monkeypatch.setattr(plan_cache, "_CACHED_PLANS", 3)
    model = network(
        [("Conv", "x W", "c"), ("Resize", "c - factor", "r", {"mode": "linear"}), ("Relu", "r", "y")],
        inputs={"x": ["N", 3, "H", "W"], "factor": [4]},
        constants={"W": weights(4, 3, 3, 3)},
        overridable=["W"],
    )
    cases = []
    for i in range(12):
        feeds = {"x": weights(1 + i % 3, 3, 6 + i % 4, 5, seed=i), "factor": np.float32([1, 1, 1 + i % 2, 2])}
        if i % 3 == 0:
            feeds["W"] = weights(4, 3, 3, 3, seed=i)
        cases.append((feeds, InferenceSession(model, **options).run(None, feeds)[0]))
    s = InferenceSession(model, **options)
    barrier = threading.Barrier(6)

    def work(start):
        barrier.wait()
        return [
            np.array_equal(s.run(None, cases[(start + i) % 12][0])[0], cases[(start + i) % 12][1]) for i in range(24)
        ]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            assert all(all(found) for found in pool.map(work, range(0, 12, 2)))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("options", [{}, {"qformat": "Q4.11"}], ids=["float32", "fixed point"])
def test_the_second_run_of_the_same_kind_skips_the_checks_and_gives_the_same(monkeypatch, options):
    session = InferenceSession(SMALL, isa="generic", **options)
    first = session.run(["c", "y"], {"x": X})
    monkeypatch.setattr(InferenceSession, "check_feeds", lambda *_: pytest.fail("feeds were checked again"))
    strided = np.asfortranarray(np.repeat(X, 2, axis=3))[..., ::2]
    for feed in (X, strided, X.copy()):
        for got, want in zip(session.run(["c", "y"], {"x": feed}), first, strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_run_of_another_kind_is_checked(monkeypatch):
    session = InferenceSession(SMALL, isa="generic")
    (c, y) = session.run(["c", "y"], {"x": X})
    checked, original = [], InferenceSession.check_feeds
    monkeypatch.setattr(InferenceSession, "check_feeds", lambda s, feeds: (checked.append(1), original(s, feeds))[1])
    (y_first, c_second) = session.run(["y", "c"], {"x": X})
    np.testing.assert_array_equal(y_first, y)
    np.testing.assert_array_equal(c_second, c)
    assert session.run(None, {"x": X[:, :, :4]})[0].shape == (1, 4, 2, 3)
    assert session.run(["c"], {"x": X.tolist()})[0].shape == c.shape
    for bad in (X.astype(np.float64), X[:, :2], X.astype(">f4").astype(np.int32), X[0]):
        with pytest.raises(FeedError):
            session.run(["c", "y"], {"x": bad})
    with pytest.raises(FeedError):
        session.run(["c", "y"], {"x": X, "z": X})
    assert len(checked) == 8


def test_an_executor_keeps_the_plan_that_it_is_found_by():
    model = network(
        [("MatMul", "x w", "a"), ("Add", "a b", "y")],
        inputs={"x": ["n", 4]},
        constants={"w": weights(4, 5), "b": weights(5)},
    )
    session = InferenceSession(model, isa="generic")
    x = {"x": np.ones((1, 4), np.float32)}
    session.run(None, x)
    plan = weakref.ref(session.plan(x))
    assert session.executor(plan()).plan is not plan()  # it is of another form of the plan
    for n in range(2, 40):
        session.plan({"x": np.ones((n, 4), np.float32)})
    gc.collect()
    assert plan() is not None  # a new plan cannot get its id
