"""Models that are spelled in an unusual way, and that other software runs."""

import numpy as np
import onnx
import onnxruntime
import pytest
from model.loader.models import info, init, load, model, node, refused
from onnx import TensorProto, helper

import qengine

X = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
C = np.float32([1, 2, 3, 4])
ADD = node("Add", ["x", "c"], ["y"])
RELU = node("Relu", ["x"], ["y"])
INPUT = info("x", (1, 3, 4))


def lengths(proto, name, dims):
    """Declare the lengths of a tensor as they are, negative ones too; None for no length."""
    for one in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        if one.name == name:
            del one.type.tensor_type.shape.dim[:]
            for dim in dims:
                added = one.type.tensor_type.shape.dim.add()
                if isinstance(dim, str):
                    added.dim_param = dim
                elif dim is not None:
                    added.dim_value = dim
    return proto


def dynamic(name, dims):
    declared = model([node("Relu", ["x"], ["t"]), node("Neg", ["t"], ["y"])], [INPUT], [info("y", (1, 3, 4))])
    declared.graph.value_info.append(info("t", (1, 3, 4)))
    return lengths(declared, name, dims)


def default(dims, ir=8):
    return lengths(model([ADD], [INPUT, info("c", (4,))], inits=[init("c", C)], ir=ir, version=9), "c", dims)


def imports(*opsets):
    return model([RELU], [INPUT], imports=opsets)


def without_nodes(outputs):
    proto = model([RELU], [INPUT], [info(name, None) for name in outputs], [init("c", C)])
    del proto.graph.node[:]
    return proto


def sparse():
    values = helper.make_sparse_tensor(init("c", np.float32([5, 6])), init("", np.array([0, 2])), [4])
    proto = model([ADD], [INPUT])
    proto.graph.sparse_initializer.append(values)
    return proto


def constant(**attribute):
    return model([node("Constant", [], ["k"], **attribute), node("Cast", ["k"], ["c"], to=1), ADD], [INPUT])


def named(name):
    return model([node("Relu", ["x"], [name], name=name), node("Neg", [name], ["y"])], [INPUT])


WINDOW = {"kernel_shape": [2], "auto_pad": ""}

VALID = {
    **{f"{name} {dims}": dynamic(name, dims) for name in "xty" for dims in ([-1, 3, 4], [-1, -1, -1], [-2, 3, None])},
    "names for unknown lengths": dynamic("x", ["?", "", "-1"]),
    "a default of dynamic length": default([-1]),
    "a constant of dynamic length": default([-1], ir=3),
    "a constant that is an input": default([4], ir=3),
    "an import twice": imports(("ai.onnx", 17), ("", 17)),
    "an unused domain twice": imports(("ai.onnx.ml", 1), ("ai.onnx.ml", 2)),
    "an unused domain of opset 0": imports(("com.example", 0)),
    "ONNX Runtime's domain without an import": model([node("Gelu", ["x"], ["y"], domain="com.microsoft")], [INPUT]),
    "old weights that are not inputs": model(
        [node("InstanceNormalization", ["x", "c", "c"], ["y"])], [INPUT], inits=[init("c", C[:3])], ir=3, version=6
    ),
    "no nodes": without_nodes(["x"]),
    "no nodes, a constant": without_nodes(["c", "x"]),
    "unused constants": model([RELU], [INPUT], inits=[init("c", C), init("s", np.array(["a"], object))]),
    "outputs that are inputs and constants": model(
        [ADD], [INPUT], [info("y", None), info("x", (1, 3, 4)), info("c", (4,))], [init("c", C)]
    ),
    "an output twice": model([RELU], [INPUT], [info("y", None), info("y", None)]),
    "a sparse constant": sparse(),
    "value_float": constant(value_float=2.0),
    "value_floats": constant(value_floats=[1.0, 2.0, 3.0, 4.0]),
    "value_int": constant(value_int=3),
    "value_ints": constant(value_ints=[1, 2, 3, 4]),
    "sparse_value": constant(
        sparse_value=helper.make_sparse_tensor(init("", np.float32([5])), init("", np.array([2])), [4])
    ),
    **{f"the name {name!r}": named(name) for name in ("a/b:0", "a b", "é漢", "a\nb", "1", "x=y")},
    "trailing empty names": model(
        [node("Clip", ["x", "", ""], ["t"]), node("Dropout", ["t"], ["y", ""])], [INPUT], version=13
    ),
    "types of tensors that do not exist": model([RELU], [INPUT], values=[info("z", (3,))]),
    "a type of unknown rank": model(
        [node("Relu", ["x"], ["t"]), node("Neg", ["t"], ["y"])], [INPUT], values=[info("t", None)]
    ),
    "an empty auto_pad": model(
        [node("MaxPool", ["x"], ["t"], **WINDOW), node("AveragePool", ["t"], ["y"], **WINDOW)], [INPUT]
    ),
    "the domain ai.onnx": model([node("Relu", ["x"], ["y"], domain="ai.onnx")], [INPUT]),
}  # fmt: skip


@pytest.mark.parametrize("kind", VALID)
def test_runs_as_in_onnx_runtime(kind):
    content = VALID[kind].SerializeToString()
    found = qengine.InferenceSession(content).run(None, {"x": X})
    theirs = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": X})
    for ours, wanted in zip(found, theirs, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-6, strict=True)


def test_a_negative_length_is_unknown():
    assert load(dynamic("x", [-1, 3, -7])).inputs[0].shape == (None, 3, None)


def test_a_length_of_0_is_0():
    """As in ONNX Runtime: nothing but an empty tensor fits."""
    proto = dynamic("x", [0, 3, 4])
    assert load(proto).inputs[0].shape == (0, 3, 4)
    empty = np.zeros((0, 3, 4), np.float32)
    assert qengine.InferenceSession(proto).run(None, {"x": empty})[0].shape == (0, 3, 4)
    with pytest.raises(qengine.errors.QEngineError, match=r"\[0, 3, 4\]"):
        qengine.InferenceSession(proto).run(None, {"x": X})


def test_a_domain_that_is_used_has_one_opset():
    refused(imports(("", 13)), "imported twice")
    used = model([node("Gelu", ["x"], ["y"], domain="com.microsoft")], [INPUT], imports=[("com.microsoft", 0)])
    refused(used, "opset 0", "com.microsoft")


@pytest.mark.parametrize(
    "entries", [{}, {"offset": "0", "length": "0"}, {"offset": "8"}, {"offset": "8", "length": "16"}]
)
def test_external_data_with_and_without_an_offset_and_a_length(tmp_path, entries):
    stored = TensorProto(name="c", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "c.bin", **entries}.items():
        stored.external_data.add(key=key, value=value)
    (tmp_path / "c.bin").write_bytes(b"\0" * int(entries.get("offset", 0)) + C.tobytes() + b"tail")
    onnx.save(model([ADD], [INPUT], inits=[stored]), tmp_path / "m.onnx")
    (y,) = qengine.InferenceSession(tmp_path / "m.onnx").run(None, {"x": X})
    np.testing.assert_array_equal(y, X + C)
