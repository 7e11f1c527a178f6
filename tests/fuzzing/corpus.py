"""Valid models to damage: ONNX's own test of every operator, small golden networks, and random graphs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from model.passes.qonnx_models import RandomNetwork
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper
from random_graphs import OPERATORS, random_case

GOLDEN = Path(__file__).parents[1] / "golden"
_LARGEST = 200_000
"""Bytes of the largest model that is damaged; larger ones are slow, and find nothing that small ones do not."""


@dataclass
class Seed:
    """A valid model and its feeds.

    Attributes
    ----------
    name : name that failures are reported with.
    model : serialized model.
    feeds : input arrays by name; lists for sequences, None for an empty optional.
    """

    name: str
    model: bytes
    feeds: dict[str, Any] = field(default_factory=dict)

    def proto(self) -> ModelProto:
        """Return the model as a new message."""
        return ModelProto.FromString(self.model)


@cache
def corpus() -> tuple[Seed, ...]:
    """Return every seed, always in the same order."""
    return (*_node_tests(), *_golden_models(), *_random_graphs(), *_nested(), *_qonnx())


def _node_tests() -> list[Seed]:
    """Return the models of ONNX's test suite of single operators, with the inputs of their first data set."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests' own arithmetic overflows on purpose
        cases = collect_testcases(None)
    seeds = []
    for case in sorted(cases, key=lambda one: one.name):
        inputs, _ = case.data_sets[0]
        names = [value.name for value in case.model.graph.input]
        data = case.model.SerializeToString()
        if len(data) <= _LARGEST:
            seeds.append(Seed(case.name, data, dict(zip(names, map(_array, inputs), strict=False))))
    return seeds


def _array(value: Any) -> Any:
    """Return an input of a test case as an array, a list of arrays, or None."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return numpy_helper.to_optional(value)
    return value if isinstance(value, list) or value is None else np.asarray(value)


def _golden_models() -> list[Seed]:
    """Return small networks of both exporters, with random inputs."""
    seeds = []
    for path in sorted(GOLDEN.rglob("*.onnx")):
        if path.stat().st_size <= _LARGEST:
            model = onnx.load(path)
            initializers = {one.name for one in model.graph.initializer}
            feeds = {one.name: _random(one) for one in model.graph.input if one.name not in initializers}
            seeds.append(Seed(path.stem, model.SerializeToString(), feeds))
    return seeds


def _random(value: ValueInfoProto) -> Any:
    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.dim_value > 0 else 2 for dim in tensor.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return np.random.default_rng(len(shape)).integers(0, 3, shape).astype(dtype)


def _random_graphs() -> list[Seed]:
    """Return one random graph for each operator that has a fixed-point rule."""
    seeds = []
    for number in range(len(OPERATORS)):
        case = random_case(number)
        seeds.append(Seed(f"random {case.operator}", case.model.SerializeToString(), case.feeds))
    return seeds


def _qonnx() -> list[Seed]:
    """Return random networks with the roundings of QONNX."""
    networks = [RandomNetwork(number) for number in range(8)]
    return [Seed(f"qonnx {number}", one.build(), one.feeds()) for number, one in enumerate(networks)]


def _nested() -> list[Seed]:
    """Return a model with a Loop around an If, and one with a local function around an operator."""
    real, whole, truth = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    value = helper.make_tensor_value_info
    then = helper.make_graph([helper.make_node("Relu", ["s"], ["t"])], "then", [], [value("t", real, [2])])
    other = helper.make_graph([helper.make_node("Neg", ["s"], ["e"])], "else", [], [value("e", real, [2])])
    body = helper.make_graph(
        [
            helper.make_node("If", ["c"], ["r"], then_branch=then, else_branch=other),
            helper.make_node("Add", ["r", "x"], ["n"]),
            helper.make_node("Identity", ["c"], ["k"]),
            helper.make_node("Identity", ["n"], ["scan"]),
        ],
        "body",
        [value("i", whole, []), value("c", truth, []), value("s", real, [2])],
        [value("k", truth, []), value("n", real, [2]), value("scan", real, [2])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "x"], ["y", "ys"], body=body)],
        "loop",
        [value("x", real, [2])],
        [value("y", real, [2]), value("ys", real, [None, 2])],
        [helper.make_tensor("trips", whole, [], [3])],
    )
    loop = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    function = helper.make_function(
        "local", "Block", ["a"], ["b"], [helper.make_node("Elu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [helper.make_node("Block", ["x"], ["m"], domain="local"), helper.make_node("Abs", ["m"], ["y"])],
        "function",
        [value("x", real, [2])],
        [value("y", real, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    called = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9)
    feeds = {"x": np.array([1, -2], np.float32)}
    return [
        Seed("loop with if", loop.SerializeToString(), feeds),
        Seed("local function", called.SerializeToString(), feeds),
    ]
