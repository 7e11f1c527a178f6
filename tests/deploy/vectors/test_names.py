import re

import pytest

from qengine.deploy.vectors.names import identifier, identifiers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", "conv1"),
        ("/layer1/conv/Conv_output_0", "layer1_conv_Conv_output_0"),
        ("3x", "t_3x"),
        ("", "t"),
        ("日本", "t"),
        ("int", "int_"),
        ("Module", "Module_"),
        ("CLK", "CLK_"),
        ("DUT", "DUT_"),
        ("a b.c:d", "a_b_c_d"),
        ("../../etc", "etc"),
    ],
)
def test_a_name_resembles_its_tensor(name, expected):
    assert identifier(name) == expected


def test_long_names_stay_apart():
    one, other = identifier("a" * 300 + "x"), identifier("a" * 300 + "y")
    assert one != other
    assert len(one) < 100


def test_names_differ_also_where_case_does_not_count():
    found = identifiers(["a/b", "A_B", "a:b", "a_b_2", "a/b"])
    assert len({name.lower() for name in found.values()}) == 4
    assert found["a/b"] == "a_b"
    assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in found.values())
