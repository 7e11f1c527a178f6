"""LiteRT executed: the targets of its kernels, and the models of the devices, have its codes."""

import pytest
from targets.devices import litert, random_networks
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare, networks

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

PATHS = {"tflite": "reference", "litert-ruy": "ruy", "litert-xnnpack": "xnnpack", "tflite-16x8": "reference"}
SEEDS = 10


@pytest.mark.parametrize("target", PATHS)
def test_codes_are_litert_s(target):
    entry = CATALOGUE[target]
    model, rules = Count(), Count()
    for name, network, feeds in networks(random_networks.same_pads(entry.limits), SEEDS, stream=1):
        constants = entry.device.constant_codes(network)
        executed = litert.run(network, feeds, constants, PATHS[target])
        modelled = entry.device.run(network, feeds)
        for node in network.nodes:
            model.add(f"{name} {node.kind}", modelled[node.output], executed[node.output])
        compare(rules, name, network, feeds, executed, target)
    assert not model.differing, "\n".join(model.where)
    assert not rules.differing, "\n".join(rules.where)
