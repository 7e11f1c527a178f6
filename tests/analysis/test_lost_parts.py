"""Notes of a run, and of an inspection, on parts that lose their signal."""

import re

import numpy as np
import pytest
from joined_heads import APART, CAT, FEEDS, Head
from networks import network, weights

import qengine
from qengine import InferenceSession, calibrate
from qengine.analysis.report import compare

MODEL = APART["an output"].model()
FORMATS = dict(calibrate(MODEL, FEEDS, bits=8).formats)


def notes_of_a_run(model, formats, isa=None, **options):
    fixed = InferenceSession(model, formats=formats, isa=isa, **options)
    return compare(fixed, fixed.in_float32(), FEEDS[0]).notes


@pytest.mark.parametrize("isa", ["reference", None])
@pytest.mark.parametrize(
    ("joined", "note"),
    [
        ("Q10.-3", r"^Q10\.-3 of 'y' \(up to 469\.7\) makes part 's' \(up to 0\.99\) all zeros: try "),
        ("Q9.2", r"^Q9\.2 of 'y' .* leaves 4 steps to part 's' \(up to 0\.99\): try "),
        ("Q9.6", None),
        (None, None),
    ],
)
def test_parts_of_a_join(isa, joined, note):
    found = notes_of_a_run(MODEL, FORMATS if joined is None else {**FORMATS, "y": joined}, isa)
    assert len(found) == (note is not None)
    assert note is None or re.search(note, found[0])


@pytest.mark.parametrize("isa", ["reference", None])
def test_tensors_that_are_all_zeros(isa):
    found = notes_of_a_run(MODEL, {**FORMATS, "s": "Q6.-2"}, isa)
    assert found[0] == "'s' (up to 0.99) is all zeros in its format: give it one with more fraction bits"
    zero = network([("Mul", "x k", "y")], constants={"k": np.float32(0)})  # it is 0 in float32 too
    assert notes_of_a_run(zero, None, isa, qformat="Q4.3") == ()


@pytest.mark.parametrize("isa", ["reference", None])
def test_channels_of_outputs(isa):
    kernel = np.concatenate([weights(4, 3, 1, 1, seed=1, scale=100), weights(2, 3, 1, 1, seed=2, scale=0.1)])
    model = network([("Conv", "x w", "y")], constants={"w": kernel})
    formats = dict(calibrate(model, FEEDS, bits=8, per_channel=True).formats) | {"y": "Q10.-3"}
    (note,) = notes_of_a_run(model, formats, isa)
    assert re.search(r"^Q10\.-3 of 'y' .* makes channels 4\.\.5 of 6 \(up to .*\) all zeros: try 16 bits", note)


def test_an_inspection_knows_the_formats_alone():
    head = Head([CAT, ("Conv", "cat v6", "y")], None, constants={"v6": weights(2, 6, 1, 1, seed=5)})
    formats = dict(calibrate(head.model(), FEEDS, bits=8, method="max", unsigned=False).formats)
    (note,) = [n for n in qengine.inspect_model(head.model(), formats=formats).warnings if "part" in n]
    assert re.search(r"^Q10\.-3 of 'cat' \(up to 1024\) makes part 's' \(up to 1\) all zeros: try 16 bits", note)
    assert not [n for n in qengine.inspect_model(MODEL, formats=FORMATS).warnings if "part" in n]
