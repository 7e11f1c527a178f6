"""Reading of values from files in tests."""

import numpy as np
import pytest
from PIL import Image

from qengine.data.preprocessing import Preprocessing
from qengine.data.read import read_value
from qengine.errors import FeedError
from qengine.model.graph import Value

PIXELS = np.random.default_rng(2).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def read(text, dtype=np.float32, shape=None, scale=Preprocessing(), **options):  # noqa: B008
    declared = Value("x", None if dtype is None else np.dtype(dtype), shape)
    return read_value(str(text), declared, scale, **options)


def refused(text, reason, *given, **options):
    with pytest.raises(FeedError) as caught:
        read(text, *given, **options)
    message = str(caught.value)
    assert message.startswith("input 'x': ")
    assert reason in message
    assert "\n" not in message


def saved(tmp_path, content, suffix=".npy"):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    return path


def pictured(tmp_path, pixels=PIXELS):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"
