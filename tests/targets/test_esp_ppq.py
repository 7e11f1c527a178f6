"""esp-ppq executed: the formats that it finds, and the codes of its quantized networks.

It computes sums exactly, so that these networks leave the rails of the ESP32-S3's sums of 20 bits alone.
"""

import numpy as np
import pytest
from targets.devices import ppq
from targets.devices.arithmetic import encoded, saturated
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, qengine_codes
from targets.devices.network import Format, Network

pytest.importorskip("esp_ppq", reason="esp-ppq is not installed")
pytest.importorskip("torch", reason="torch is not installed")


def network_of(rng):
    """Return a network with branches whose formats differ, and samples of its input."""
    fmt = Format(8, 5)
    network = Network({"x": (3, 12, 12)}, {"x": fmt})

    def conv(source, output, filters, depth, size=3, group=1):
        spread = rng.choice([0.3, 1, 3]) / np.sqrt(depth * size * size)
        how = {"kernel": (size, size), "pads": (size // 2,) * 4, "group": group}
        w = np.float32(rng.normal(0, spread, (filters, depth, size, size)))
        bias = np.float32(rng.normal(0, 0.5, filters))
        return network.add("conv", [source], output, fmt, weights=w, bias=bias, **how)

    branch = network.add("relu", [conv("x", "c1", 6, 3)], "r1", fmt)
    wide, deep = conv(branch, "c2", 6, 1, group=6), conv(branch, "c3", 6, 6, size=1)
    total = network.add("add", [wide, deep], "a1", fmt)
    product = network.add("mul", [total, network.add("tanh", [deep], "t1", fmt)], "p1", fmt)
    difference = network.add("sub", [product, branch], "a2", fmt)
    pool = network.add("maximum", [difference], "m1", fmt, kernel=(2, 2), stride=(2, 2))
    mean = network.add("average", [pool], "v1", fmt, kernel=(3, 3), pads=(1, 1, 1, 1), counts_pads=True)
    gate = network.add("sigmoid", [network.add("concat", [mean, pool], "k1", fmt)], "s1", fmt)
    last = network.add("average", [gate], "g1", fmt, kernel=(2, 2), stride=(2, 2))
    row = network.add("flatten", [last], "f1", fmt)
    w, bias = np.float32(rng.normal(0, 0.3, (10, 108))), np.float32(rng.normal(0, 1, 10))
    network.add("dense", [row], "d1", fmt, weights=w, bias=bias)
    return network, [np.float32(rng.normal(0, 1, (1, 3, 12, 12))) for _ in range(4)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("target", "chip"), [("esp32-s3", "esp32s3"), ("esp32-p4", "esp32p4")])
def test_codes_are_esp_ppq_s(target, chip):
    device, model, rules = CATALOGUE[target].device, Count(), Count()
    for seed in range(1):
        network, samples = network_of(np.random.default_rng(seed))
        network.formats, executed = ppq.quantized(network, chip, samples)
        x = network.formats["x"]
        feeds = {"x": saturated(encoded(samples[0], x.fraction, device.rounding), x)}
        modelled, found = device.run(network, feeds), qengine_codes(network, feeds, target)
        for name, codes in executed.items():
            model.add(f"{seed} {name}", modelled[name], codes)
            rules.add(f"{seed} {name}", found[name], codes)
    assert rules.compared > 5000
    assert not model.differing, "\n".join(model.where)
    assert not rules.differing, "\n".join(rules.where)
