"""Networks of the usual families, as exporters write them: float32, what fixed point costs, islands, native kernels."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from covering import covering
from networks import onnxruntime_session
from runtime.native.native import ISAS, assert_same, both

from qengine import InferenceSession, calibrate
from qengine.analysis.report import compare
from qengine.data.golden import read_golden
from qengine.errors import UnsupportedError
from qengine.metrics.sqnr import sqnr
from qengine.model.passes import optimize

FOLDER = Path(__file__).parent / "golden" / "families"
# The least SQNR of the output in dB with calibrated formats of 16 bits, and of 8 with weights per channel.
LEAST = {
    "vgg": (75, 32),
    "resnet": (65, 18),
    "resnet_dynamo": (64, 22),
    "densenet": (70, 26),
    "squeezenet": (85, 43),
    "shufflenet": (70, 25),
    "mobilenet_v1": (73, 31),
    "mobilenet_v2": (73, 29),
    "mobilenet_v3": (68, 22),
    "mobilenet_v3_op11": (68, 25),
    "mobilenet_v3_dynamo": (69, 25),
    "mobilenet_v3_spelled": (72, 29),
    "efficientnet": (58, 19),
    "efficientnet_dynamo": (64, 18),
    "unet": (71, 26),
    "unet_dynamo": (70, 26),
    "fsrcnn": (67, 22),
    "espcn": (77, 30),
    "edsr": (69, 24),
    "yolo": (56, 16),
    "yolo_dynamo": (68, 26),
    "dbnet": (67, 25),
    "convnext": (77, 28),
    "convnext_op17": (76, 32),
    "convnext_dynamo": (78, 31),
}
ISLANDS = {}
# What several operators of the model become, and how often.
RECOGNISED = {
    "mobilenet_v3_op11": {"HardSwish": 5, "HardSigmoid": 2},
    "mobilenet_v3_spelled": {"HardSwish": 4, "HardSigmoid": 1},
    "efficientnet": {"Swish": 11, "Sigmoid": 3},
    "efficientnet_dynamo": {"Swish": 11, "Sigmoid": 3},
    "yolo": {"Swish": 22, "Sigmoid": 2},
    "yolo_dynamo": {"Swish": 22, "Sigmoid": 2},
    "dbnet": {"Logistic": 1, "Sigmoid": 2},
    "convnext": {"Gelu": 2},
    "convnext_op17": {"Gelu": 2},
}
PAGE = Path(__file__).parent.parent / "docs/reference/families.md"
ROWS = re.findall(r"^\| (\w+) \| [\de-]+ \| (\d+) dB \| (\d+) dB \|", PAGE.read_text(), re.MULTILINE)
DOCUMENTED = {name: (int(wide), int(narrow)) for name, wide, narrow in ROWS}
# How formats are chosen, beside the word length.
WORDS = {16: {}, 8: {}}


def path(name):
    return FOLDER / f"{name}.onnx"


def feeds(name):
    return read_golden(FOLDER / f"{name}.npz")[0]


@cache
def formats(name, bits):
    shape = feeds(name)["input"].shape[1:]
    sample = np.random.default_rng(5).random((16, *shape), dtype=np.float32)
    return calibrate(path(name), [{"input": one[None]} for one in sample], bits=bits, **WORDS[bits])


def fixed(name, bits, **options):
    return InferenceSession(path(name), formats=formats(name, bits), **options)


def test_every_model_is_here():
    assert sorted(LEAST) == sorted(file.stem for file in FOLDER.glob("*.onnx"))
    index = json.loads((FOLDER.parent / "index.json").read_text())
    assert {f"families/{name}.npz" for name in LEAST} <= set(index)
    assert list(DOCUMENTED) == list(LEAST)


@pytest.mark.parametrize("name", LEAST)
def test_float32_is_onnxruntimes(name):
    (wanted,) = onnxruntime_session(str(path(name))).run(None, feeds(name))
    (found,) = InferenceSession(path(name)).run(None, feeds(name))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    # A tensor alone says little where most of it is nearly constant.
    assert sqnr(wanted - wanted.mean(), found - wanted.mean()) > 100


@pytest.mark.parametrize("bits", WORDS)
@pytest.mark.parametrize("name", LEAST)
def test_fixed_point_comes_close(name, bits):
    found = compare(fixed(name, bits), InferenceSession(path(name)), feeds(name))
    decibels = sqnr(found.float_outputs["output"], found.outputs["output"])
    assert decibels >= LEAST[name][list(WORDS).index(bits)]
    assert abs(decibels - DOCUMENTED[name][list(WORDS).index(bits)]) < 2
    assert [island.split("(")[1].rstrip(")") for island in found.islands] == ISLANDS.get(name, [])


@pytest.mark.parametrize("name", LEAST)
def test_strict_takes_what_has_no_island(name):
    session = fixed(name, 8, strict=True)
    if name in ISLANDS:
        with pytest.raises(UnsupportedError, match=f"strict: no fixed-point rule for .*{ISLANDS[name][0]}"):
            session.run(None, feeds(name))
    else:
        assert np.isfinite(session.run(None, feeds(name))[0]).all()


@pytest.mark.parametrize("name", RECOGNISED)
def test_what_is_spelled_is_recognised(name):
    nodes = optimize(InferenceSession(path(name)).graph)[-1].nodes
    operators = [operator for node in nodes for operator in node.operator.split("·")]  # those of chains too
    assert {one: operators.count(one) for one in RECOGNISED[name]} == RECOGNISED[name]
    assert not {"Exp", "Erf", "Reciprocal"} & set(operators)


@pytest.mark.parametrize(("name", "bits", "isa"), covering(LEAST, WORDS, ISAS))
def test_native_kernels_give_the_same_bits(name, isa, bits):
    got, want, ran = both(path(name), feeds(name), isa, 2, formats=formats(name, bits))
    assert_same(got, want)
    assert any(not kernel.startswith("reference") for kernel in ran), ran
