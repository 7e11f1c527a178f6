"""The rules of each bundled target, against a model of the device in plain Python that shares no code with qengine."""

import numpy as np
import pytest
from targets.devices import random_networks
from targets.devices.arithmetic import quotient, saturated
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare
from targets.devices.device import NotDescribedError
from targets.devices.esp import UNEQUAL_AREAS, EspP4, EspS3
from targets.devices.network import Format

SEEDS = 6


def networks(limits, seeds=SEEDS):
    """Yield (name, network, codes of inputs) of each kind of operator and of chains."""
    for kind in (*limits.kinds, "chain"):
        for seed in range(seeds if kind != "chain" else 2):
            rng = np.random.default_rng(seed)
            network = random_networks.network(rng, limits, kind)
            yield f"{kind}/{seed}", network, random_networks.inputs(rng, network)


@pytest.mark.parametrize("target", CATALOGUE)
def test_codes_are_the_devices(target):
    entry, count = CATALOGUE[target], Count()
    for name, network, feeds in networks(entry.limits):
        try:
            expected = entry.device.run(network, feeds)
        except NotDescribedError:
            continue
        compare(count, name, network, feeds, expected, target)
    assert count.compared > 4000
    assert not count.differing, "\n".join(count.where)


@pytest.mark.parametrize("device", [EspS3(), EspP4()])
def test_means_in_float32_are_exact_but_for_known_areas(device):
    fmt, unequal = Format(8, 4), set()
    for area in range(2, 101):
        total = np.arange(-128 * area, 127 * area + 1)
        for up in range(-2, 3):
            out = Format(8, fmt.fraction + up)
            exact = quotient(total << max(up, 0), area << max(-up, 0), device.rounding)
            if (device.float_mean(total, area, fmt, out) != saturated(exact, out)).any():
                unequal.add(area)
    assert unequal == UNEQUAL_AREAS
