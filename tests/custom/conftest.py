"""What a test registers is gone after it."""

import pytest

from qengine.ops import operator


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch):
    monkeypatch.setattr(operator, "_registered", {})
