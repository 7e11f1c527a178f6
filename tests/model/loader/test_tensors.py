import os

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qengine.errors import UnsupportedError
from qengine.model.loader import load

from .models import external, init, model, node, put, refused, relu, tensor_proto

DTYPES = "float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128"


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dtype", DTYPES.split())
def test_every_dtype_of_numpy(dtype, raw):
    array = np.array([[0, 1, 3], [100, 0, 1]]).astype(dtype)
    code = helper.np_dtype_to_tensor_dtype(array.dtype)
    content = array.tobytes() if raw else array.ravel()
    proto = relu(inits=[helper.make_tensor("w", code, array.shape, content, raw=raw)])
    np.testing.assert_array_equal(load(proto).constants["w"], array, strict=True)


def test_negative_numbers_of_small_types():
    array = np.array([-128, 127], np.int8)
    proto = relu(inits=[helper.make_tensor("w", TensorProto.INT8, [2], array)])
    np.testing.assert_array_equal(load(proto).constants["w"], array, strict=True)


def test_a_boolean_byte_is_made_a_boolean():
    proto = relu(inits=[helper.make_tensor("w", TensorProto.BOOL, [3], b"\x00\x02\x01", raw=True)])
    assert load(proto).constants["w"].tobytes() == b"\x00\x01\x01"


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_scalars_and_empty_tensors(shape):
    array = np.zeros(shape, np.float32)
    assert load(relu(inits=[init("w", array)])).constants["w"].shape == shape
    empty = helper.make_tensor("w", TensorProto.FLOAT, shape, array.ravel())
    assert load(relu(inits=[empty])).constants["w"].shape == shape


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (tensor_proto(dims=[2, 3], raw_data=bytes(20)), ["(2, 3)", "24 bytes", "20"]),
        (tensor_proto(dims=[2], raw_data=bytes(9)), ["8 bytes", "9"]),
        (tensor_proto(dims=[2, 3], float_data=[1] * 7), ["(2, 3)", "6 numbers", "7"]),
        (tensor_proto(dims=[3], data_type=TensorProto.COMPLEX64, float_data=[1] * 4), ["6 numbers", "4"]),
        (tensor_proto(dims=[2]), ["2 numbers", "0"]),
        (tensor_proto(dims=[-1], float_data=[1]), ["(-1,)", "negative"]),
        (tensor_proto(dims=[2**62] * 3, raw_data=bytes(4)), [str(2**62), "4 are there"]),
        (tensor_proto(dims=[0, 2**62, 2**62]), ["too large"]),
        (tensor_proto(dims=[2**62] * 100_000), ["100000 axes"]),
        (tensor_proto(dims=[1], int32_data=[1]), ["float_data", "int32_data"]),
        (tensor_proto(dims=[1], float_data=[1], raw_data=bytes(4)), ["more than one place"]),
        (tensor_proto(dims=[1], data_type=TensorProto.UINT8, int32_data=[256]), ["uint8", "beyond"]),
        (tensor_proto(dims=[1], data_type=TensorProto.UINT32, uint64_data=[2**32]), ["uint32", "beyond"]),
        (tensor_proto(dims=[1], data_type=TensorProto.FLOAT16, int32_data=[2**16]), ["float16", "beyond"]),
        (tensor_proto(dims=[1], data_type=0, raw_data=bytes(4)), ["element type 0"]),
        (tensor_proto(dims=[1], data_type=99, raw_data=bytes(4)), ["element type 99"]),
    ],
)
def test_tensors_that_contradict_themselves(proto, words):
    adding = model([node("Add", ["x", "w"], ["y"])], inits=[proto])
    refused(adding, "initializer 'w'", *words)
    proto.name = ""
    refused(
        model([node("Constant", [], ["k"], name="hold", value=proto), node("Add", ["x", "k"], ["y"])]),
        "attribute 'value' of node 'hold' (Constant)",
        *words,
    )


OPEN = [helper.make_empty_tensor_value_info("y")]
FOREIGN = {
    "string": helper.make_tensor("w", TensorProto.STRING, [1], [b"a"]),
    "bfloat16": helper.make_tensor("w", TensorProto.BFLOAT16, [1], [1.0]),
    "float8e5m2": helper.make_tensor("w", TensorProto.FLOAT8E5M2, [1], [1.0]),
    "int4": helper.make_tensor("w", TensorProto.INT4, [2], [1, 2]),
    "segment": tensor_proto(dims=[1], float_data=[1], segment=TensorProto.Segment(begin=0, end=1)),
}


@pytest.mark.parametrize("kind", ["string", "bfloat16", "float8e5m2", "int4"])
def test_types_that_numpy_does_not_have(kind):
    proto = model([node("Identity", ["w"], ["y"])], outputs=OPEN, inits=[FOREIGN[kind]])
    found = load(proto).constants["w"]
    np.testing.assert_array_equal(found, np.array(numpy_helper.to_array(FOREIGN[kind])).astype(found.dtype))
    assert found.shape == tuple(FOREIGN[kind].dims)
    short = TensorProto()
    short.CopyFrom(FOREIGN[kind])
    short.dims[0] = 5
    refused(model([node("Identity", ["w"], ["y"])], outputs=OPEN, inits=[short]), "initializer 'w'", "5 elements")


def test_segments():
    proto = model([node("Add", ["x", "w"], ["y"])], inits=[FOREIGN["segment"]])
    refused(proto, "initializer 'w'", "segment", error=UnsupportedError)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, [0, 1]),
        ({"offset": 4, "length": 8}, [1, 2]),
        ({"offset": 32, "checksum": "unread"}, [8, 9]),
        ({"location": "./w.bin", "length": 8}, [0, 1]),
    ],
)
def test_external_data(folder, constant, entries, expected):
    graph = load(put(folder, external(constant, **entries)))
    np.testing.assert_array_equal(graph.constants["w"], np.array(expected, np.float32), strict=True)
    assert not graph.constants["w"].flags.writeable


def test_external_data_in_a_folder_below_and_by_a_relative_path(folder, monkeypatch):
    (folder / "data").mkdir()
    (folder / "w.bin").rename(folder / "data" / "w.bin")
    put(folder, external(location="data/w.bin"))
    monkeypatch.chdir(folder)
    np.testing.assert_array_equal(load("m.onnx").constants["w"], [0, 1])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "../secret.bin"}, ["outside"]),
        ({"location": "a/../../secret.bin"}, ["outside"]),
        ({"location": "..\\secret.bin"}, ["outside"]),
        ({"location": "/etc/passwd"}, ["outside", "/etc/passwd"]),
        ({"location": "C:\\secret.bin"}, ["outside"]),
        ({"location": "C:secret.bin"}, ["outside"]),
        ({"location": "a/../w.bin"}, ["outside"]),
        ({"location": None}, ["names no file"]),
        ({"location": ""}, ["names no file"]),
        ({"location": "w\0.bin"}, ["names no file"]),
        ({"location": "gone.bin"}, ["gone.bin", "folder of the model"]),
        ({"location": "."}, ["is a directory"]),
        ({"offset": 36}, ["8 bytes from offset 36", "has 40"]),
        ({"offset": -4}, ["offset", "'-4'"]),
        ({"offset": "1_0"}, ["offset", "'1_0'"]),
        ({"offset": "9" * 5000}, ["offset"]),
        ({"length": 12}, ["8 bytes", "12"]),
        ({"length": -8}, ["length", "'-8'"]),
        ({"shape": (2**40, 2**40)}, ["from offset 0", "has 40"]),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_external_data_that_is_refused(folder, constant, entries, words):
    refused(put(folder, external(constant, **entries)), "w", *words)


def test_external_data_that_is_named_twice_or_is_inline_too(folder):
    proto = external()
    proto.graph.initializer[0].external_data.add(key="location", value="other.bin")
    refused(put(folder, proto), "'w'", "two entries of the same name")
    proto = external()
    proto.graph.initializer[0].raw_data = bytes(8)
    refused(put(folder, proto), "'w'", "more than one place")


def test_links_do_not_lead_outside(folder):
    (folder / "out.bin").symlink_to(folder.parent / "secret.bin")
    refused(put(folder, external(location="out.bin")), "'w'", "outside")
    (folder / "up").symlink_to(folder.parent)
    refused(put(folder, external(location="up/secret.bin")), "'w'", "outside")
    (folder / "in.bin").symlink_to("w.bin")
    np.testing.assert_array_equal(load(put(folder, external(location="in.bin"))).constants["w"], [0, 1])


def test_a_folder_with_a_similar_name_is_outside(folder):
    other = folder.parent / "model2"
    other.mkdir()
    (other / "w.bin").write_bytes(bytes(8))
    (folder / "w2").symlink_to(other / "w.bin")
    refused(put(folder, external(location="w2")), "outside")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang(folder):
    os.mkfifo(folder / "pipe.bin")
    refused(put(folder, external(location="pipe.bin")), "'w'", "a named pipe")


def test_external_data_needs_a_path():
    refused(external(), "'w'", "by its path")
    refused(external().SerializeToString(), "'w'", "by its path")
