"""Samples that are spread evenly over data, which may be sorted."""

import numpy as np
import pytest
from networks import network

from qengine.data.datasets import open_dataset
from qengine.model.loader import load


def graph(batch="N"):
    return load(network([("Relu", "x", "y")], inputs={"x": [batch, 2]}))


def values(batches):
    """Return the number of every sample, and its label."""
    batches = list(batches)
    numbers = [int(n) for batch in batches for n in batch.feeds["x"][:, 0]]
    labels = [int(n) for batch in batches for n in batch.labels] if batches[0].labels is not None else None
    return numbers, labels


def npz(folder, count):
    x = np.repeat(np.arange(count, dtype=np.float32)[:, None], 2, 1)
    np.savez(folder / "d.npz", x=x, labels=np.arange(count) // 10)
    return str(folder / "d.npz")


def files(folder, count):
    for i in range(count):
        place = folder / "d" / f"{i // 10:02}"
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{i:02}.npy", np.full((1, 2), i, np.float32))
    return str(folder / "d")


@pytest.mark.parametrize("make", [npz, files])
@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(20, 100, range(20)), (20, 20, range(20)), (20, 10, range(0, 20, 2)), (20, 7, range(0, 20, 3)), (20, 1, [0])],
)
def test_single_samples(tmp_path, make, count, most, expected):
    dataset = open_dataset(make(tmp_path, count), graph())
    numbers, labels = values(dataset.spread(most))
    assert numbers == list(expected)
    assert labels == [n // 10 for n in expected]


@pytest.mark.parametrize(("make", "expected"), [(npz, [0, 2, 4, 6, 8]), (files, [0, 2, 4, 11, 13])])
def test_a_limit_holds(tmp_path, make, expected):
    numbers, _ = values(open_dataset(make(tmp_path, 20), graph(), limit=10).spread(5))
    assert numbers == expected


@pytest.mark.parametrize("make", [npz, files])
@pytest.mark.parametrize("most", [1, 3, 4, 9, 40])
def test_batches_stay_whole(tmp_path, make, most):
    dataset = open_dataset(make(tmp_path, 40), graph(4))
    batches = list(dataset.spread(most))
    assert batches
    assert {batch.count for batch in batches} == {4}
    assert sum(batch.count for batch in batches) <= max(4, most + 4)


def test_a_batch_larger_than_what_is_asked_for_is_spread_too(tmp_path):
    dataset = open_dataset(files(tmp_path, 40), graph(8))
    assert values(dataset.spread(3))[0] == list(range(0, 40, 5))


def test_files_between_are_not_read(tmp_path):
    folder = files(tmp_path, 20)
    (tmp_path / "d" / "00" / "01.npy").write_bytes(b"damaged")
    assert values(open_dataset(folder, graph()).spread(10))[0] == list(range(0, 20, 2))
