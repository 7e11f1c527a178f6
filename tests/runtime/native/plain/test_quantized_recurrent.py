"""DynamicQuantizeLSTM on native kernels.

A state that lies near the middle of two codes may be rounded to either, as float32 differs from the reference's
float64; the state of the next step then differs by up to the step between two codes.
"""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS, both

from qengine import InferenceSession


def case(*, time=6, batch=3, size=7, hidden=19, kind=np.int8, by_column=False, given="bhc", keep="y h c", **attributes):
    rng = np.random.default_rng([time, batch, hidden])
    n = 2 if attributes.get("direction") == "bidirectional" else 1
    limits = np.iinfo(kind)

    def real(*shape):
        return rng.uniform(-0.6, 0.6, shape).astype(np.float32)

    def codes(*shape):
        return rng.integers(limits.min, limits.max + 1, shape).astype(kind)

    columns = (n, 4 * hidden) if by_column else (n,)
    constants = {"w": codes(n, size, 4 * hidden), "r": codes(n, hidden, 4 * hidden)}
    for name in "wr":
        constants[f"{name}s"] = (0.002 * (1 + rng.random(columns))).astype(np.float32)
        constants[f"{name}z"] = rng.integers(0, 5, columns).astype(kind) + kind(0 if kind == np.int8 else 120)
    constants |= {"b": real(n, 8 * hidden)} if "b" in given else {}
    constants |= {"p": real(n, 3 * hidden)} if "p" in given else {}
    feeds = {"x": 2 * real(time, batch, size)}
    feeds |= {f"{name}0": real(n, batch, hidden) for name in "hc" if name in given}
    order = ["x", "w", "r", "b", "lens", "h0", "c0", "p", "ws", "wz", "rs", "rz"]
    names = " ".join(name if name in constants | feeds else "-" for name in order)
    outputs = [name if name in keep.split() else "-" for name in "yhc"]
    model = network(
        [("com.microsoft.DynamicQuantizeLSTM", names, " ".join(outputs), {"hidden_size": hidden, **attributes})],
        inputs={name: list(array.shape) for name, array in feeds.items()},
        outputs=[name for name in outputs if name != "-"],
        constants=constants,
    )
    return model, feeds


CASES = {
    "signed": case(),
    "unsigned, in both directions": case(kind=np.uint8, direction="bidirectional", given="bhcp"),
    "backwards, by columns": case(by_column=True, direction="reverse", size=8, hidden=32, batch=1),
    "coupled gates and bounds": case(given="b", input_forget=1, clip=0.4, batch=9),
    "tiles of rows that overlap": case(given="bc", batch=5),
    "last states alone": case(given="", keep="c", time=1),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_native_is_near_the_reference(case, isa):
    got, want, kernels = both(*case, isa)
    assert "start_reals" in kernels
    assert not [name for name in kernels if name.startswith("reference")], kernels
    for a, b in zip(got, want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        differs = np.abs(a - b)
        assert differs.max() < 2e-2
        assert np.median(differs) < 1e-6


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_give_the_same(threads):
    model, feeds = CASES["unsigned, in both directions"]
    (want, *_), (got, *_) = (InferenceSession(model, threads=n).run(None, feeds) for n in (1, threads))
    np.testing.assert_array_equal(got, want)


def test_a_missing_number_reaches_everything():
    model, feeds = case(given="b", keep="y")
    feeds["x"][2, 1, 3] = np.nan
    for isa in (ISAS[0], "reference"):
        (y,) = InferenceSession(model, isa=isa).run(None, feeds)
        assert np.isnan(y).all()
