"""The cell of an LSTM: its word length."""

import numpy as np
import pytest
from model.eager.test_recurrent_fixed import Node

import qengine
from qengine import QFormat


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_the_cell_has_16_bits(bits):
    node = Node("LSTM", given="b")
    formats = qengine.calibrate(node.model, [node.feeds], bits=bits)
    found = {name: QFormat.parse(fmt).bits for name, fmt in formats.items() if isinstance(fmt, str)}
    assert found["y (cell)"] == found["c"] == 16
    assert found["x"] == found["y"] == found["h"] == found["y (gates)"] == bits
    session = qengine.InferenceSession(node.model, formats=formats, strict=True)
    assert np.isfinite(session.run(None, node.feeds)[0]).all()
