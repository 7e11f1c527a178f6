"""Files of outputs in float32 and of histograms: a damaged one is made again, or ends the sweep with one line."""

from contextlib import suppress

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine.analysis.sweep import Grid
from qengine.analysis.sweep.shared_results import Float32Outputs, float32_path, histograms_path, load_histograms
from qengine.errors import SweepError
from qengine.model.loader import load


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the folder, the key and the model of a small sweep."""
    folder = tmp_path_factory.mktemp("swept")
    model = network([("Gemm", "x w", "y")], inputs={"x": ["N", 3]}, constants={"w": weights(3, 4, seed=1)})
    (folder / "m.onnx").write_bytes(model)
    np.savez(folder / "d.npz", x=weights(4, 3, seed=2))
    found = qengine.sweep(str(folder / "m.onnx"), folder / "out", Grid(bits=[4]), data=str(folder / "d.npz"))
    return folder / "out" / "observed", found.rows[0].sweep, load(model)


def damaged(data):
    """Yield a file with each byte flipped, and cut at every fifth."""
    for i in range(len(data)):
        yield data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :]
        yield data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]
        if i % 5 == 0:
            yield data[:i]


@pytest.mark.parametrize("kind", ["float32", "histograms"])
def test_every_damaged_byte_is_one_error_or_does_no_harm(swept, kind):
    folder, key, graph = swept
    path = float32_path(folder, key) if kind == "float32" else histograms_path(folder, key, None)

    def read():
        if kind == "float32":
            return [{name: array.tolist() for name, array in run.items()} for run in Float32Outputs(path, key)]
        found = load_histograms(folder, key, None, graph)
        return {name: repr(vars(one)) for name, one in found.histograms.items()}

    data, refused = path.read_bytes(), 0
    whole = read()
    try:
        for broken in damaged(data):
            path.write_bytes(broken)
            with suppress(SweepError):
                refused += 1
                assert read() == whole
                refused -= 1
    finally:
        path.write_bytes(data)
    assert refused > len(data)
