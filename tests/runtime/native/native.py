"""Runs of a model on native kernels and on the reference, whose results must be equal."""

from __future__ import annotations

import numpy as np
import pytest

from qengine import InferenceSession
from qengine.errors import ModelError
from qengine.kernels.isa import available
from qengine.runtime.native.executor import NativeSegment

ISAS = [isa.name for isa in available()]

Arrays = list[np.ndarray]


def kernels(session: InferenceSession, feeds) -> list[str]:
    """Names of the kernels of a run, and "reference: reason" for each step that the reference computes."""
    executor = session.executor(session.plan(session.check_feeds(feeds)), raw=True)
    assert executor.isa.name in ISAS
    found = []
    for part in executor.parts:
        if isinstance(part, NativeSegment):
            assert part.compiled.program.isa is executor.isa
            found += [op.kernel for op in part.ops]
        elif hasattr(part, "reason"):
            found.append(f"reference: {part.reason}")
    return found


def both(model, feeds, isa: str, threads: int = 1, names=None, **options) -> tuple[Arrays, Arrays, list[str]]:
    """Outputs on native kernels, outputs on the reference (codes in fixed point), and names of the kernels."""
    native = InferenceSession(model, isa=isa, threads=threads, **options)
    reference = InferenceSession(model, isa="reference", **options)
    raw = bool(options)
    got, want = native.run(names, feeds, raw=raw), reference.run(names, feeds, raw=raw)
    again = native.run(names, feeds, raw=raw)  # buffers are used again
    for first, second in zip(got, again, strict=True):
        np.testing.assert_array_equal(first, second)
    return got, want, kernels(native, feeds)


def error_of_both(model, feeds) -> str:
    """Message of the error of a run, which is the same on native kernels and on the reference."""
    messages = []
    for isa in (ISAS[0], "reference"):
        with pytest.raises(ModelError) as caught:
            InferenceSession(model, isa=isa).run(None, feeds)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    return messages[0]


def assert_same(got: Arrays, want: Arrays) -> None:
    """Codes are equal; floats differ by rounding alone, 1e-5 of the largest number at most, 1e-3 in float16."""
    for a, b in zip(got, want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if a.dtype in (np.float32, np.float16):
            step = 1e-5 if a.dtype == np.float32 else 1e-3
            np.testing.assert_allclose(a, b, rtol=0, atol=step * max(1.0, float(np.abs(b).max(initial=0))))
        else:
            np.testing.assert_array_equal(a, b)
