"""Samples that are held out: which, and that nothing of them is searched on."""

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession
from qengine.analysis.search import search
from qengine.analysis.search.split import split
from qengine.data.datasets import open_dataset
from qengine.errors import OptionError
from qengine.model.loader import load


def model(first="N"):
    return network([("Gemm", "x w", "y")], inputs={"x": [first, 3]}, constants={"w": weights(3, 4, seed=1)})


@pytest.fixture
def opened(tmp_path):
    """Make a data set of samples that are numbered, as are their labels."""

    def made(count, batch, first="N"):
        x = np.repeat(np.arange(count, dtype=np.float32), 3).reshape(count, 3)
        np.savez(tmp_path / "data.npz", x=x, labels=np.arange(count) % 4)
        graph = load(model(first))
        return open_dataset(str(tmp_path / "data.npz"), graph, batch=batch), graph

    return made


def numbers(runs):
    return [int(row[0]) for batch in runs for row in batch.feeds["x"]]


@pytest.mark.parametrize("batch", [1, 4, 20])
@pytest.mark.parametrize(
    ("share", "held"), [(0.25, [3, 7, 11, 15, 19]), (0.5, list(range(1, 20, 2))), (0.75, None), (0.05, [19])]
)
def test_it_is_spread_evenly_whatever_the_batches(opened, batch, share, held):
    dataset, graph = opened(20, batch)
    searched, checked = split(dataset, graph, share)
    assert sorted(numbers(searched) + numbers(checked)) == list(range(20))
    assert (searched.samples, checked.samples) == (len(numbers(searched)), len(numbers(checked)))
    assert len(numbers(checked)) == round(20 * share)
    if held is not None:
        assert numbers(checked) == held
    for runs in (searched, checked):
        for one in runs:
            assert one.count == len(one.feeds["x"]) == len(one.labels) <= batch
            assert (one.labels == one.feeds["x"][:, 0] % 4).all()


def test_runs_of_a_fixed_length_stay_whole(opened):
    dataset, graph = opened(20, 4, first=4)
    searched, checked = split(dataset, graph, 0.4)
    assert numbers(checked) == [8, 9, 10, 11, 16, 17, 18, 19]
    assert [one.count for one in searched] == [4, 4, 4]


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan"), True])
def test_shares_that_are_none(opened, share):
    with pytest.raises(OptionError, match=r"is between 0 and 1, such as 0\.2, not"):
        split(*opened(8, 4), share)


def test_a_side_without_samples(opened):
    with pytest.raises(OptionError, match=r"none of 8 samples is held out with a share of 0\.1"):
        split(*opened(8, 4), 0.1)
    with pytest.raises(OptionError, match=r"none of 1 samples is held out with a share of 0\.9"):
        split(*opened(1, 1), 0.9)


def test_formats_know_nothing_of_what_is_held_out(tmp_path):
    x = weights(40, 3, seed=2, scale=1.0)
    x[3::4] *= 100  # had they been seen, formats would reach that far
    np.savez(tmp_path / "data.npz", x=x)
    graph = load(model())
    dataset = open_dataset(str(tmp_path / "data.npz"), graph, batch=16)
    found = search(graph, dataset, metric="sqnr", least=15, cost="macs", hold_out=0.25)
    seen = np.delete(x, slice(3, None, 4), axis=0)
    bits = found.units[0].bits
    assert found.formats["x"] == qengine.calibrate(graph, [{"x": seen}], bits=bits)["x"]

    def sqnr(rows):
        exact = InferenceSession(graph).run(None, {"x": rows})[0].astype(np.float64)
        (y,) = InferenceSession(graph, formats=found.formats).run(None, {"x": rows})
        return 10 * np.log10(np.sum(exact**2) / np.sum((exact - y) ** 2))

    assert found.best.value == pytest.approx(sqnr(seen), abs=1e-3)
    assert found.held_out.value == pytest.approx(sqnr(x[3::4]), abs=1e-3)
    assert found.held_out.value < 15 <= found.best.value
    assert not found.held_out.is_good
    assert any("not good enough on the samples that were held out" in note for note in found.notes)
