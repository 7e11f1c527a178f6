"""Elements written at indices in C beside the reference: one format and several, every reduction, constant indices."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import IMAGES, case, image_weights, mixed_formats
from deploy.c.lowerings.elements.test_integers import ends, folder, integers
from deploy.c.running import SANITIZED, differences, needs_gcc

from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError

pytestmark = needs_gcc

SHAPE = [2, 3, 4, 5]
DRAWS = np.random.default_rng(4)
ALONG = DRAWS.integers(-4, 4, (2, 2, 6, 3))
ROWS = np.stack([DRAWS.integers(-n, n, (4,)) for n in SHAPE[:2]], axis=-1)


def scattered(operator, indices, updates, reduction, number, formats=None, is_constant=False):
    """Return a case of an operator that writes to the result of a convolution."""
    attributes = {"axis": 2} if operator == "ScatterElements" else {}
    node = (operator, "z i u", "y", {**attributes, "reduction": reduction})
    inputs = {"x": SHAPE, "u": updates, "i": (np.int64, indices.shape)}
    constants = image_weights(3, 3)
    if is_constant:
        del inputs["i"]
        constants["i"] = indices
    options = {"formats": formats, "qformat": "Q3.4"} if formats else {}
    session, runs = case([IMAGES, node], inputs, constants, number=number, **options)
    return session, [one if is_constant else {**one, "i": indices} for one in runs]


def test_codes(tmp_path):
    """Places that occur twice, in one format and in several, under every rounding and overflow."""
    cases = []
    for number in range(16):
        reduction = ("none", "add", "max", "min")[number % 4]
        formats = mixed_formats(["z", "u", "y"], number) if number % 3 else None
        is_constant = number % 5 == 0
        one = scattered("ScatterElements", ALONG, list(ALONG.shape), reduction, number, formats, is_constant)
        other = scattered("ScatterND", ROWS, [4, 4, 5], reduction, number, formats, is_constant)
        for session, runs in (one, other):
            try:
                network_of(session, runs[0])
            except UnsupportedError as error:
                assert "closer formats" in str(error)  # noqa: PT017
                continue
            cases.append((session, runs))
    assert len(cases) > 24
    assert differences(cases[:3], folder(tmp_path), SANITIZED) + differences(cases[3:], tmp_path) == []


def test_integers(tmp_path):
    """Every reduction of integers, which wraps, and truth values."""
    cases = []
    for number, reduction in enumerate(("none", "add", "mul", "max", "min")):
        dtype = (np.int64, np.uint8, np.int32)[number % 3]
        given = {"x": ends(dtype, (3, 4), 1), "u": ends(dtype, (2, 4), 2), "i": np.array([[0, 1, 2, -1]] * 2)}
        cases.append(integers([("ScatterElements", "x i u", "y", {"reduction": reduction})], given))
    given = {"x": np.zeros((3, 4), bool), "u": np.ones((2, 4), bool), "i": np.array([[0, 1, 2, -1]] * 2)}
    cases.append(integers([("ScatterElements", "x i u", "y")], given))
    assert differences(cases, tmp_path) == []


def test_assigned_slices_are_loops(tmp_path):
    """The indices of x[..., ::2] = u are regular, and need no table; those that occur twice do."""
    places = np.stack(np.meshgrid([0, 1], [2], np.arange(0, 4, 2), np.arange(1, 5, 2), indexing="ij"), axis=-1)
    twice = np.array([[0, 1], [0, 1], [1, 2]])
    cases = [
        scattered("ScatterND", places, list(places.shape[:-1]), "none", 0, is_constant=True),
        scattered("ScatterND", twice, [3, 4, 5], "none", 1, is_constant=True),
    ]
    kernels = [[c.kernel for c in network_of(session, runs[0]).operations[-1].calls] for session, runs in cases]
    assert kernels[0][-2:] == ["copy", "rearrange"]
    assert kernels[1][-1] == "scatter_slices"
    assert differences(cases, tmp_path) == []


def test_real_constants_and_unpooling(tmp_path):
    """Updates that are constants have the codes of the output; MaxUnpool takes the places of a MaxPool."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [("MaxPool", "x", "p i", pool), ("MaxUnpool", "p i", "y", pool)]
    constants = {"i": np.array([[1], [0]]), "u": np.array([[1.3, -2.7], [99, -99]], np.float32)}
    cases = [
        case(nodes, {"x": [1, 2, 4, 6]}),
        case([("ScatterND", "x i u", "y")], {"x": [3, 2]}, constants, number=3),
    ]
    assert differences(cases, tmp_path, SANITIZED) == []


def test_refused_by_name():
    """Products of real numbers one after the other are an error."""
    session, runs = scattered("ScatterND", ROWS, [4, 4, 5], "mul", 0)
    with pytest.raises(UnsupportedError, match="ScatterND 'the_y': it multiplies real numbers"):
        network_of(session, runs[0])
