"""The rules of each bundled target, against a model of the device in plain Python that shares no code with qengine."""

import itertools

import pytest
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare, networks
from targets.devices.special_networks import special_networks

SEEDS = 6


@pytest.mark.parametrize("target", CATALOGUE)
def test_codes_are_the_devices(target):
    entry, count = CATALOGUE[target], Count()
    for name, network, feeds in networks(entry.limits, SEEDS):
        compare(count, name, network, feeds, entry.device.run(network, feeds), target)
    assert count.compared > 4000
    assert not count.differing, "\n".join(count.where)


@pytest.mark.parametrize("target", CATALOGUE)
def test_ties_and_sums_at_the_rails_are_the_devices(target):
    entry, count = CATALOGUE[target], Count()
    for name, network, feeds in special_networks(entry.limits):
        compare(count, name, network, feeds, entry.device.run(network, feeds), target)
    assert count.compared > 100
    assert not count.differing, "\n".join(count.where)


# A rule that is replaced by another must show in the networks above: a comparison that cannot fail says nothing.
REPLACED = [
    ("onnx", "linear.rounding", "half_up"),
    ("onnx", "mean.rounding", "half_away"),
    ("cmsis-nn-q7", "linear.rounding", "floor"),
    ("cmsis-nn-q7", "bias.bits", 16),
    ("cmsis-nn-q7", "bias.fraction_bits", "sums"),
    ("cmsis-nn-q7", "mean.rounding", "half_up"),
    ("cmsis-nn-q7", "mean.method", "two_pass"),
    ("cmsis-nn-q7", "mean.counts_pads", True),
    ("cmsis-nn-q7", "table.method", "interpolated"),
    ("cmsis-nn-q7-m4", "mean.method", "exact"),
    ("cmsis-nn-q15", "accumulator.bits", 40),
    ("cmsis-nn-q15", "accumulator.rounds_inside", False),
    ("cmsis-nn-q15", "table.method", "cut"),
    ("cmsis-nn-s8", "linear.rounding", "half_away"),
    ("cmsis-nn-s8", "mul.rounding", "half_up"),
    ("cmsis-nn-s8", "add.rounding", "half_up"),
    ("cmsis-nn-s8-single", "mean.rounding", "half_up"),
    ("tflite", "dense.rounding", "tflite"),
    ("litert-ruy", "depthwise.rounding", "ruy"),
    ("litert-ruy", "operators.Conv.rounding", "tflite"),
    ("litert-ruy", "dense.rounding", "tflite"),
    ("litert-ruy", "linear.rounding", "ruy"),
    ("litert-xnnpack", "add.rounding", "half_even"),
    ("tflite-16x8", "linear.rounding", "half_away"),
    ("tflite-16x8", "mul.rounding", "half_away"),
    ("tflite-16x8", "table.functions", ["Tanh"]),
    ("esp32-s3", "accumulator.overflow", "wrap"),
    ("esp32-s3", "accumulator.order", "channels_first"),
    ("esp32-s3", "bias.rounding", "half_even"),
    ("esp32-s3", "aligns_add", False),
    ("esp32-s3", "mean.counts_pads", False),
    ("esp32-s3", "mean.method", "exact"),
    ("esp32-s3", "constants.rounding", "half_even"),
    ("esp32-p4", "linear.rounding", "half_up"),
    ("ap-fixed", "linear.overflow", "saturate"),
    ("ap-fixed", "constants.rounding", "half_even"),
    ("ap-fixed", "mean.method", "exact"),
    ("nnom", "mean.rounding", "half_up"),
    ("max78000", "bias.shift", 0),
    ("max78000", "mean.rounding", "floor"),
    ("gap", "mean.method", "exact"),
    ("gap", "mean.counts_pads", False),
]


@pytest.mark.parametrize(("target", "rule", "value"), REPLACED)
def test_another_rule_gives_other_codes(target, rule, value):
    entry, count = CATALOGUE[target], Count()
    for name, network, feeds in itertools.chain(
        special_networks(entry.limits), networks(entry.limits, SEEDS, chains=0)
    ):
        rules = {rule: value}
        if rule == "accumulator.overflow":
            rules["accumulator.order"] = "channels_first"
        compare(count, name, network, feeds, entry.device.run(network, feeds), target, rules=rules)
        if count.differing:
            return
    pytest.fail("no code tells the two rules apart")


ORDERED = ("esp32-s3", "cmsis-nn-q15")  # whose registers are reached


@pytest.mark.parametrize("target", CATALOGUE)
def test_codes_of_native_kernels_are_the_devices(target):
    entry, count = CATALOGUE[target], Count()
    special = special_networks(entry.limits) if target in ORDERED else ()
    for name, network, feeds in itertools.chain(special, networks(entry.limits, 1, stream=5, kinds=("chain",))):
        compare(count, name, network, feeds, entry.device.run(network, feeds), target, isa=None)
    assert count.compared > 1000
    assert not count.differing, "\n".join(count.where)
