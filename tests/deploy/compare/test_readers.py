"""Every form of a dump is read, and the layout of its tensors found."""

import json

import numpy as np
import pytest
from networks import network
from small import codes, frames, session

import qengine
from qengine.errors import DumpError, OptionError

PLAIN = {"x": "x", "first/relu": "first_relu", "second.conv": "second_conv", "pool": "pool", "flat": "flat", "y": "y"}


def compared(path, **options):
    return qengine.compare(session(), path, frames()[0], **options)


def folder_of(tmp_path, write, ending):
    for name, array in codes().items():
        (tmp_path / f"{PLAIN[name]}{ending}").write_bytes(write(array))
    return tmp_path


def hex_words(array, lanes=1, low=True, digits=2):
    words = [f"{int(v) & (16**digits - 1):0{digits}x}" for v in array.reshape(-1)]
    words += ["0" * digits] * (-len(words) % lanes)
    lines = [words[i : i + lanes] for i in range(0, len(words), lanes)]
    return "\n".join("".join(line[::-1] if low else line) for line in lines)


def nhwc(array):
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


RAW = {
    "int8": lambda a: a.astype("<i1").tobytes(),
    "int16 little": lambda a: a.astype("<i2").tobytes(),
    "int16 big": lambda a: a.astype(">i2").tobytes(),
    "int32 big": lambda a: a.astype(">i4").tobytes(),
    "float32 dequantized": lambda a: (a / 16).astype("<f4").tobytes(),
    "int8 nhwc": lambda a: nhwc(a).astype("<i1").tobytes(),
}


@pytest.mark.parametrize("write", RAW.values(), ids=RAW)
@pytest.mark.parametrize("ending", [".bin", ".y"])
def test_raw_binary(tmp_path, write, ending):
    result = compared(folder_of(tmp_path, write, ending))
    assert result.equal, result.sentence
    assert len(result.tensors) == 6


HEX = {
    "readmemh": lambda a: "// x\n@0\n" + hex_words(a),
    "four lanes, low first": lambda a: hex_words(a, 4),
    "four lanes, high first": lambda a: "/* a\nb */" + hex_words(a, 4, low=False),
    "wide words": lambda a: hex_words(a, digits=8),
}


@pytest.mark.parametrize("write", HEX.values(), ids=HEX)
def test_hex(tmp_path, write):
    result = compared(folder_of(tmp_path, lambda a: write(a).encode(), ".hex"))
    assert result.equal, result.sentence


def indexed(name, array, separator):
    return "\n".join(f"{name}{separator}{i}{separator}{int(v)}" for i, v in enumerate(array.reshape(-1)))


def many_indexed(name, array):
    return "\n".join(f"{name}{list(i)} = {int(v)}".replace(" ", "", array.ndim - 1) for i, v in np.ndenumerate(array))


TEXT = {
    "csv": lambda n, a: indexed(n, a, ","),
    "blanks": lambda n, a: indexed(n, a, " "),
    "one line": lambda n, a: f"{n}: " + " ".join(str(int(v)) for v in a.reshape(-1)),
    "brackets": lambda n, a: f"[{n}]\n" + "\n".join(str(int(v)) for v in a.reshape(-1)),
    "several indices": many_indexed,
    "c trace": lambda n, a: f"{n},{list(PLAIN).index(n)},{a.astype('i1').tobytes().hex()}",
    "dequantized": lambda n, a: f"{n}: " + ", ".join(f"{v / 16:.6f}" for v in a.reshape(-1)),
}


@pytest.mark.parametrize("write", TEXT.values(), ids=TEXT)
def test_text(tmp_path, write):
    path = tmp_path / "trace.log"
    path.write_text("# a run\n" + "\n".join(write(n, a) for n, a in codes().items()) + "\n")
    result = compared(path)
    assert result.equal, result.sentence
    assert len(result.tensors) == 6


def test_hex_of_a_tensor_without_elements(tmp_path):
    model = network(
        [("Slice", "x two two one", "none"), ("Relu", "x", "y")],
        inputs={"x": [1, 2]},
        outputs=("none", "y"),
        constants={"one": np.array([1]), "two": np.array([2])},
    )
    np.save(tmp_path / "x.npy", np.zeros((1, 2), np.int8))
    (tmp_path / "none.hex").write_text("// none: shape (0, 2)\n")
    result = qengine.compare(model, tmp_path, qformat="Q3.4")
    assert result.equal, result.sentence
    assert "none" in {one.name for one in result.tensors}


def test_json_npz_and_a_single_npy(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({n: a.tolist() for n, a in codes().items()}))
    np.savez(tmp_path / "d.npz", **{n.replace("/", "."): a for n, a in codes().items()})
    np.save(tmp_path / "anything.npy", codes()["y"])
    for name in ("d.json", "d.npz", "anything.npy"):
        assert compared(tmp_path / name).equal, name


def test_numbers_stand_for_names(tmp_path):
    for i, array in enumerate(codes().values()):
        array.tofile(tmp_path / f"tidl_trace{i:04}.y")
    result = compared(tmp_path)
    assert result.equal
    assert {one.matched_by for one in result.tensors} == {"number"}


LAYOUTS = {
    "NHWC": lambda a: nhwc(a),
    "NCWH": lambda a: a.swapaxes(-1, -2) if a.ndim == 4 else a,
    "reversed channels": lambda a: a[:, ::-1] if a.ndim == 4 else a,
    "blocks of 4": lambda a: blocked(a, 4),
    "rows of 16": lambda a: np.pad(a, [(0, 0)] * 3 + [(0, 16 - a.shape[-1])]) if a.ndim == 4 and a.shape[2] > 1 else a,
    "a border": lambda a: np.pad(a, [(0, 0)] * 2 + [(1, 1)] * 2) if a.ndim == 4 else a,
}


def blocked(a, block):
    if a.ndim != 4:
        return a
    n, c, h, w = a.shape
    padded = np.pad(a, ((0, 0), (0, -c % block), (0, 0), (0, 0)))
    return padded.reshape(n, -1, block, h, w).transpose(0, 1, 3, 4, 2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_no_errors(name):
    dump = {n: np.ascontiguousarray(LAYOUTS[name](a)).reshape(-1) for n, a in codes().items()}
    result = compared(dump)
    assert result.equal, result.sentence
    assert any("layout" in note for note in result.notes)


@pytest.mark.parametrize("layout", ["NHWC", "nhwc"])
def test_a_given_layout_is_that_of_images(layout):
    dump = {name: nhwc(array).reshape(-1) for name, array in codes().items()}
    result = compared(dump, element_order=layout)
    assert result.equal, result.sentence
    assert not compared(dump, element_order="NCHW").equal


def test_one_operator_that_reverses_channels():
    right = codes()
    dump = right | {"second.conv": right["second.conv"][:, ::-1]}
    dump |= {"pool": right["pool"][:, ::-1], "flat": right["flat"][:, ::-1]}
    result = compared({name: dump[name] for name in ("x", "first/relu", "second.conv", "flat")})
    assert not result.equal
    assert result.own == ("second.conv",)
    assert result.cause.name == "output:channels_reversed"
    assert result.cause.is_complete
    assert compared({"x": right["x"][:, ::-1], "first/relu": right["first/relu"]}).equal


def test_a_layout_that_does_not_exist():
    with pytest.raises(OptionError, match="no element order is named 'NQ'; give auto, or one such as NCHW"):
        compared(codes(), element_order="NQ")


def test_a_tensor_that_cannot_be_read():
    result = compared(codes() | {"pool": np.full((1, 5, 1, 1), np.nan)})
    assert not result.equal
    assert (result.unread, result.missing) == (("pool",), ())
    assert result.sentence.startswith("1 tensor cannot be read ('pool')")


def test_unsigned_bytes_are_signed_codes():
    result = compared({n: a.view(np.uint8) for n, a in codes().items()})
    assert result.equal
    assert any("signed" in note for note in result.notes)


BAD = {
    "cut": ({"y": np.zeros(3, np.int8)}, "cut short"),
    "NaN": ({"y": np.full((1, 5), np.nan)}, "NaN"),
    "beyond the word": ({"y": np.full((1, 5), 1000)}, "do not fit Q3.4"),
    "between steps": ({"y": np.full((1, 5), 0.3)}, "steps"),
    "infinity": ({"y": np.full((1, 5), np.inf)}, "steps"),
    "complex": ({"y": np.zeros((1, 5), complex)}, "holds complex128"),
    "ragged": ({"y": [[1], [2, 3]]}, "array 'y'"),
    "a number as a name": ({3: np.zeros((1, 5))}, "by name, not by 3"),
    "no such name": ({"lstm": np.zeros(1000, np.int8)}, "no tensor of the dump is one of the model"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_dumps(name):
    dump, words = BAD[name]
    with pytest.raises(DumpError, match=words) as caught:
        compared(dump)
    assert "\n" not in str(caught.value)


FILES = {
    "empty.npy": (b"", "is empty"),
    "cut.npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<i2'", "is not an array file"),
    "no.npz": (b"PK\x03\x04 nothing", "not an .npz file"),
    "none.npz": (b"PK\x05\x06" + b"\0" * 18, "holds no array"),
    "undriven.hex": (b"00\nxx\n", "undefined"),
    "words.hex": (b"hello\n", "not a hex number"),
    "twice.csv": (b"y,0,1\ny,0,2\n", "there twice"),
    "net.onnx": (b"", "is a model, not a dump"),
    "y.hex": (b"// no words\n", "cut short or of another shape: it has 0 elements"),
    "gap.csv": (b"y,0,1\ny,3,2\n", "2 of the 4 elements"),
    "prose.log": (b"no numbers here\n", "holds no numbers"),
    "bad.json": (b"{", "not a JSON object"),
    "large.json": (b'{"y": [1' + b"0" * 400 + b"]}", "not a JSON object"),
    "superscript.log": ("[\u00b2] 1 2\n".encode(), "holds no tensor|size|match"),
    "digits.log": (b"y " + b"9" * 5000 + b" 3\n", "is cut short or of another shape"),
    "index.log": (b"y[" + b"9" * 5000 + b"] = 3\n", "holds no numbers"),
    "hex.log": (b"y: 0x" + b"f" * 300 + b"\n", "holds no numbers"),
    "separators.csv": (b",,,\n,,,\n", "holds no numbers"),
    "value.csv": (b"name,index,value\ny,0,1\ny,1,abc\ny,2,3\n", r"value.csv, line 3: 'abc' is not a number"),
    "axes.csv": (b"y,0,0,1\ny,0,1,--\n", r"axes.csv, line 2: '--' is not a number"),
    "table.csv": (b"y,flat\n1,2\n3,4x\n5,6\n", r"table.csv, line 3: '4x' is not a number"),
    "bare.csv": (b"1,2,3,O,5\n", r"bare.csv, line 1: 'O' is not a number"),
    "back.hex": (b"@0\n00\n00\n@1\n", "is not after the 2 words"),
    "far.hex": (b"00\n@c0000\n00\n@180000\n", "more than 1,048,576 words are left out"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files(tmp_path, name):
    content, words = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DumpError, match=words):
        compared(tmp_path / name)


def test_a_folder_without_tensors(tmp_path):
    (tmp_path / "readme.md").write_text("nothing")
    with pytest.raises(DumpError, match="holds no file of a tensor"):
        compared(tmp_path)
