"""Models whose Concat, Pad, Split and Reshape cost no memory, compiled: every tensor has the session's codes."""

import numpy as np
import pytest
from deploy.c.running import INLINED, Comparison, needs_gcc
from onnx import TensorProto, helper, numpy_helper

import qengine

TANH = helper.make_node("Tanh", ["x"], ["a"])


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


CASES = {
    # name: (nodes, constants, tensors that are copied)
    "concat": (
        [TANH, node("Sigmoid", "a", "b"), node("Concat", "a b", "c", axis=0), node("Relu", "c", "y")],
        {},
        0,
    ),
    "concat along the inner axis": (
        [TANH, node("Sigmoid", "a", "b"), node("Concat", "a b", "c", axis=1), node("Tanh", "c", "y")],
        {},
        2,
    ),
    "concat of one element": (
        [TANH, node("ReduceMax", "a", "m", keepdims=1), node("Concat", "m m", "c", axis=1), node("Tanh", "c", "y")],
        {},
        1,
    ),
    "pad": ([TANH, node("Pad", "a p", "c"), node("Sigmoid", "c", "y")], {"p": [1, 0, 2, 0]}, 0),
    "pad on one side": ([TANH, node("Pad", "a p", "c"), node("Sigmoid", "c", "y")], {"p": [0, 0, 2, 0]}, 0),
    "pad within rows": ([TANH, node("Pad", "a p", "c"), node("Sigmoid", "c", "y")], {"p": [0, 1, 0, 1]}, 1),
    "reshape to the output": ([TANH, node("Reshape", "a s", "y")], {"s": [2, 10]}, 0),
    "reshape of the input": ([node("Reshape", "x s", "a"), node("Tanh", "a", "y")], {"s": [2, 10]}, 0),
    "twice the same": ([TANH, node("Concat", "a a", "y", axis=0)], {}, 1),
    "halves": (
        [
            TANH,
            node("Split", "a", "p q", axis=0),
            node("Tanh", "p", "r"),
            node("Concat", "q r", "b", axis=0),
            node("Sigmoid", "b", "c"),
            node("Split", "c", "d e", axis=0),
            node("Tanh", "d", "f"),
            node("Concat", "f e f", "g", axis=0),
            node("Tanh", "g", "y"),
        ],
        {},
        4,
    ),
    "dense": (
        [
            TANH,
            node("Sigmoid", "a", "b"),
            node("Concat", "a b", "c", axis=0),
            node("Tanh", "c", "d"),
            node("Concat", "c d", "e", axis=0),
            node("Sigmoid", "e", "y"),
        ],
        {},
        0,
    ),
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    runs = []
    for nodes, constants, _ in CASES.values():
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 5])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        arrays = [numpy_helper.from_array(np.array(a), name) for name, a in constants.items()]
        graph = helper.make_graph(nodes, "g", [x], [y], arrays)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        session = qengine.InferenceSession(model.SerializeToString(), qformat="Q3.4")
        feeds = [{"x": np.random.default_rng(i).normal(size=(4, 5)).astype(np.float32) * 4} for i in range(2)]
        runs.append((session, feeds))
    return Comparison(runs, tmp_path_factory.mktemp("joins"))


@needs_gcc
@pytest.mark.parametrize("flags", [("-O1",), ("-O3", "-fsanitize=address,undefined")])
def test_every_tensor_has_the_codes_of_the_session(comparison, flags):
    assert comparison.differences(INLINED, flags) == []


@pytest.mark.parametrize("name", CASES)
def test_copies_are_left_out(comparison, name):
    network = comparison.networks[list(CASES).index(name)]
    calls = [call.kernel for one in network.operations for call in one.calls]
    assert sum(kernel in ("copy", "rearrange") for kernel in calls) == CASES[name][2]


def test_the_largest_input_of_concat_lies_where_the_output_ends(comparison):
    """Two tensors of 20 elements become rows of 10, written onto the first of them: 40 + 20 elements, not 40 + 40."""
    source = comparison.sources[list(CASES).index("concat along the inner axis")]
    c = source.arena.network.operations[2]
    a = source.arena.network.operations[0].output
    assert source.arena.offsets[a] - source.arena.offsets[c.output] == 20
    assert c in source.arena.shares
    assert source.arena.bytes == source.arena.bound == 60
