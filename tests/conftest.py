"""The suite tests the reference, which defines every bit; tests/runtime/native holds the native kernels against it."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("QENGINE_ISA", "reference")
os.environ.pop("QENGINE_PROJECT", None)  # a project of the user is none of the tests'
os.environ.pop("COLUMNS", None)  # workers of xdist have that of the terminal
# Not the user's: what tests compile goes with the checkout.
os.environ.setdefault("QENGINE_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "kernels"))


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch):
    """What a test, or an example of the documentation, registers is gone after it."""
    from qengine.model.ops import operator

    monkeypatch.setattr(operator, "_registered", {})
