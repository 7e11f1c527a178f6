"""Random graphs, written as quantized models and read back: the same formats, the same codes."""

import numpy as np
import pytest
from random_graphs import OPERATORS, random_case

import qengine
from qengine.qformat import QFormat
from qengine.quantization.qdq import quantized_model

GRAPHS, CHUNK = 5 * len(OPERATORS), 40


def stored(text):
    """Return a format of as many fraction bits in 8 or 16 bits."""
    form = QFormat.parse(text)
    bits = 8 if form.bits <= 8 else 16
    return QFormat(bits - form.signed - form.fraction_bits, form.fraction_bits, form.signed)


@pytest.mark.parametrize("start", range(0, GRAPHS, CHUNK))
def test_what_is_written_is_read(start):
    wrong = []
    for seed in range(start, min(start + CHUNK, GRAPHS)):
        case = random_case(seed)
        options = {
            "qformat": stored(case.options["qformat"]),
            "formats": {name: stored(text) for name, text in case.formats.items()},
            "per_channel": case.options["per_channel"],
        }
        session = qengine.InferenceSession(case.model, **options)
        back = qengine.InferenceSession(quantized_model(session))
        trail = f"seed {seed}: {' > '.join(case.trail)}"
        if back.notes or any(session.formats.get(name, form) != form for name, form in back.formats.items()):
            wrong.append(f"{trail}: {back.notes} {session.formats} {back.formats}")
        for theirs, ours in zip(
            session.run(None, case.feeds, raw=True), back.run(None, case.feeds, raw=True), strict=True
        ):
            if theirs.dtype != ours.dtype or not np.array_equal(theirs, ours):
                wrong.append(f"{trail}: other codes")
    assert not wrong, "\n".join(wrong)
