"""Fixtures of models, each made once a session."""

from __future__ import annotations

from pathlib import Path

import benchmark_networks
import numpy as np
import pytest


@pytest.fixture(scope="session")
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, np.ndarray]]:
    """The file and the feeds of the model that a test names; SRCNN enlarges 256x256 to 768x768."""
    return benchmark_networks.prepared(request.param, tmp_path_factory.mktemp("models"))
