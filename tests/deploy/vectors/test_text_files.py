import shutil
import subprocess

import numpy as np
import pytest

from qengine.deploy.vectors.layout import Layout
from qengine.deploy.vectors.text_files import Lanes, Words, c_text, coe_text, hex_text, mif_text, read_hex
from qengine.errors import FeedError, OptionError


def words(codes, bits=6, signed=True):
    return Words(np.asarray(codes), bits, signed, "t: 3, ONNX's order, Q2.3", "s0_t")


@pytest.mark.parametrize(
    ("codes", "bits", "lanes", "expected"),
    [
        ([1, -1, -32], 6, Lanes(), ["01", "3f", "20"]),
        ([1, -1, 31], 6, Lanes(2), ["3f01", "001f"]),
        ([1, -1, 31], 6, Lanes(2, "high"), ["013f", "1f00"]),
        ([-1, -2], 9, Lanes(), ["1ff", "1fe"]),
        ([-1, -(1 << 63)], 64, Lanes(), ["f" * 16, "8" + "0" * 15]),
        ([1, 0], 1, Lanes(4), ["0001"]),
        ([], 8, Lanes(), []),
    ],
)
def test_hex(codes, bits, lanes, expected):
    text = hex_text(words(np.array(codes, np.int64), bits), lanes).splitlines()
    assert text[0].startswith("// t: 3")
    assert str(lanes) in text[0]
    assert text[1:] == expected
    if bits < 63:
        assert read_hex("\n".join(text), bits, signed=bits > 1, count=len(codes), lanes=lanes).tolist() == codes


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("01\n02", "there are 2 words, expected 3"),
        ("01\n02\n003", "a line has 3 digits"),
        ("01\n02\nzz", "'zz' has other characters"),
        ("01\n02\nff", "a word is wider than 6 bits"),
    ],
)
def test_damaged_hex_is_refused(text, match):
    with pytest.raises(FeedError, match=match):
        read_hex(text, 6, True, 3, Lanes())


def test_memory_files():
    head = ["WIDTH=8;", "DEPTH=2;", "ADDRESS_RADIX=UNS;", "DATA_RADIX=HEX;", "CONTENT BEGIN"]
    assert mif_text(words([1, -1]), Lanes()).splitlines()[1:] == [*head, "    0 : 01;", "    1 : 3f;", "END;"]
    assert coe_text(words([1, -1]), Lanes()).splitlines()[1:] == [
        "memory_initialization_radix=16;", "memory_initialization_vector=", "01,", "3f;",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize(
    ("codes", "bits", "signed"),
    [
        ([-128, 127], 8, True),
        ([0, 65535], 16, False),
        ([-(1 << 31), 5], 32, True),
        ([-(1 << 63), (1 << 63) - 1], 64, True),
        ([(1 << 32) - 1], 32, False),
        ([], 8, True),
    ],
)
def test_c_headers_compile(tmp_path, codes, bits, signed):
    text = c_text(Words(np.array(codes, np.int64), bits, signed, "nasty */ title", "a_b"), Lanes())
    (tmp_path / "a.h").write_text(text)
    checks = "".join(
        f"if (a_b[{i}] != ({'' if signed else 'u'}int64_t){code % (1 << 64)}ULL) return 1;"
        for i, code in enumerate(codes)
    )
    source = f'#include "a.h"\n#include "a.h"\nint main(void) {{ (void)a_b; {checks} return 0; }}\n'
    (tmp_path / "main.c").write_text(source)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wno-sign-compare"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"]).returncode == 0


@pytest.mark.parametrize("name", ["nchw", "nhwc", "nchwc4", "nchwc3"])
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 4, 6), (3, 7), (), (0, 3, 2)])
def test_layouts_are_read_back(name, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    layout = Layout(name)
    placed = layout.placed(array)
    assert np.array_equal(layout.read(placed.reshape(-1), shape), array)


def test_the_order_is_that_of_the_description():
    array = np.arange(2 * 5 * 3).reshape(2, 5, 3)
    assert Layout("nhwc").placed(array)[1, 2, 4] == array[1, 4, 2]
    blocks = Layout("nchwc4").placed(array)
    assert blocks.shape == (2, 2, 3, 4)
    assert blocks[1, 1, 2].tolist() == [array[1, 4, 2], 0, 0, 0]
    assert Layout("nchwc4").describe(3) == "axis0 axis1/4 axis2 axis1%4"


@pytest.mark.parametrize("name", ["nchwc", "nchwc0", "hwc", "", "nchwc99999"])
def test_other_layouts_are_refused(name):
    with pytest.raises(OptionError, match="is not nchw, nhwc"):
        Layout(name)
