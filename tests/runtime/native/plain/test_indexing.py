"""Elements that are read and written at computed indices, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

from qengine import InferenceSession
from qengine.errors import ModelError


def case(operator, kernel, opset=18, tolerance=0.0, attributes=None, **arrays):
    names = " ".join(arrays)
    inputs = {name: (array.dtype, list(array.shape)) for name, array in arrays.items()}
    model = network([(operator, names, "y", attributes or {})], inputs=inputs, opset=opset)
    return PlainCase(model, arrays, kernel, tolerance)


def values(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind != "f":
        return rng.integers(0, 100, shape).astype(dtype)
    x = rng.normal(size=shape).astype(dtype)
    if x.ndim and x.shape[0] > 2:
        x[0], x[-1] = np.nan, np.inf
    return x


def places(shape, length, dtype=np.int64):
    return np.random.default_rng(7).integers(-length, length, shape).astype(dtype)


def elements(shape, indices, axis, dtype=np.float32, index=np.int64):
    i = places(indices, shape[axis], index)
    return case("GatherElements", "PickElements", data=values(dtype, shape), i=i, attributes={"axis": axis})


def scattered(shape, indices, axis, reduction="none", dtype=np.float32, index=np.int64, operator="ScatterElements"):
    i, u = places(indices, shape[axis], index), values(dtype, indices, 1)
    attributes = {"axis": axis} | ({"reduction": reduction} if operator == "ScatterElements" else {})
    opset = 10 if operator == "Scatter" else 18
    data = values(dtype, shape)
    return case(operator, "PutElements", opset, 1e-6, attributes, data=data, i=i, u=u)


def tuples(shape, indices, batch=0, dtype=np.float32, index=np.int64):
    count = indices[-1]
    i = np.stack([places(indices[:-1], n, index) for n in shape[batch : batch + count]], -1)
    return case("GatherND", "PickSlices", data=values(dtype, shape), i=i, attributes={"batch_dims": batch})


def slices(shape, indices, reduction="none", dtype=np.float32, index=np.int64):
    count = indices[-1]
    i = np.stack([places(indices[:-1], n, index) for n in shape[:count]], -1)
    u = values(dtype, (*indices[:-1], *shape[count:]), 1)
    return case("ScatterND", "PutSlices", 18, 1e-6, {"reduction": reduction}, data=values(dtype, shape), i=i, u=u)


CASES = {
    "elements along the first axis": elements((5, 4, 3), (7, 4, 3), 0),
    "elements along the last axis": elements((5, 4, 3), (5, 4, 9), -1),
    "elements of a part of the data": elements((5, 4, 3), (2, 6, 2), 1),
    "elements of a vector": elements((9,), (4,), 0, index=np.int32),
    "elements of float16": elements((5, 4), (2, 4), 0, np.float16),
    "elements of int64": elements((5, 4), (5, 2), 1, np.int64),
    "truth values": elements((5, 4), (5, 2), 1, np.bool_),
    "scattered along the first axis": scattered((5, 4, 3), (7, 4, 3), 0),
    "scattered along the last axis": scattered((5, 4, 3), (5, 4, 9), -1, index=np.int32),
    "scattered into a part of the data": scattered((5, 4, 3), (2, 6, 2), 1),
    "Scatter": scattered((5, 4), (3, 4), 0, operator="Scatter"),
    "scattered bytes": scattered((5, 4), (3, 4), 0, dtype=np.uint8),
    **{f"scattered {name}": scattered((5, 4), (30, 4), 0, name) for name in ("add", "mul", "max", "min")},
    "scattered int32 mul": scattered((5, 4), (30, 4), 0, "mul", np.int32),
    "scattered int64 max": scattered((5, 4), (30, 4), 0, "max", np.int64),
    "tuples": tuples((5, 4, 3), (6, 2)),
    "tuples of all axes": tuples((5, 4, 3), (2, 6, 3)),
    "tuples of one index": tuples((5, 4, 3), (6, 1)),
    "one tuple": tuples((5, 4, 3), (2,)),
    "tuples in batches": tuples((2, 3, 5, 4), (2, 3, 6, 1), 2),
    "tuples of int8": tuples((5, 4, 3), (6, 2), dtype=np.int8),
    "slices": slices((5, 4, 3), (6, 1)),
    "slices at pairs": slices((5, 4, 3), (3, 3, 2)),
    "single elements": slices((5, 4), (9, 2)),
    **{f"slices {name}": slices((5, 4, 3), (9, 1), name) for name in ("add", "mul", "max", "min")},
    "slices of int32": slices((5, 4, 3), (9, 2), "add", np.int32),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_native_equals_the_reference(case):
    check(case, ISAS[0], threads=1)


@pytest.mark.parametrize("isa", ISAS[1:])
@pytest.mark.parametrize("name", ["elements of a part of the data", "slices add"])
def test_every_instruction_set(name, isa):
    check(CASES[name], isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(
    "made", [elements((90, 80), (90, 70), 1), scattered((90, 80), (90, 70), 1), tuples((50, 9), (4000, 1))]
)
def test_any_number_of_threads_gives_the_same(made, threads):
    check(made, ISAS[0], threads)


WRONG = {
    "elements": (elements((5, 4), (3, 4), 0), (1, 2), 5),
    "elements from the back": (elements((5, 4), (3, 4), 0), (1, 2), -6),
    "scattered": (scattered((5, 4), (3, 4), 0, "add"), (0, 0), 9),
    "tuples, first axis": (tuples((5, 4, 3), (6, 2)), (2, 0), 5),
    "tuples, second axis": (tuples((5, 4, 3), (6, 2)), (2, 1), -5),
    "slices": (slices((5, 4, 3), (6, 1)), (3, 0), 2**40),
}


@pytest.mark.parametrize(("made", "where", "index"), WRONG.values(), ids=WRONG.keys())
def test_an_index_out_of_range(made, where, index):
    feeds = dict(made.feeds)
    feeds["i"] = made.feeds["i"].copy()
    feeds["i"][where] = index
    messages = []
    for isa in (ISAS[0], "reference"):
        session = InferenceSession(made.model, isa=isa)
        with pytest.raises(ModelError, match="outside of") as caught:
            session.run(None, feeds)
        messages.append(str(caught.value))
        session.run(None, made.feeds)
    assert messages[0] == messages[1]
