"""`export_c` writes a folder that compiles, checks itself, traces and says all about itself; or nothing."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from deploy.c.running import needs_gcc
from deploy.c.small_nets import classifier, functions

import qengine
from qengine.deploy.c.host_program import WARNINGS
from qengine.deploy.c.manifest import c_schema
from qengine.deploy.vectors.schema import fault_of
from qengine.errors import FeedError, OptionError

IMAGE = np.random.default_rng(3).normal(0, 2, (1, 2, 6, 6)).astype(np.float32)
SPLIT = [
    "CMakeLists.txt",
    "Makefile",
    "README.md",
    "kws.c",
    "kws.h",
    "kws.json",
    "kws_check.c",
    "kws_kernels.h",
    "kws_trace.h",
    "kws_weights.c",
]


def session_of(model=None, **options):
    return qengine.InferenceSession(classifier() if model is None else model, **{"qformat": "Q3.4"} | options)


def export(folder, session=None, **options):
    return qengine.export_c(session or session_of(), folder, **{"name": "kws"} | options)


def run(command, folder, status=0):
    result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


def test_files_and_manifest(tmp_path):
    project = export(tmp_path / "net", data={"net_image": IMAGE})
    assert sorted(path.name for path in project.folder.iterdir()) == SPLIT
    assert sorted(project.files) == SPLIT
    manifest = json.loads((project.folder / "kws.json").read_text())
    assert fault_of(manifest, c_schema()) is None
    assert [one["name"] for one in manifest["tensors"]] == [
        "net_image",
        "a/relu",
        "pool*/out",
        "flat",
        "logits",
        "probabilities",
    ]
    conv = project.operators[0]
    assert (conv["node"], conv["macs"], conv["inputs"], conv["outputs"]) == (
        "first conv",
        4 * 36 * 18,
        ["net_image"],
        ["a/relu"],
    )
    assert isinstance(conv["shift"], int)
    assert conv["activation"]["low"] == 0
    assert conv["rounding_constants"]["c1"] == 1
    assert project.flash == sum(one["flash"] for one in project.operators)
    assert project.arena >= project.bound > 0
    assert qengine.CProject.read(project.folder) == qengine.CProject(project.folder, manifest)


def test_every_file_says_where_it_came_from(tmp_path):
    project = export(tmp_path / "net")
    for name in SPLIT:
        head = (project.folder / name).read_text()[:1500]
        assert project.manifest["model"]["sha256"] in head, name
        assert project.manifest["formats"]["sha256"] in head, name
        assert "qengine.export_c(name='kws')" in head.replace('"', "'"), name
    assert not re.search(str(tmp_path), "".join(path.read_text() for path in project.folder.iterdir()))


@pytest.mark.parametrize("one_file", [False, True])
def test_the_same_input_gives_the_same_bytes(tmp_path, one_file):
    folders = [
        export(tmp_path / name, session_of(), one_file=one_file, check=1, data={"net_image": IMAGE}).folder
        for name in "ab"
    ]
    texts = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert texts[0] == texts[1]


def test_a_folder_is_replaced_or_refused(tmp_path):
    folder = tmp_path / "net"
    export(folder, name="first")
    export(folder)
    assert sorted(path.name for path in folder.iterdir()) == SPLIT
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.json").write_text("[1]")
    with pytest.raises(OptionError, match="the folder holds something else"):
        export(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.json"]
    with pytest.raises(FeedError, match="holds no network in C"):
        qengine.CProject.read(tmp_path / "mine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "7seg"}, "is not an identifier of C"),
        ({"name": "main"}, "word of C"),
        ({"name": "stdint"}, "makes a file stdint.h"),
        ({"name": "features"}, "makes a file features.h"),
        ({"name": "static_cast"}, "word of C"),
        ({"name": "uint8_t"}, "word of C"),
        ({"check": -1}, "check must be a whole number, 0 to 1000"),
        ({"ram": "much"}, "ram must be a number of bytes"),
        ({"ram": 100}, r"the arena needs \d+ B and --ram allows 100 B"),
        ({"shapes": {"image": (1, 2, 6, 6)}}, "no input 'image' to give a shape; did you mean 'net_image'"),
        ({"shapes": {"net_image": (0, 2, 6, 6)}}, "length in the shape of 'net_image' must be .* 1 or more, not 0"),
        ({"shapes": {"net_image": (1, 3, 6, 6)}}, "has shape N,2,6,6, not 1,3,6,6"),
    ],
)
def test_what_is_refused(tmp_path, options, message):
    with pytest.raises(qengine.QEngineError, match=message) as caught:
        export(tmp_path / "net", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "net").exists()


def test_more_that_is_refused(tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'nmae'"):
        export(tmp_path / "net", nmae="x")
    with pytest.raises(OptionError, match="give a --qformat or --formats"):
        qengine.export_c(qengine.InferenceSession(classifier()), tmp_path / "net")
    with pytest.raises(OptionError, match="no Softmax to leave out: the outputs come from Gemm"):
        export(tmp_path / "net", session_of(classifier(softmax=False)), drop_softmax=True)
    with pytest.raises(OptionError, match=r"has shape N,3,L.*--shape x=1,3,L"):
        export(tmp_path / "net", session_of(functions(shape=("N", 3, "L"))))
    assert not (tmp_path / "net").exists()


def test_a_softmax_is_left_out(tmp_path):
    project = export(tmp_path / "net", drop_softmax=True)
    assert project.manifest["model"]["outputs"] == ["logits"]
    assert "Softmax 'soft' is left out" in project.notes[0]
    assert "int8_t logits[5]" in (project.folder / "kws.h").read_text()


def test_an_open_shape(tmp_path):
    session = session_of(functions(shape=("N", 3, "L")))
    project = export(tmp_path / "net", session, shapes={"x": (2, 3, 7)})
    assert project.tensors["y"]["shape"] == [2, 7, 3]
    assert not project.notes
    assert "takes one sample" in export(tmp_path / "net", session_of(functions())).notes[0]


@needs_gcc
@pytest.mark.parametrize("one_file", [False, True])
def test_no_compiler_warns(tmp_path, one_file):
    folder = export(tmp_path / "net", one_file=one_file, check=1).folder
    flags = " ".join(["-Werror", *(flag for flag in WARNINGS if "std" not in flag)])
    for compiler in ("gcc -std=c99", "g++ -x c++ -std=c++17"):
        for macros in ("", "-DKWS_TRACE -DKWS_FLOAT_IO", "-DKWS_TRACE -DKWS_NO_MAIN -DKWS_SMALL"):
            run(f"{compiler} {flags} -fsyntax-only {macros} *.c", folder)


@needs_gcc
def test_the_self_test_names_the_operator_that_is_wrong(tmp_path):
    folder = export(tmp_path / "net", check=2, data={"net_image": IMAGE}).folder
    assert run("make -s check CFLAGS=-O1", folder) == "kws: all 6 tensors are right\n"
    source = (folder / "kws_weights.c").read_text()
    weights = re.search(r"(\w*logits\w*\[\d+\] = \{\s*)(-?\d+)", source)
    (folder / "kws_weights.c").write_text(source.replace(weights[0], f"{weights[1]}{(int(weights[2]) + 9) % 100}"))
    found = run("make -s check CFLAGS=-O1", folder, 2)
    assert "kws: operator 3, Gemm fc, computes a wrong tensor 'logits'" in found
    run("gcc -std=c99 -O1 kws.c kws_weights.c -DKWS_TRACE -c", folder)
    run("gcc -std=c99 -O1 kws.c kws_weights.c kws_check.c -o untraced -DKWS_NO_MAIN", folder, 1)


@needs_gcc
def test_outputs_of_more_samples_are_compared(tmp_path):
    folder = export(tmp_path / "net", check=1).folder
    source = (folder / "kws_check.c").read_text()
    expected = re.search(r"(kws_expected0_probabilities\[5\] = \{\s*)(-?\d+)", source)
    (folder / "kws_check.c").write_text(source.replace(expected[0], f"{expected[1]}{int(expected[2]) ^ 1}"))
    assert "operator 4, Softmax soft" in run("make -s check CFLAGS=-O1", folder, 2)


@needs_gcc
def test_a_trace_is_what_compare_reads(tmp_path):
    session = session_of()
    folder = export(tmp_path / "net", session, trace=True).folder
    run("make -s trace CFLAGS=-O1", folder)
    for reference in (folder, session):
        found = qengine.compare(reference, folder / "kws.trace")
        assert found.equal
        assert len(found.tensors) == 6
    text = (folder / "kws.trace").read_text()
    line = next(line for line in text.splitlines() if line.endswith(",pool*/out"))
    number, shape, order, kind, digits, _ = line.split(",", 5)
    assert (number, shape, order, kind) == ("2", "1x4x3x3", "0-2-3-1", "i8")
    wrong = line.replace(digits, f"{int(digits[:2], 16) ^ 2:02x}{digits[2:]}")
    (folder / "kws.trace").write_text(text.replace(line, wrong))
    found = qengine.compare(folder, folder / "kws.trace")
    assert not found.equal
    assert found.first.tensor == "pool*/out"


@needs_gcc
def test_a_trace_of_inputs_in_files(tmp_path):
    session = session_of()
    folder = export(tmp_path / "net", session, trace=True).folder
    codes = np.random.default_rng(1).integers(-128, 128, (1, 2, 6, 6)).astype(np.int8)
    codes.tofile(folder / "in.bin")
    run("make -s kws_check CFLAGS=-O1 && ./kws_check --trace in.bin > mine.trace", folder)
    run("./kws_check --trace in.bin >> mine.trace", folder)
    found = qengine.compare(folder, folder / "mine.trace")
    assert found.equal
    assert "no has no 72 bytes" in run("./kws_check --trace no 2>&1", folder, 2)


@needs_gcc
def test_verification(tmp_path):
    project = export(tmp_path / "net", verify=True, data=[{"net_image": IMAGE}, {"net_image": -IMAGE}])
    assert project.verification["equal"]
    assert (project.verification["tensors"], project.verification["samples"]) == (6, 10)
    assert project.manifest["compiled"]["code"] > 0
    again = project.verify({"net_image": 2 * IMAGE}, compiler="gcc", flags=("-O1",), samples=2)
    assert re.fullmatch(r"6 tensors x 5 samples equal, gcc [\d.]+ -O1", again.sentence)
    np.savez(tmp_path / "data.npz", net_image=np.stack([IMAGE, -IMAGE]).reshape(-1, *IMAGE.shape[1:]))
    for data in (tmp_path / "data.npz", IMAGE, qengine.open_dataset(tmp_path / "data.npz", session_of())):
        found = project.verify(data, compiler="gcc", flags=("-O1",), samples=2)
        assert re.match(rf"6 tensors x {4 + len(IMAGE) * (1 if data is IMAGE else 2)} samples equal", found.sentence)
    assert "x 5 samples" in project.verify(tmp_path / "data.npz", compiler="gcc", samples=2, limit=1).sentence
    with pytest.raises(OptionError, match="no compiler 'nocc'"):
        project.verify(compiler="nocc")
    with pytest.raises(OptionError, match="has no session"):
        qengine.CProject.read(project.folder).verify()


@needs_gcc
def test_a_verification_that_fails_names_the_first_tensor(tmp_path):
    project = export(tmp_path / "net")
    verifier = project._verifier
    source = verifier.files["kws_weights.c"]
    weight = re.search(r"(\w*a_relu\w*\[\d+\] = \{\s*)(-?\d+)", source)
    verifier.files["kws_weights.c"] = source.replace(weight[0], f"{weight[1]}{(int(weight[2]) + 50) % 100}")
    found = project.verify(samples=5)
    assert not found.equal
    assert found.differences[0].tensor == "a/relu"
    assert "C is wrong, gcc" in found.sentence
    assert "'a/relu' (Conv first conv) differs on" in found.sentence


@needs_gcc
def test_a_verification_sees_what_lies_beyond_the_arena(tmp_path):
    project = export(tmp_path / "net")
    files = project._verifier.files
    files["kws.h"] = files["kws.h"].replace(f"ARENA_BYTES {project.arena}", f"ARENA_BYTES {project.arena - 8}")
    with pytest.raises(OptionError, match="kws_run_in writes beyond its arena"):
        project.verify(samples=1)
    files["kws.c"] = "int x = y;"
    with pytest.raises(OptionError, match=r"gcc refuses the files: kws\.c:1.*error"):
        project.verify(samples=1)


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    project = export(tmp_path / "net", verify=True)
    assert project.verification["compiler"] is None
    assert project.notes[-1] == "not verified: there is no gcc, clang or cc on the PATH"
    assert project.manifest["compiled"] is None


@needs_gcc
@pytest.mark.parametrize("name", ["arena", "memory", "row", "linear", "NULL", "net_run", 'x*/\\\n"?', "ünï", "7"])
def test_names_that_c_has_for_something_else(tmp_path, name):
    project = export(tmp_path / "net", session_of(functions(name, (1, 3, 4))), name="net", verify=True, trace=True)
    assert project.verification["equal"]
    run("gcc -std=c99 -Wall -Wextra -Werror -DNET_FLOAT_IO -DNET_TRACE -fsyntax-only *.c", project.folder)
    run("make -s trace CFLAGS=-O0", project.folder)
    assert qengine.compare(project.folder, project.folder / "net.trace").equal


@pytest.mark.skipif(
    shutil.which("s390x-linux-gnu-gcc") is None or shutil.which("qemu-s390x-static") is None,
    reason="needs gcc for s390x and qemu",
)
def test_checksums_and_traces_of_a_big_endian_machine(tmp_path):
    session = session_of(qformat="Q4.11")
    folder = export(tmp_path / "net", session, trace=True, check=1).folder
    machine = 'CROSS=s390x-linux-gnu- CFLAGS="-O1 -static" RUN=qemu-s390x-static'
    assert run(f"make -s check {machine}", folder) == "kws: all 6 tensors are right\n"
    run(f"make -s trace {machine}", folder)
    assert qengine.compare(folder, folder / "kws.trace").equal
