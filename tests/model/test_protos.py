"""Graphs as protobuf messages."""

import onnx
import pytest
from onnx import TensorProto, helper

from qengine.model.loader import load
from qengine.model.protos import model_proto

FLOAT = helper.make_tensor_type_proto(TensorProto.FLOAT, None)


@pytest.mark.parametrize(
    "kind",
    [
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.INT64, None)),
        helper.make_optional_type_proto(helper.make_sequence_type_proto(FLOAT)),
        helper.make_map_type_proto(TensorProto.STRING, FLOAT),
        helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, FLOAT)),
    ],
    ids=lambda kind: kind.WhichOneof("value"),
)
def test_types_of_sequences_and_maps_are_written(kind):
    infos = [helper.make_value_info(name, kind) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    written = model_proto(load(model), {"": 17})
    assert [one.type for one in (*written.graph.input, *written.graph.output)] == [kind, kind]
    onnx.checker.check_model(written)
