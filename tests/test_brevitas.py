"""Networks that Brevitas trained in 4 bits: the codes of torch, in integers, and those of a fresh export.

`tests/golden/make_brevitas.py` trained and exported them; accuracy on held-out digits was 79.0 % and 73.5 %.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from qengine import InferenceSession

FOLDER = Path(__file__).parent / "golden" / "brevitas"


@pytest.mark.parametrize("isa", ["reference", None])
@pytest.mark.parametrize("name", ["integer_bias", "float_bias"])
def test_a_trained_network_has_the_codes_of_torch(name, isa):
    golden = np.load(FOLDER / f"{name}.npz")
    session = InferenceSession(FOLDER / f"{name}.qonnx.onnx", isa=isa, strict=True)
    feeds = {session.get_inputs()[0].name: golden["x"]}
    np.testing.assert_array_equal(session.run(None, feeds, raw=True)[0], golden["codes"], strict=True)
    np.testing.assert_array_equal(session.run(None, feeds)[0], golden["y"], strict=True)
    assert not [event for event in session.trace(feeds) if event.tensor.format is None]
    assert {fmt.bits for fmt in session.formats.values()} == {4, 6, 8}  # 6: the average, before 2 bits are dropped


def test_a_network_in_pairs_with_clips_has_the_codes_of_onnx_runtime():
    """QCDQ of the same network; Brevitas writes its average with another rounding there, so not those of torch."""
    path, golden = FOLDER / "integer_bias.qcdq.onnx", np.load(FOLDER / "integer_bias.npz")
    session = InferenceSession(path, strict=True)
    feeds = {session.get_inputs()[0].name: golden["x"]}
    expected = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)
    np.testing.assert_array_equal(session.run(None, feeds)[0], expected[0], strict=True)
    assert {fmt.bits for fmt in session.formats.values()} == {4, 8}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["qonnx", "qcdq"])
def test_a_fresh_export_has_the_codes_of_torch(kind, tmp_path, monkeypatch):
    pytest.importorskip("brevitas", reason="the package brevitas, which trains in few bits, is not installed")
    pytest.importorskip("onnxoptimizer", reason="the package onnxoptimizer, which brevitas exports with, is missing")
    import torch
    from golden.make_brevitas import classifier, exported

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(7)
    network = classifier(has_average=kind == "qonnx")
    images = torch.rand(4, 1, 28, 28)
    network.train()
    network(images)
    network.eval()
    model, values, codes = exported(network, images, kind)
    for isa in ("reference", None):
        session = InferenceSession(model, isa=isa, strict=True)
        feeds = {session.get_inputs()[0].name: images.numpy()}
        np.testing.assert_array_equal(session.run(None, feeds)[0], values)
        np.testing.assert_array_equal(session.run(None, feeds, raw=True)[0], codes)
