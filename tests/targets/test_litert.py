"""LiteRT executed: the targets of its kernels, and the models of the devices, have its codes."""

import numpy as np
import pytest
from targets.devices import litert, random_networks
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

PATHS = {"tflite": "reference", "litert-ruy": "ruy", "litert-xnnpack": "xnnpack", "tflite-16x8": "reference"}
SEEDS = 10


def codes_of_constants(device, network):
    """Return the codes of weights and biases as a device encodes them."""
    found = {}
    for node in network.nodes:
        if node.weights is not None:
            w_fmt = network.formats[f"{node.output}_w"]
            found[f"{node.output}_w"] = device.weights(node.weights, w_fmt)
            if node.bias is not None:
                found[f"{node.output}_b"] = device.bias(node.bias, network.formats[node.inputs[0]], w_fmt)
    return found


def networks(limits):
    """Yield (name, network, codes of inputs)."""
    for kind in (*limits.kinds, "chain"):
        for seed in range(SEEDS if kind != "chain" else 3):
            rng = np.random.default_rng([seed, 1])
            network = random_networks.network(rng, limits, kind)
            yield f"{kind}/{seed}", network, random_networks.inputs(rng, network)


@pytest.mark.parametrize("target", PATHS)
def test_codes_are_litert_s(target):
    entry = CATALOGUE[target]
    model, rules = Count(), Count()
    for name, network, feeds in networks(random_networks.same_pads(entry.limits)):
        constants = codes_of_constants(entry.device, network)
        executed = litert.run(network, feeds, constants, PATHS[target])
        modelled = entry.device.run(network, feeds)
        for node in network.nodes:
            model.add(f"{name} {node.kind}", modelled[node.output], executed[node.output])
        compare(rules, name, network, feeds, executed, target)
    assert not model.differing, "\n".join(model.where)
    assert not rules.differing, "\n".join(rules.where)
