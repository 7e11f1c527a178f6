"""Functions of integers in C beside the reference: every type, bits, shifts, remainders, powers, and what wraps."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import case, mixed_formats
from deploy.c.running import SANITIZED, differences, needs_gcc
from networks import network

from qengine import InferenceSession
from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError

pytestmark = needs_gcc

TYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


def ends(dtype, shape, seed):
    """Random integers, with the ends of their type."""
    info = np.iinfo(dtype)
    found = np.random.default_rng(seed).integers(info.min, info.max, shape, dtype, endpoint=True)
    found.flat[:4] = info.min, info.max, 0, 1
    return found


def folder(path):
    """Return a folder in another."""
    (path / "sanitized").mkdir()
    return path / "sanitized"


def integers(nodes, inputs, constants=None, outputs=("y",), opset=20):
    """Return a session of integers and one run, beside which a real number is quantized."""
    given = {name: (array.dtype, array.shape) for name, array in inputs.items()}
    model = network(nodes, inputs=given, constants=constants, outputs=outputs, opset=opset)
    return InferenceSession(model, qformat="Q3.4", isa="reference"), [inputs]


def test_every_type(tmp_path):
    """All functions of each type, of computed and constant operands, together in a network."""
    cases = []
    for number, dtype in enumerate(TYPES):
        x, z = ends(dtype, (3, 4), number), ends(dtype, (4,), number + 50)
        divisor = np.where(z == 0, np.array(3, dtype), z)
        by = np.random.default_rng(number).integers(0, 8 * np.dtype(dtype).itemsize + 2, 4).astype(dtype)
        nodes = [(name, "x z", name.lower()) for name in ("Add", "Sub", "Mul", "Equal", "Less", "GreaterOrEqual")]
        nodes += [(name, "x z", name.lower()) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "Max", "Min")]
        nodes += [("BitwiseNot", "x", "inverted"), ("Neg", "x", "opposite"), ("Abs", "x", "magnitude")]
        nodes += [("Sign", "x", "sign"), ("Pow", "x e", "cube"), ("Relu", "x", "positive")]
        nodes += [("Div", "x d", "quotient"), ("Div", "x k", "constant"), ("Mod", "x d", "rest")]
        nodes += [("Mod", "x d", "cut", {"fmod": 1}), ("BitShift", "x s", "left", {"direction": "LEFT"})]
        nodes += [("BitShift", "x s", "right", {"direction": "RIGHT"})]
        constants = {"k": divisor, "e": np.array(3, dtype)}
        names = [output for _, _, output, *_ in nodes]
        known = {"Neg": dtype in TYPES[::2], "Relu": dtype in TYPES[::2], "BitShift": dtype in TYPES[1::2]}
        known["Pow"] = np.dtype(dtype).itemsize >= 4
        kept = [one for one in nodes if known.get(one[0], True)]
        wanted = [output for _, _, output, *_ in kept if output in names]
        cases.append(integers(kept, {"x": x, "z": z, "d": divisor, "s": by}, constants, wanted))
    assert differences(cases, tmp_path, SANITIZED) == []


def test_remainders_of_codes(tmp_path):
    """The remainder of codes of different formats, which is exact, under every rounding."""
    cases = []
    for number in range(24):
        formats = mixed_formats(["a", "b", "y"], number)
        one = case([("Mod", "a b", "y", {"fmod": 1})], {"a": [3, 4], "b": [4]}, formats=formats, number=number)
        sign = 1 if formats["b"].startswith("U") else -1
        runs = [{"a": f["a"], "b": np.float32([0.7, 0.8, 0.9, 0.7 * sign])} for f in one[1]]  # none is 0 in its format
        try:
            network_of(one[0], runs[0])
        except UnsupportedError as error:
            assert "closer formats" in str(error)  # noqa: PT017
            continue
        cases.append((one[0], runs))
    assert len(cases) > 12
    assert differences(cases, tmp_path) == []


@pytest.mark.parametrize(
    ("dtype", "exponent", "message"),
    [
        (np.int32, np.float32(0.5), "are real numbers"),
        (np.int32, np.array(-1), "are real numbers"),
        (np.uint64, np.array(2), "are real numbers"),
        (np.int32, np.array(1 << 40), "do not fit"),
    ],
)
def test_powers_that_are_refused(dtype, exponent, message):
    """What NumPy computes in real numbers is an error."""
    session, (feeds,) = integers([("Pow", "x e", "y")], {"x": np.arange(3, dtype=dtype)}, {"e": exponent})
    with pytest.raises(UnsupportedError, match=f"Pow 'the_y': .*{message}"):
        network_of(session, feeds)
