"""Names of a model that are words of C, names of its source or ends of comments: C compiles, and codes are equal."""

import numpy as np
import onnx
import pytest
from deploy.c.one_operator import node, session_of
from deploy.c.running import differences, needs_gcc
from deploy.c.toolchains import toolchain
from onnx import helper

import qengine
from qengine.deploy.c.emit.stamp import plain
from qengine.deploy.c.network import network_of
from qengine.deploy.c.sharing import unused

NAMES = [
    *("net_run_in", "net0_run_in", "net_memory", "memory", "arena", "step", "step_t", "table", "code", "NET_TRACED"),
    *("asm", "typeid", "decltype", "wchar_t", "stdin", "errno", "near", "size_t", "int8_t", "NULL"),
    *("uint_fast8_t", "uintptr_t"),
    *("*/", "*\\", "/*", "??/", "line*\\", "two\nlines", "é", "%s", "x" * 300),
]


def sessions():
    """Return two functions of one variable for each name: as that of the input, and as that of a tensor inside."""
    for name in NAMES:
        value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4])
        out = helper.make_tensor_value_info(f"{name}_table", onnx.TensorProto.FLOAT, None)
        nodes = [node("Sigmoid", name, to=f"{name}_t"), node("Mul", f"{name}_t", f"{name}_t", to=f"{name}_table")]
        graph = helper.make_graph(nodes, "g", [value], [out])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        yield qengine.InferenceSession(model.SerializeToString(), isa="reference", qformat="Q3.4"), name


@needs_gcc
@pytest.mark.parametrize("name", ["gcc -O0", pytest.param("clang++", marks=pytest.mark.exhaustive)])
def test_any_names_compile(tmp_path, name):
    x = np.linspace(-3, 3, 4, dtype=np.float32).reshape(1, 4)
    cases = [(session, [{given: x}]) for session, given in sessions()]
    assert not differences(cases, tmp_path, toolchain=toolchain(name))


def test_two_arrays_never_share_a_name():
    """An array "a" of roles "b_c" would have the name of an array "a_b" of role "c"."""
    names: set[str] = set()
    assert [unused(one, names) for one in ("a_b", "a_b", "a_b_2", "a_b")] == ["a_b", "a_b_2", "a_b_2_2", "a_b_3"]


@pytest.mark.parametrize("prefix", ["net", "x", "x_y"])
def test_no_tensor_begins_with_the_prefix(prefix):
    session = session_of(
        [node("Sigmoid", "x", to=f"{prefix}_run_in")], [2], outputs=[f"{prefix}_run_in"], qformat="Q3.4"
    )
    network = network_of(session, {"x": np.zeros(2, np.float32)}, prefix=prefix)
    assert not network.outputs[0].c_name.startswith(f"{prefix}_")


@pytest.mark.parametrize("text", ["*/", "*\\", "**//", "/*/", "??/", "?\\?/", "*\\/", "a\\", "\u2028", "*?/"])
def test_a_comment_ends_where_it_should(text):
    found = plain(text)
    assert not any(part in found for part in ("*/", "/*", "\\", "??/", "\n"))
    assert found.isascii()
