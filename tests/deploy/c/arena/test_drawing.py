"""The map of an arena as text and as numbers."""

import json

import pytest
from deploy.c.arena.simulated import operation, tensor

from qengine.deploy.c.arena import as_mapping, drawing, plan_arena
from qengine.deploy.c.ir import CNetwork

X = tensor("x", 100, place="input")
Y = tensor("y", 10, place="output")


def chained(count, name="t"):
    tensors = [tensor(f"{name}{i}", 100 + 10 * i) for i in range(count)]
    reads = [X, *tensors]
    operations = [operation([t], [x]) for t, x in zip([*tensors, Y], reads, strict=True)]
    return plan_arena(CNetwork((X,), (Y,), tuple(operations)))


def test_each_line_is_a_run_of_bytes_over_the_operations():
    assert drawing(chained(3)) == [
        "     from        to  tensor  operations 0 to 3",
        "        0       100  t0      ##..",
        "      120       230  t1      .##.",
        "        0       120  t2      ..##",
        "                               ^",
        "most bytes are in use at operation 2, 't2': 230 B",
    ]


@pytest.mark.parametrize("count", [1, 5, 43, 44, 45, 90])
def test_long_networks_and_names_stay_within_a_hundred_columns(count):
    lines = drawing(chained(count, "a/very/long/name/of/a/module/and/its/tensor/"))
    assert max(map(len, lines)) <= 100
    assert len(lines) == count + 3


def test_a_network_without_an_arena_has_no_map():
    assert drawing(plan_arena(CNetwork((X,), (Y,), (operation([Y], [X]),)))) == []


def test_the_numbers_are_json():
    found = as_mapping(chained(3))
    assert json.loads(json.dumps(found)) == found
    assert found["is_least"]
    assert found["regions"] == [{"element_bytes": 2, "start": 0, "bytes": 230}]
    assert found["peak"] == {"operation": "t2", "tensors": {"t1": 110, "t2": 120}}
    assert found["blocks"][0] == {"name": "t0", "offset": 0, "bytes": 100, "first": 0, "last": 1}
