"""DynamicQuantizeLSTM against ONNX Runtime."""

import numpy as np
import pytest
from model.contrib.cases import Draws, RuntimeCase, each, refused

from qengine.errors import ModelError

DRAWS = Draws(22)
STEPS, BATCH, SIZE, HIDDEN = 5, 3, 3, 4
CONSTANTS = (1, 2, 8, 9, 10, 11)


def lstm(direction="forward", *, dtype=np.int8, per_channel=False, lens=None, bias=True, states=False, **attributes):
    """Return a case; `states` says whether the first states and the peepholes are given."""
    n = 2 if direction == "bidirectional" else 1
    columns = (n, 4 * HIDDEN) if per_channel else (n,)
    scales = [np.float32(0.01) * np.abs(DRAWS.real(*columns)) for _ in range(2)]
    zeros = [np.full(columns, 0 if dtype is np.int8 else 120 + k, dtype) for k in range(2)]
    inputs = (
        DRAWS.real(STEPS, BATCH, SIZE),
        DRAWS.codes(dtype, n, SIZE, 4 * HIDDEN),
        DRAWS.codes(dtype, n, HIDDEN, 4 * HIDDEN),
        DRAWS.real(n, 8 * HIDDEN) if bias else None,
        None if lens is None else np.array(lens, np.int32),
        *[DRAWS.real(n, BATCH, HIDDEN) if states else None for _ in range(2)],
        DRAWS.real(n, 3 * HIDDEN) if states else None,
        scales[0], zeros[0], scales[1], zeros[1],
    )  # fmt: skip
    given = {"hidden_size": HIDDEN, "direction": direction, **attributes}
    return RuntimeCase("DynamicQuantizeLSTM", inputs, given, (True, True, True), constants=CONSTANTS)


CASES = [
    *(
        lstm(direction, dtype=dtype, per_channel=dtype is np.uint8, lens=lens, states=lens is None)
        for direction in ("forward", "reverse", "bidirectional")
        for dtype in (np.int8, np.uint8)
        for lens in (None, [5, 3, 1], [2, 0, 4])
    ),
    lstm(bias=False),
    lstm(clip=0.5),
    lstm(input_forget=1),
    lstm(activations=["HardSigmoid", "Relu", "Softsign"], activation_alpha=[0.3], activation_beta=[0.4]),
]


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


def changed(place, array):
    inputs = list(lstm().inputs)
    inputs[place] = array
    attributes = {"hidden_size": HIDDEN}
    return RuntimeCase("DynamicQuantizeLSTM", tuple(inputs), attributes, (True,), constants=CONSTANTS)


REFUSED = {
    "W": (changed(1, np.zeros((1, SIZE, 3), np.int8)), "W has the shape"),
    "R": (changed(2, np.zeros((1, 5, 16), np.int8)), "hidden_size is 4"),
    "type": (changed(1, np.zeros((1, SIZE, 16), np.int16)), "int16"),
    "B": (changed(3, np.zeros((1, 16), np.float32)), "B has the shape"),
    "lens": (changed(4, np.array([6, 1, 1], np.int32)), "sequence_lens"),
    "scale": (changed(8, np.ones((1, 3), np.float32)), "W_scale"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_inputs_that_do_not_fit(kind):
    case, word = REFUSED[kind]
    refused(case, word, error=ModelError)
