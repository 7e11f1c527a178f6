"""hls4ml's own C++ executed: sums in accumulators of several types, element-wise operators, and tables."""

import shutil

import pytest
from targets.devices import hls
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare, networks

pytest.importorskip("hls4ml", reason="hls4ml is not installed")
if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

KINDS = ("conv", "depthwise", "dense", "add", "sub", "mul", "average")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulator", [None, (16, 10), (20, 6)], ids=["exact", "ap_fixed<16,6>", "ap_fixed<20,14>"])
def test_codes_are_hls4ml_s(accumulator, tmp_path):
    device, model, rules = hls.Hls4ml(accumulator), Count(), Count()
    cases = list(networks(CATALOGUE["hls4ml"].limits, 4, stream=4, kinds=(*KINDS, "sigmoid", "tanh")))
    executed = hls.run([case[1:] for case in cases], accumulator, tmp_path)
    given = {"accumulator": {"bits": accumulator[0], "fraction_bits": accumulator[1]}} if accumulator else {}
    for (name, network, feeds), codes in zip(cases, executed, strict=True):
        model.add(name, device.run(network, feeds)["y"], codes)
        if fits(network, accumulator):
            compare(rules, name, network, feeds, {"y": codes}, "hls4ml", rules=given)
    assert rules.compared > 1000
    assert not model.differing, "\n".join(model.where)
    assert not rules.differing, "\n".join(rules.where)


def fits(network, accumulator):
    """Whether the rules describe a network: sums of pools wrap in a narrow accumulator there."""
    return not (network.nodes[0].kind == "average" and accumulator)
