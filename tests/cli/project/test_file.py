"""Reading of project files: each key becomes the text of an option, and every mistake is one line that names it."""

from pathlib import Path

import pytest

from qengine.cli.project import keys
from qengine.cli.project.file import read_project
from qengine.errors import ProjectError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text, path="qengine.toml"):
    Path(path).write_text(text, encoding="utf-8")
    return read_project(path)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('model = "m.onnx"', ("model",), "m.onnx"),
        ('model = "digits"', ("model",), "digits"),
        ('data = "photos"', ("data",), "photos"),
        ('target = "cmsis-nn-q7"', ("target",), "cmsis-nn-q7"),
        ('formats = "a/f.json"', ("formats",), "a/f.json"),
        ("bits = 8", ("bits",), 8),
        ("limit = 1", ("limit",), 1),
        ('labels = "column.a"', ("labels",), "column.a"),
        ('rounding = "floor"', ("rounding",), "floor"),
        ("inputs = {factor = [1, 1, 3.5, 3], on = true}", ("inputs",), {"factor": "1,1,3.5,3", "on": "true"}),
        ('inputs = {"a.b" = "1,2", n = 7}', ("inputs",), {"a.b": "1,2", "n": "7"}),
        ("[inputs]\nx = -1.5e-3", ("inputs",), {"x": "-0.0015"}),
        ("[preprocessing]\nmean = [0.485, 0.456, 0.406]", ("preprocessing", "mean"), "0.485,0.456,0.406"),
        ('[preprocessing]\nscale = "1/255"', ("preprocessing", "scale"), "1/255"),
        ("[preprocessing]\nstd = 0.5", ("preprocessing", "std"), "0.5"),
        ("preprocessing.resize = [224, 320]", ("preprocessing", "resize"), "224,320"),
        ("preprocessing = {crop = 224, bgr = true}", ("preprocessing", "bgr"), True),
        ('[preprocessing]\nconvert = ["grey", "size"]', ("preprocessing", "convert"), "grey,size"),
        ('[preprocessing]\nconvert = "grey, alpha"', ("preprocessing", "convert"), "grey,alpha"),
        ('\ufeffmodel = "m.onnx"\r\n', ("model",), "m.onnx"),
    ],
)
def test_values(text, path, value):
    assert read(text).values == {path: value} | ({("preprocessing", "crop"): "224"} if "crop" in text else {})


def test_an_empty_file_holds_nothing():
    assert read("# nothing\n").values == {}


def test_paths_are_relative_to_the_file(folder):
    (folder / "p").mkdir()
    found = read(
        'model = "m.onnx"\ndata = "/d/x"\ntarget = "t.toml"\nlabels = "../l.csv"\n'
        'inputs = {a = "a.npy", b = "1/3", c = "true,false", d = "word"}',
        "p/qengine.toml",
    )
    at = {key[0]: value for key, value in found.values.items()}
    assert at["model"] == str(Path("p/m.onnx"))
    assert at["data"] == "/d/x"
    assert at["target"] == str(Path("p/t.toml"))
    assert at["labels"] == str(Path("p/../l.csv"))
    assert at["inputs"] == {"a": str(Path("p/a.npy")), "b": "1/3", "c": "true,false", "d": "word"}


def test_a_home_folder_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert read('data = "~/photos"').get("data") == "/home/somebody/photos"


def test_tables_of_commands():
    found = read('[sweep]\nbits = "4-8"\n[export.c]\nname = "n"\n[export.vectors]\n')
    assert found.options == {"sweep": {"bits": "4-8"}, "export c": {"name": "n"}, "export vectors": {}}


BAD = [
    ("modle = 'm.onnx'", 1, "modle does not exist; did you mean 'model'?; allowed: model, data"),
    ("\n\nmodel = 3", 3, "model is 3; allowed: a file or a bundled model"),
    ("model = ''", 1, "model is ''"),
    ("model = ['a.onnx', 'b.onnx']", 1, "model is ['a.onnx', 'b.onnx']; allowed: a file"),
    ("data = true", 1, "data is true"),
    ("target = 7", 1, "target is 7"),
    ("formats = 'f.toml'", 1, "formats is 'f.toml'; allowed: a file name that ends in .json"),
    ("formats = {a = 'Q4.3'}", 1, "formats is a table"),
    ("output = 1.5", 1, "output is 1.5"),
    ("bits = '8'", 1, "bits is '8'; allowed: 2 to 16"),
    ("bits = 17", 1, "bits is 17; allowed: 2 to 16"),
    ("bits = true", 1, "bits is true"),
    ("limit = 0", 1, "limit is 0; allowed: a whole number of 1 or more"),
    ("limit = 2.0", 1, "limit is 2.0"),
    ("limit = 2020-01-01", 1, "limit is 2020-01-01"),
    ("rounding = 'half_eve'", 1, "rounding is 'half_eve'; did you mean 'half_even'?"),
    ("overflow = 'clip'", 1, "overflow is 'clip'; allowed: saturate, symmetric, wrap"),
    ("threads = 0", 1, "threads is 0; allowed: 1 to 1024"),
    ("inputs = [1, 1, 3, 3]", 1, "inputs is [1, 1, 3, 3]; allowed: a table such as"),
    ("inputs = {factor = []}", 1, "inputs is [] for 'factor'"),
    ("inputs = {factor = [[1], [2]]}", 1, "inputs is [[1], [2]] for 'factor'"),
    ("inputs = {factor = ''}", 1, "inputs is '' for 'factor'"),
    ("scale = '1/255'", 1, "scale stands in the table [preprocessing]"),
    ("[preprocessing]\nmodel = 'm.onnx'", 2, "preprocessing.model stands above the tables"),
    ("[preprocessing]\nscales = 1", 2, "preprocessing.scales does not exist; did you mean 'scale'?"),
    ("preprocessing = 'imagenet'", 1, "preprocessing is 'imagenet'; allowed: a table, [preprocessing]"),
    ("[[preprocessing]]\nscale = 1", 1, "preprocessing is [a table]; allowed: a table"),
    ("[preprocessing]\nmean = 'grey'", 2, "preprocessing.mean is 'grey'; allowed: a number, a list"),
    ("[preprocessing]\nmean = [true]", 2, "preprocessing.mean is [true]"),
    ("[preprocessing]\nmean = []", 2, "preprocessing.mean is []"),
    ("[preprocessing]\nscale = '1/0'", 2, "preprocessing.scale is '1/0'"),
    (
        "[preprocessing]\nscale = 0",
        2,
        "preprocessing.scale is not allowed: scale 0 must be a finite number other than 0",
    ),
    ("[preprocessing]\nscale = inf", 2, "scale inf must be a finite"),
    ("[preprocessing]\nmean = nan", 2, "mean nan must be a finite"),
    ("[preprocessing]\nstd = -1", 2, "std -1 must be positive"),
    ("[preprocessing]\nstd = 1\nscale = 1", 1, "scale and std both say what pixels are divided by"),
    ("[preprocessing]\nresize = 1.5", 2, "preprocessing.resize is 1.5; allowed: a number of pixels"),
    ("[preprocessing]\nresize = [1, 2, 3]", 2, "preprocessing.resize is [1, 2, 3]"),
    ("[preprocessing]\ncrop = 0", 2, "crop [0, 0] is not one length"),
    ("[preprocessing]\nbgr = 1", 2, "preprocessing.bgr is 1; allowed: true or false"),
    ("[preprocessing]\nbgr = 'yes'", 2, "preprocessing.bgr is 'yes'"),
    ("[preprocessing]\nlayout = 'NHWC'", 2, "preprocessing.layout is 'NHWC'; did you mean 'nhwc'?"),
    ("[preprocessing]\nconvert = 'gray'", 2, "preprocessing.convert is 'gray'; did you mean 'grey'?"),
    ("[preprocessing]\nconvert = [1]", 2, "preprocessing.convert is 1"),
    ("sweep = '4-8'", 1, "sweep is '4-8'; allowed: a table, [sweep]"),
    ("[sweeps]\nbits = 4", 1, "sweeps does not exist; did you mean 'sweep'?"),
    ("export = 1", 1, "export is 1; allowed: a table, [export]"),
    ("[export.vector]\nedges = 4", 1, "export.vector does not exist; did you mean 'vectors'?; allowed: vectors, c"),
    ("[export]\nc = 1", 2, "export.c is 1; allowed: a table, [export.c]"),
    ("bits = 8\nbits = 7", 2, "Cannot overwrite a value"),
    ("bits = 8\n[a\n", 2, "Expected ']'"),
    ("model = digits", 1, "Invalid value"),
    ("model = 'a\n'", 1, "invalid character"),
    ("\x00", 1, "Invalid statement"),
]


@pytest.mark.parametrize(("text", "line", "reason"), BAD, ids=[text for text, _, _ in BAD])
def test_a_mistake_is_told_with_its_line(text, line, reason):
    with pytest.raises(ProjectError) as caught:
        read(text)
    message = str(caught.value)
    assert "qengine.toml, line" in message
    assert f"line {line}" in message
    assert reason in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'model = "\xff"', "'utf-8' codec can't decode byte 0xff"),
        (b"\xff\xfem\x00o\x00", "'utf-8' codec"),
        (b"# " + b"x" * 1_000_000, "1,000,002 bytes; allowed: 1,000,000"),
        (b"a = " + b"[" * 5000, "qengine.toml"),
        (b"a" * 500_000 + b" = 1", "does not exist"),
    ],
    ids=["not UTF-8", "UTF-16", "huge", "nested", "a long key"],
)
def test_a_file_that_is_none(folder, content, reason):
    (folder / "qengine.toml").write_bytes(content)
    with pytest.raises(ProjectError) as caught:
        read_project("qengine.toml")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1100


def test_a_folder_of_that_name(folder):
    (folder / "qengine.toml").mkdir()
    with pytest.raises(ProjectError, match=r"qengine\.toml: is a directory"):
        read_project("qengine.toml")


def test_a_link_that_leads_nowhere(folder):
    (folder / "qengine.toml").symlink_to("gone.toml")
    with pytest.raises(ProjectError, match=r"qengine\.toml: No such file"):
        read_project("qengine.toml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "model = 'no.onnx'",
            "model is 'no.onnx', and there is no such file or folder, and nothing bundled has that name",
        ),
        ("model = 'digit'", "did you mean digits?"),
        ("model = 'mine.onx'", "did you mean mine.onnx?"),
        ("\ndata = 'phots'", "line 2: data is 'phots', .*did you mean photos?"),
        ("labels = 'l.csv'", "labels is 'l.csv', and there is no such file or folder$"),
        ("target = 'cmsis-nn-q8'", "target is 'cmsis-nn-q8', .*did you mean cmsis-nn-q7?"),
    ],
)
def test_what_is_not_there(folder, text, reason):
    (folder / "mine.onnx").touch()
    (folder / "photos").mkdir()
    project = read(text)
    (path,) = project.values
    (key,) = (key for key in keys.KEYS if key.path == path)
    with pytest.raises(ProjectError, match=reason):
        project.check_path(key)


def test_what_is_there_or_is_made_later(folder):
    (folder / "mine.onnx").touch()
    project = read(
        "model = 'mine.onnx'\ndata = 'digits'\ntarget = 'onnxruntime-int8'\nformats = 'f.json'\noutput = 'o'"
    )
    for key in keys.KEYS:
        if key.path in project.values and key.path != ("target",):
            project.check_path(key)
