"""Cases of steps on plain buffers: one table for each family, checked in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest
from runtime.native.native import ISAS, both


class PlainCase(NamedTuple):
    """A model, its feeds, and the kernel that must run; with a tolerance relative to the largest number."""

    model: bytes
    feeds: Mapping[str, Any]
    kernel: str
    tolerance: float = 0.0
    options: Mapping[str, Any] = {}


def on_isas(cases: Mapping[str, PlainCase]) -> list[Any]:
    """Cases and instruction sets for a test.

    Each case is tried on every instruction set. Of the cases of a kernel in Python, which is the same code for all, and
    takes a second to compile for each, only the first one is tried on other instruction sets than the best.
    """
    tried, found = set(), []
    for name, case in cases.items():
        module = f"qengine.kernels.emit.{case.kernel}"
        is_python = find_spec(module) is not None and hasattr(import_module(module), "python_kernel")
        isas = ISAS[:1] if is_python and case.kernel in tried else ISAS
        found += [pytest.param(case, isa, id=f"{name}-{isa}") for isa in isas]
        tried.add(case.kernel)
    return found


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
