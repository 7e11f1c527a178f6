"""TopK, and elements at computed indices, in C beside the reference."""

import numpy as np
from deploy.c.lowerings.element_cases import IMAGES, case, image_weights
from deploy.c.lowerings.elements.test_integers import ends, folder, integers
from deploy.c.running import SANITIZED, differences, needs_gcc

pytestmark = needs_gcc

SHAPE = [2, 3, 4, 5]


def of_images(node, indices, constants=None, number=0):
    """Return a case of an operator on the result of a convolution, with computed indices."""
    session, runs = case(
        [IMAGES, node],
        {"x": SHAPE, "i": (indices.dtype, indices.shape)},
        {**image_weights(3, 3), **(constants or {})},
        number=number,
    )
    return session, [{**one, "i": indices} for one in runs]


def test_top(tmp_path):
    """Every axis, both orders, many equal elements, with values, places, or both; and of each type of integers."""
    cases = []
    for number in range(8):
        outputs = ("y p", "y -", "- p")[number % 3]
        names = tuple(name for name in outputs.split() if name != "-")
        node = ("TopK", "z k", outputs, {"axis": number % 4 - 2, "largest": number % 2})
        constants = {"k": np.array([number % 2 + 1]), **image_weights(3, 3)}
        cases.append(case([IMAGES, node], {"x": SHAPE}, constants, names, number=number, qformat="Q2.1"))
    for dtype in (np.int64, np.uint8, np.int32):
        x = ends(dtype, (3, 6), 1)
        x[:, 3] = x[:, 1]
        cases.append(integers([("TopK", "x k", "y p")], {"x": x}, {"k": np.array([6])}, ("y", "p")))
    assert differences(cases, tmp_path) == []


def test_computed_indices(tmp_path):
    """Elements, slices and sequences, with indices from both ends."""
    draws = np.random.default_rng(2)
    cases = []
    for axis in range(4):
        lengths = [n if a == axis else n - 1 for a, n in enumerate(SHAPE)]
        indices = draws.integers(-SHAPE[axis], SHAPE[axis], lengths).astype((np.int32, np.int64)[axis % 2])
        cases.append(of_images(("GatherElements", "z i", "y", {"axis": axis}), indices, number=axis))
    for batch, named, lead in ((0, 1, (3,)), (0, 4, (2, 2)), (1, 2, (2, 3)), (2, 1, (2, 3)), (0, 2, ())):
        lengths = SHAPE[batch : batch + named]
        indices = np.stack([draws.integers(-n, n, lead) for n in lengths], axis=-1)
        cases.append(of_images(("GatherND", "z i", "y", {"batch_dims": batch}), indices, number=batch))
    for time in (0, 1):
        indices = np.array([SHAPE[time], 1, 0][: SHAPE[1 - time]])
        node = ("ReverseSequence", "z i", "y", {"time_axis": time, "batch_axis": 1 - time})
        cases.append(of_images(node, indices))
    assert differences(cases[::3], folder(tmp_path), SANITIZED) + differences(cases, tmp_path) == []
