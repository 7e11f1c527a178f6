"""Cases of steps on plain buffers: one table for each family, checked in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from runtime.native.native import both


class PlainCase(NamedTuple):
    """A model, its feeds, and the kernel that must run; with a tolerance relative to the largest number."""

    model: bytes
    feeds: Mapping[str, Any]
    kernel: str
    tolerance: float = 0.0
    options: Mapping[str, Any] = {}


def check(case: PlainCase, isa: str, threads: int) -> None:
    """Check that native kernels alone run, the right one among them, and give what the reference gives."""
    got, want, kernels = both(case.model, case.feeds, isa, threads, **case.options)
    assert case.kernel in kernels, kernels
    assert not [name for name in kernels if name.startswith("reference")], kernels
    for a, b in zip(got, want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if case.tolerance and a.dtype.kind == "f":
            largest = float(np.abs(b[np.isfinite(b)]).max(initial=0))
            np.testing.assert_allclose(a, b, rtol=0, atol=case.tolerance * max(largest, 1e-30))
        else:
            np.testing.assert_array_equal(a, b)
