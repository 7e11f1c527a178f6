"""The right cause is named for faults of a device that is written apart from the hypotheses.

`fault_table.py` has all faults at all operators of all networks; here each fault is at one operator.
"""

import pytest
from fault_networks import NETWORKS, branches, digits_like, mobile, residual, srcnn_like
from fault_table import FAULTS, Bench
from faulty_device import Fault

import qengine

AT = {
    "srcnn": (
        srcnn_like,
        "r1",
        (
            "rounding floor",
            "rounding tflite",
            "bias missing",
            "bias 8 bits",
            "activation missing",
            "padding of the edge",
        ),
    ),
    "srcnn y": (
        srcnn_like,
        "y",
        ("rounding half_up", "rounding half_away", "rounding trunc", "kernel flipped", "shift +1"),
    ),
    "digits": (digits_like, "r2", ("bound +1", "stride phase", "shift of the next channel", "weights read as OHWI")),
    "residual": (
        residual,
        "c2",
        ("accumulator 14 saturates", "bias after the shift", "input a row late", "overflow wrap"),
    ),
    "residual y": (residual, "y", ("add not aligned", "add aligned first", "add without the second")),
    "mobile": (mobile, "r3", ("dilation ignored", "groups read the next", "input bytes swapped")),
    "mobile y": (mobile, "y", ("groups interleaved", "bias shifted left", "input channels reversed")),
    "branches": (branches, "r2", ("kernel flipped left to right", "input of the frame before")),
    "branches m": (branches, "m", ("padding of 0",)),
    "branches a": (
        branches,
        "a",
        (
            "mean counts pads",
            "input sign",
        ),
    ),
    "branches g": (branches, "g", ("table one off", "table index of the other sign", "table index cut")),
    "branches j": (branches, "j", ("concat order", "concat not rescaled")),
}
RIGHT = {name: causes for name, _, causes in FAULTS}


@pytest.fixture(scope="module")
def benches():
    return {make: Bench(make) for make in NETWORKS}


@pytest.mark.parametrize(
    ("place", "fault"), [(place, fault) for place, (_, _, faults) in AT.items() for fault in faults]
)
def test_the_cause_is_named(benches, place, fault):
    make, tensor, _ = AT[place]
    answer = benches[make].ask(Fault(tensor, fault), RIGHT[fault])
    assert answer is not None, "the fault changes nothing"
    assert answer.is_right, answer.result.sentence
    assert answer.result.explained == 1.0
    assert answer.result.first.tensor == tensor


@pytest.mark.parametrize("make", NETWORKS)
def test_a_device_without_a_fault_is_equal(benches, make):
    bench = benches[make]
    result = qengine.compare(bench.session, bench.frames[1], bench.case.feeds)
    assert result.equal
    assert result.first is None
    assert result.cause is None


def test_what_nothing_explains_is_not_explained(benches):
    bench = benches[srcnn_like]
    codes = {name: array.copy() for name, array in bench.frames[1].items()}
    codes["r2"].reshape(-1)[[5, 100, 333]] += [3, -2, 7]
    result = qengine.compare(bench.session, codes, bench.case.feeds)
    assert not result.equal
    assert result.own == ("r2", "y")
    assert result.cause is None or not result.cause.explains_all
