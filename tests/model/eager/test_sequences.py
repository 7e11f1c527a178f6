"""Sequences and optionals against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from model.eager.nodes import check, model, run, same, sequence_type, text
from model.ops.cases import by_onnxruntime, i64, real
from onnx import TensorProto, helper

import qengine
from qengine import QEngineError

DTYPES = (np.float32, np.int64, np.float16, bool, object, np.float64)
SPLIT_DTYPES = (np.float32, np.int64, object, np.float64, np.int32)


def tensor(*shape, dtype=np.float32):
    if dtype is object:
        return text(*(f"s{i}" for i in range(np.prod(shape)))).reshape(shape)
    return (real(*shape) * 3).astype(dtype)


def tensors(dtype):
    return [tensor(2, 3, dtype=dtype), tensor(1, dtype=dtype), tensor(2, 2, dtype=dtype)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("position", [0, 2, -1, -3, None])
def test_positions(dtype, position):
    at = [] if position is None else [np.array(position, np.int32 if position % 2 else np.int64)]
    if at:
        check("SequenceAt", [tensors(dtype), *at])
    check("SequenceErase", [tensors(dtype), *at])
    check("SequenceInsert", [tensors(dtype), tensor(4, dtype=dtype), *at])
    check("SequenceLength", [tensors(dtype)])
    check("SequenceConstruct", [tensor(2, dtype=dtype), tensor(3, 1, dtype=dtype)])


def test_the_end_of_a_sequence_is_a_position_to_insert_at():
    check("SequenceInsert", [tensors(np.float32), real(1), np.array(3)])
    with pytest.raises(QEngineError, match=r"position 4 is outside -3\.\.3"):
        run("SequenceInsert", [tensors(np.float32), real(1), np.array(4)])


@pytest.mark.parametrize("operator", ["SequenceAt", "SequenceErase"])
@pytest.mark.parametrize("position", [3, -4, 2**62, -(2**63)])
def test_positions_out_of_range_are_errors(operator, position):
    with pytest.raises(QEngineError, match=r"is outside -3\.\.2 of a sequence of 3"):
        run(operator, [tensors(np.float32), np.array(position)])


@pytest.mark.parametrize("dtype", SPLIT_DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_splits(dtype, axis):
    x = tensor(2, 5, 3, dtype=dtype)
    for keepdims in (0, 1):
        check("SplitToSequence", [x], axis=axis, keepdims=keepdims)
    for size in (1, 2, 5, 7, 2**62):
        check("SplitToSequence", [x, np.array(size)], axis=axis)
    length = x.shape[axis]
    for lengths in ([length], [1, length - 1], [0, length]):
        check("SplitToSequence", [x, np.array(lengths, np.int32)], axis=axis)


def test_splits_at_both_versions():
    x = real(4, 3).astype(np.float16)
    for opset in (11, 24):
        (found,) = run("SplitToSequence", [x, i64(1, 3)], opset=opset)
        assert [one.tolist() for one in found] == [x[:1].tolist(), x[1:].tolist()]


def test_split_keeps_the_axis_where_lengths_are_given():
    """The specification ignores keepdims then; ONNX Runtime does not."""
    (found,) = run("SplitToSequence", [real(4, 3), np.array(1)], keepdims=0)
    assert [one.shape for one in found] == [(1, 3)] * 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("axis", "new_axis"), [(0, 0), (1, 0), (-1, 0), (0, 1), (2, 1), (-3, 1), (-1, 1)])
def test_concat(dtype, axis, new_axis):
    x = tensor(2, 3, dtype=dtype)
    check("ConcatFromSequence", [[x, x]], axis=axis, new_axis=new_axis)
    if not new_axis and axis:
        check("ConcatFromSequence", [[x, x[:, :1]]], axis=axis)


def chain(nodes, feeds=None, opset=20):
    """Return the output `y` of nodes (operator, inputs, output, attributes)."""
    made = [helper.make_node(op, ins.split(), [out], **attributes) for op, ins, out, attributes in nodes]
    infos = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in (feeds or {}).items()]
    graph = helper.make_graph(made, "chain", infos, [onnx.ValueInfoProto(name="y")])
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return qengine.InferenceSession(built).run(None, feeds or {})[0]


def test_empty_sequences_keep_their_type():
    empty = ("SequenceEmpty", "", "s", {"dtype": TensorProto.INT64})
    assert chain([("SequenceEmpty", "", "s", {}), ("SequenceLength", "s", "y", {})]) == 0
    assert len(chain([("SequenceEmpty", "", "s", {}), ("SequenceInsert", "s x", "y", {})], {"x": real(2)})) == 1
    with pytest.raises(QEngineError):
        chain([empty, ("SequenceInsert", "s x", "y", {})], {"x": real(2)})
    # onnx knows the type of an erased sequence too; so the last tensor is erased where it knows no types.
    erased = [("SequenceConstruct", "x", "a", {}), ("SequenceErase", "a", "s", {}), ("Shape", "x", "i", {})]
    with pytest.raises(QEngineError):
        chain([*erased, ("SequenceInsert", "s i", "y", {})], {"x": real(2)})


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([("SequenceEmpty", "", "s", {}), ("SequenceErase", "s", "y", {})], "nothing to erase"),
        ([("SequenceEmpty", "", "s", {}), ("ConcatFromSequence", "s", "y", {"axis": 0})], "nothing to join"),
        ([("SequenceEmpty", "", "s", {"dtype": 99}), ("SequenceLength", "s", "y", {})], "99"),
        ([("SequenceConstruct", "x", "s", {}), ("ConcatFromSequence", "s", "y", {"axis": 2})], "axis"),
        (
            [("SequenceConstruct", "x", "s", {}), ("ConcatFromSequence", "s", "y", {"axis": 0, "new_axis": 2})],
            "new_axis",
        ),
        ([("SplitToSequence", "x", "s", {"axis": 5}), ("SequenceLength", "s", "y", {})], "axis"),
        ([("SequenceLength", "x", "y", {})], "sequence"),
        ([("Optional", "", "o", {"type": sequence_type()}), ("OptionalGetElement", "o", "y", {})], "empty optional"),
    ],
    ids=lambda one: one[-1][0] + str(one[-1][3]) if isinstance(one, list) else "",
)
def test_what_is_not_valid_is_refused(nodes, reason):
    with pytest.raises(QEngineError, match=reason):
        chain(nodes, {"x": real(2, 3)})


@pytest.mark.parametrize("split", [0, -1, [1, 2], [-1, 3], [2**62, 2 - 2**62]], ids=str)
def test_lengths_that_do_not_fit_are_errors(split):
    with pytest.raises(QEngineError):
        run("SplitToSequence", [real(2, 3), np.array(split)])


def test_shapes_that_differ_cannot_be_joined():
    for parts in ([real(2, 3), real(3, 2)], [real(2), real(2, 1)]):
        with pytest.raises(QEngineError, match="differ"):
            run("ConcatFromSequence", [parts], axis=0)
    with pytest.raises(QEngineError, match="different shapes"):
        run("ConcatFromSequence", [[real(2), real(3)]], axis=0, new_axis=1)


def test_parts_are_bounded():
    with pytest.raises(QEngineError, match="more than 1,048,576 parts"):
        run("SplitToSequence", [np.zeros((2**40, 0), np.float32)])


@pytest.mark.parametrize("opset", [15, 18, 28])
def test_optionals(opset):
    x = real(2)
    nodes = [("Optional", "x", "o", {}), ("OptionalGetElement", "o", "y", {})]
    assert chain(nodes, {"x": x}, opset).tolist() == x.tolist()
    assert chain([nodes[0], ("OptionalHasElement", "o", "y", {})], {"x": x}, opset)
    empty = ("Optional", "", "o", {"type": helper.make_tensor_type_proto(TensorProto.FLOAT, None)})
    assert not chain([empty, ("OptionalHasElement", "o", "y", {})], None, opset)
    with pytest.raises(QEngineError, match="empty optional"):
        chain([empty, ("OptionalGetElement", "o", "y", {})], None, opset)


def test_optionals_of_what_is_none():
    for x in (real(2), [real(2)]):
        check("OptionalHasElement", [x])
        check("OptionalGetElement", [x])
    built, feeds = model("OptionalHasElement")
    same(qengine.InferenceSession(built).run(None, feeds), by_onnxruntime(built, feeds))
    assert not run("OptionalHasElement")[0]


def test_feeds_have_the_declared_type():
    with pytest.raises(QEngineError, match=r"'x0'\[1\] needs dtype float32, not int64"):
        run("SequenceLength", [[real(2), i64(1)]], types={"x0": sequence_type()})
    with pytest.raises(QEngineError, match="needs a list of arrays"):
        run("SequenceLength", [real(2)], types={"x0": sequence_type()})
    (length,) = run("SequenceLength", [[]], types={"x0": sequence_type()})
    assert length == 0
    with pytest.raises(QEngineError):  # an empty feed has the declared type
        run("SequenceInsert", [[], i64(1)], types={"x0": sequence_type()})


def test_elements_of_sequences_and_optionals_are_real_numbers_in_fixed_point():
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("SequenceConstruct", ["r", "r"], ["s"]),
        helper.make_node("SequenceAt", ["s", "zero"], ["a"]),
        helper.make_node("Optional", ["a"], ["o"]),
        helper.make_node("OptionalGetElement", ["o"], ["g"]),
        helper.make_node("Neg", ["g"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "containers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [onnx.ValueInfoProto(name=name) for name in "syo"],
        [onnx.numpy_helper.from_array(i64(0)[0:1].reshape(()), "zero")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    x = np.float32([0.3, -1, 7.99])
    s, y, o = qengine.InferenceSession(built, qformat="Q3.4").run(None, {"x": x})
    rounded = np.float32([0.3125, 0, 7.9375])
    same([*s, y, o], [rounded, rounded, -rounded, rounded])
