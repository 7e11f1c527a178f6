"""ONNX Runtime executed: models of codes have the codes that qengine has by default, fused or node by node."""

import pytest
from targets.devices import qdq
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare, networks

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.parametrize("optimized", [False, True], ids=["node by node", "fused"])
def test_codes_are_onnx_runtime_s(optimized):
    entry, count = CATALOGUE["onnx"], Count()
    for name, network, feeds in networks(entry.limits, seeds=4, stream=2):
        executed = qdq.run(network, feeds, entry.device.constant_codes(network), optimized)
        compare(count, name, network, feeds, executed, "onnx")
    assert count.compared > 4000
    assert not count.differing, "\n".join(count.where)
