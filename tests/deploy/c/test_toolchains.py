"""Networks on every compiler and machine: the codes of every tensor are those of the session."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy.c.running import Comparison
from deploy.c.toolchains import TOOLCHAINS, packages, toolchain
from networks import network

import qengine
from qengine import zoo

ALWAYS = ("gcc -O0", "gcc -O3", "gcc NET_SMALL", "g++", "clang", "s390x (big-endian)", "Cortex-M4", "AVR atmega1284p")
LARGE = ("gcc -O2", "Cortex-M4")
ROOMY = [name for name, one in TOOLCHAINS.items() if not one.ram or one.ram > 1 << 16]
MOST_INSTRUCTIONS = {"Cortex-M4": 1.9, "Cortex-M3": 2.8}
"""Bound on the instructions of a product in a convolution of 32 to 32 channels, 3x3, all of a run counted."""


def convolutions(channels: int, size: int) -> bytes:
    """Two convolutions with a residual sum, a depthwise one, and a dense layer."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(0, 0.3, (channels, 3, 3, 3)),
        "v": rng.normal(0, 0.2, (channels, channels, 3, 3)),
        "d": rng.normal(0, 0.3, (channels, 1, 3, 3)),
        "b": rng.normal(0, 0.3, channels),
        "m": rng.normal(0, 0.2, (5, channels * size * size // 4)),
    }
    constants = {name: array.astype(np.float32) for name, array in constants.items()}
    nodes = [
        ("Conv", "x w b", "a", {"pads": [1] * 4}),
        ("Relu", "a", "c"),
        ("Conv", "c v b", "e", {"pads": [1] * 4}),
        ("Add", "c e", "f"),
        ("Conv", "f d", "g", {"pads": [1] * 4, "group": channels, "strides": [2, 2]}),
        ("Sigmoid", "g", "h"),
        ("Flatten", "h", "i"),
        ("Gemm", "i m", "y", {"transB": 1}),
    ]
    return network(nodes, inputs={"x": [1, 3, size, size]}, constants=constants)


def fed(shape: tuple[int, ...], runs: int = 2) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(runs)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Networks of a few kilobytes, for machines of any size."""
    model, feeds = convolutions(4, 6), fed((1, 3, 6, 6))
    cases = [
        (qengine.InferenceSession(model, qformat="Q3.4", per_channel=True, isa="reference"), feeds),
        (qengine.InferenceSession(model, qformat="Q4.11", rounding="half_up", isa="reference"), feeds),
        (qengine.InferenceSession(model, qformat="Q2.3", overflow="wrap", accumulator_bits=12, isa="reference"), feeds),
    ]
    return Comparison(cases, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    entry = zoo.find("digits")
    feeds = {name: array[:1] for name, array in entry.sample().feeds.items()}
    formats = qengine.calibrate(entry.path, [entry.sample().feeds], bits=8)
    session = qengine.InferenceSession(entry.path, formats=formats, isa="reference")
    return Comparison([(session, [feeds])], tmp_path_factory.mktemp("digits"))


def marked(names: Iterable[str], always: Container[str]) -> list[Any]:
    """Names of toolchains, those that are not always tested as exhaustive."""
    return [name if name in always else pytest.param(name, marks=pytest.mark.exhaustive) for name in names]


@pytest.mark.parametrize("name", marked(TOOLCHAINS, ALWAYS))
def test_codes_are_equal(name, small):
    assert small.differences(toolchain(name)) == []


@pytest.mark.parametrize("name", marked(ROOMY, LARGE))
def test_digits_are_equal(name, digits):
    assert digits.differences(toolchain(name)) == []


@pytest.mark.parametrize("name", MOST_INSTRUCTIONS)
def test_instructions_of_a_product(name, tmp_path):
    rng = np.random.default_rng(0)
    model = network(
        [("Conv", "x w", "y", {"pads": [1] * 4})],
        inputs={"x": [1, 32, 8, 8]},
        constants={"w": rng.normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32)},
    )
    comparison = Comparison([(qengine.InferenceSession(model, qformat="Q2.5"), fed((1, 32, 8, 8), 1))], tmp_path)
    ((instructions,),) = comparison.ticks(toolchain(name), ["-O2"])
    assert instructions <= MOST_INSTRUCTIONS[name] * comparison.networks[0].operations[0].macs


def test_the_script_installs_every_package():
    text = (Path(__file__).parent / "install_toolchains.sh").read_text()
    assert set(packages()) <= set(text.replace("\\", " ").split())
