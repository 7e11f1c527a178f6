"""Builders of models to load, and checks that the loader tests share."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qengine.errors import ModelError
from qengine.model.loader import load

NEWEST = onnx.defs.onnx_opset_version()
node = helper.make_node
opset = helper.make_opsetid


def info(name, shape=(2,), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def init(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs=(), outputs=(), inits=(), *, version=17, ir=8, values=(), functions=(), imports=()):
    graph = helper.make_graph(
        nodes,
        "net",
        list(inputs) or [info("x")],
        list(outputs) or [info("y", None)],
        list(inits),
        value_info=values,
    )
    return helper.make_model(
        graph,
        opset_imports=[opset("", version), *(opset(*one) for one in imports)],
        ir_version=ir,
        functions=list(functions),
    )


def relu(**kwargs):
    return model([node("Relu", ["x"], ["y"], name="r")], **kwargs)


def refused(source, *words, error=ModelError):
    with pytest.raises(error) as caught:
        load(source)
    message = str(caught.value)
    assert type(caught.value) is error, message
    assert "\n" not in message
    assert message.isprintable()
    for word in words:
        assert word in message, message
    return message


def branch(name, nodes, output):
    return helper.make_graph(nodes, name, [], [info(output, None)])


def conditional(then, otherwise=None):
    otherwise = otherwise or branch("else", [node("Abs", ["x"], ["e"])], "e")
    return model(
        [node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=otherwise)],
        [info("x"), info("c", (), TensorProto.BOOL)],
    )


def tensor_proto(**fields):
    return TensorProto(name="w", data_type=fields.pop("data_type", TensorProto.FLOAT), **fields)


def external(constant=False, shape=(2,), **entries):
    entries = {"location": "w.bin", **entries}
    proto = tensor_proto(dims=list(shape), data_location=TensorProto.EXTERNAL)
    for key, content in entries.items():
        if content is not None:
            proto.external_data.add(key=key, value=str(content))
    if constant:
        proto.name = ""
        return model([node("Constant", [], ["w"], value=proto), node("Add", ["x", "w"], ["y"])])
    return model([node("Add", ["x", "w"], ["y"])], inits=[proto])


def put(folder, proto):
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def function(name, inputs, outputs, nodes, attributes=(), defaults=None, version=17, overload=""):
    made = helper.make_function(
        "f",
        name,
        inputs,
        outputs,
        nodes,
        [opset("", version), opset("f", 1)],
        attributes=list(attributes),
        attribute_protos=[helper.make_attribute(*one) for one in (defaults or {}).items()],
    )
    made.overload = overload
    return made


def reference(made, name, to, kind=onnx.AttributeProto.FLOAT):
    made.attribute.add(name=name, ref_attr_name=to, type=kind)
    return made


def call(function_name, inputs, outputs, **kwargs):
    return node(function_name, inputs, outputs, domain="f", **kwargs)


def leaky(**kwargs):
    body = [
        reference(node("LeakyRelu", ["X"], ["t"], name="inner"), "alpha", "slope"),
        node("Add", ["t", "X"], ["Y"]),
    ]
    return function("Leaky", ["X"], ["Y"], body, **kwargs)


def calling(nodes, functions, **kwargs):
    return model(nodes, functions=functions, imports=[("f", 1)], ir=10, **kwargs)


def listing(proto):
    return [(one.operator, one.inputs, one.outputs, dict(one.attributes)) for one in load(proto).nodes]
