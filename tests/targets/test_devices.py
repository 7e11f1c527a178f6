"""The rules of each bundled target, against a model of the device in plain Python that shares no code with qengine."""

import pytest
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare, networks

SEEDS = 6


@pytest.mark.parametrize("target", CATALOGUE)
def test_codes_are_the_devices(target):
    entry, count = CATALOGUE[target], Count()
    for name, network, feeds in networks(entry.limits, SEEDS):
        compare(count, name, network, feeds, entry.device.run(network, feeds), target)
    assert count.compared > 4000
    assert not count.differing, "\n".join(count.where)


@pytest.mark.parametrize("target", ["cmsis-nn-q7", "tflite", "litert-ruy", "esp32-s3", "ap-fixed"])
def test_codes_of_native_kernels_are_the_devices(target):
    entry, count = CATALOGUE[target], Count()
    for name, network, feeds in networks(entry.limits, 1, stream=5, kinds=("chain",)):
        compare(count, name, network, feeds, entry.device.run(network, feeds), target, isa=None)
    assert count.compared > 4000
    assert not count.differing, "\n".join(count.where)
