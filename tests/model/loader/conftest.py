import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "model"
    inner.mkdir()
    (inner / "w.bin").write_bytes(np.arange(10, dtype=np.float32).tobytes())
    (tmp_path / "secret.bin").write_bytes(bytes(40))
    return inner
