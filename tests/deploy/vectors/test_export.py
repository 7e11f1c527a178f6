import json
import os

import numpy as np
import pytest
from networks import network
from vector_nets import feeds_of, mixed, session_of, weights

import qengine
from qengine import Pack, export_vectors
from qengine.deploy.vectors.schema import fault_of, manifest_schema
from qengine.deploy.vectors.text_files import Lanes, read_hex
from qengine.errors import FeedError, OptionError

EVERYTHING = {"kinds": "npy,hex,c,mif,coe", "accumulators": True, "edges": 3, "lanes": 4, "element_order": "nchwc4"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pack with everything, and its session and feeds."""
    session = session_of()
    feeds = feeds_of(session, 2)
    folder = tmp_path_factory.mktemp("packs") / "pack"
    return export_vectors(session, feeds, folder, **EVERYTHING), session, feeds


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_tensor_is_there_as_a_run_gives_it(made):
    pack, session, feeds = made
    names = [t["name"] for t in pack.manifest["tensors"]]
    assert {"x", "c", "r", "s", "a", "p", "f", "y", "w", "b", "v", "u"} == set(names)
    for sample, fed in zip(("s0", "s1"), feeds, strict=True):
        for name, array in zip(names, session.run(names, fed, raw=True), strict=True):
            assert np.array_equal(pack.codes(sample, name), array), name
    described = pack.tensors["r"]
    assert described["kind"] == "intermediate"
    assert described["format"] == "Q2.5"
    assert pack.tensors["c"]["fused"]
    assert not described["fused"]


def test_edge_vectors_are_runs_too(made):
    pack, session, _ = made
    edges = [s["name"] for s in pack.manifest["samples"] if s["kind"] == "edge"]
    assert edges
    for name in edges:
        (y,) = session.run(["y"], {"x": np.float32(pack.codes(name, "x")) / 32}, raw=True)
        assert np.array_equal(pack.codes(name, "y"), y)


def test_text_files_hold_the_same_codes(made):
    pack, _, _ = made
    from qengine.deploy.vectors.layout import Layout

    for name in ("x", "r", "y"):
        t = pack.tensors[name]
        layout = Layout(t["layout"])
        count = layout.placed(np.zeros(t["shape"])).size
        path = pack.folder / f"{t['file'].replace('{sample}', 's1')}.hex"
        flat = read_hex(path.read_text(), t["bits"], t["signed"], count, Lanes(4))
        assert np.array_equal(layout.read(flat, tuple(t["shape"])), pack.codes("s1", name))


def test_operators_are_described_so_that_they_can_be_computed(made):
    pack, _, _ = made
    conv, gemm = pack.operators["the_c"], pack.operators["the_y"]
    assert conv["window"] == {"strides": [2, 1], "dilations": [1, 1], "pads": [[1, 0], [0, 1]], "group": 1}
    assert conv["activation"] == {"low": 0, "high": 127}
    constants = gemm["constants"]
    w, b = (pack.array(constants[one]["file"]).astype(np.int64) for one in ("weights", "bias"))
    c, s = gemm["rounding_constants"], gemm["shift"]
    for vector in gemm["vectors"]:
        acc = pack.array(vector["inputs"][0]["file"]).astype(np.int64) @ w.T + b
        assert np.array_equal(acc, pack.array(vector["accumulators"]))
        assert gemm["accumulator"]["least"] <= acc.min()
        assert acc.max() <= gemm["accumulator"]["most"] < 1 << (gemm["accumulator"]["bits"] - 1)
        rounded = (acc + c["c0"] + (c["c1"] & (acc >> s)) + (c["c2"] & (acc >> 63))) >> s
        assert np.array_equal(np.clip(rounded, -128, 127), pack.array(vector["output"]))
    acc = pack.codes("s0", "f").astype(np.int64) @ w.T + b
    assert np.array_equal(acc, pack.array("acc/s0/the_y"))
    table = pack.operators["the_a"]["constants"]["table"]
    codes = pack.array(table["file"])[pack.codes("s0", "r").astype(int) - table["first_code"]]
    assert np.array_equal(codes, pack.codes("s0", "a"))


def test_the_score_rises_with_searched_vectors(made):
    pack, _, _ = made
    score = pack.score
    counts = [score[f"detected_{how}"] for how in ("by_data", "with_edges", "with_operator_vectors")]
    assert counts == sorted(counts)
    assert counts[0] < counts[2] <= score["faults"]
    missed = {name: one["not_detected"] for name, one in score["operators"].items()}
    assert sum(map(len, missed.values())) == score["faults"] - counts[2]
    assert not missed["the_c"]


def test_the_same_model_gives_the_same_bytes(made, tmp_path):
    pack, _, feeds = made
    again = export_vectors(session_of(), feeds, tmp_path / "p", **EVERYTHING)
    assert contents(again.folder) == contents(pack.folder)


def test_the_manifest_follows_the_schema(made):
    pack, _, _ = made
    assert json.loads((pack.folder / "manifest.schema.json").read_text()) == manifest_schema()
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    jsonschema.validate(pack.manifest, manifest_schema())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: m.pop("model"), "manifest has no 'model'"),
        (lambda m: m["tensors"][0].update(kind="other"), r"manifest.tensors\[0\].kind is 'other'"),
        (lambda m: m["tensors"][0].update(shape=["1"]), r"manifest.tensors\[0\].shape\[0\] is str, expected integer"),
        (lambda m: m["model"].update(sha256="0"), "which does not match"),
        (lambda m: m["files"].update(lanes=0), "manifest.files.lanes is 0, expected 1 or more"),
        (lambda m: m["checksums"].update(a="b"), "manifest.checksums.a"),
    ],
)
def test_the_own_check_finds_faults(made, change, fault):
    import re

    manifest = json.loads(json.dumps(made[0].manifest))
    assert fault_of(manifest, manifest_schema()) is None
    change(manifest)
    assert re.search(fault, fault_of(manifest, manifest_schema()))


def copied(made, tmp_path):
    import shutil

    return Pack.read(shutil.copytree(made[0].folder, tmp_path / "copy"))


def test_damaged_files_are_refused(made, tmp_path):
    pack = copied(made, tmp_path)
    pack.check_files()
    path = pack.folder / "t/s0/y.npy"
    content = path.read_bytes()
    for damaged, match in (
        (content[:-2], "is cut short"),
        (content[:-1] + bytes([content[-1] ^ 1]), "checksum differs"),
        (b"nothing", "is not an array file"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(FeedError, match=match):
            pack.codes("s0", "y")
    np.save(path, np.zeros((1, 5), np.int16))
    with pytest.raises(FeedError, match=r"holds int16 \[1, 5\], the manifest says int8 \[1, 5\]"):
        pack.codes("s0", "y")
    path.unlink()
    with pytest.raises(FeedError, match="No such file"):
        pack.check_files()


@pytest.mark.parametrize("stem", ["../outside", "t/../../outside", "/outside"])
def test_no_file_outside_of_a_pack_is_read(made, tmp_path, stem):
    pack = copied(made, tmp_path)
    np.save(tmp_path / "outside.npy", np.zeros(3, np.int8))
    with pytest.raises(FeedError, match="which is outside of the folder"):
        pack.array(stem)


def test_names_that_a_pack_does_not_have(made):
    with pytest.raises(FeedError, match="has no sample 's7'; it has s0, s1"):
        made[0].codes("s7", "y")
    with pytest.raises(FeedError, match="has no tensor 'yy'; did you mean 'y'"):
        made[0].codes("s0", "yy")


@pytest.mark.parametrize(
    ("session", "match"),
    [
        (lambda: session_of(mixed(channels=3).replace(b"the_c", b"the_d")), "a pack of another model"),
        (lambda: session_of(formats={"a": "Q3.4"}), "a pack of other formats: 'a' is Q2.5 in the pack, Q3.4"),
        (
            lambda: session_of(rounding="floor"),
            "a pack of other rules: rounding is half_even, that of the session is floor",
        ),
    ],
)
def test_a_pack_of_something_else_is_refused(made, session, match):
    with pytest.raises(FeedError, match=match):
        Pack.read(made[0].folder, session())
    assert Pack.read(made[0].folder, made[1]).samples == made[0].samples


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "holds no pack"),
        ("{", "cannot be read as JSON"),
        ("[]", "manifest is list"),
        ('{"schema": 99}', "has schema 99, this version of qengine reads 1"),
    ],
)
def test_what_is_no_pack(tmp_path, content, match):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(FeedError, match=match):
        Pack.read(tmp_path)


def test_a_folder_is_written_whole_or_not_at_all(made, tmp_path, monkeypatch):
    session, feeds = made[1], made[2]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(OptionError, match="the folder holds something else"):
        export_vectors(session, feeds, other)
    folder = tmp_path / "pack"
    export_vectors(session, feeds[:1], folder, edges=0, operator_vectors=False)
    before = contents(folder)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("qengine.deploy.vectors.export.write_benches", fail)
    with pytest.raises(KeyboardInterrupt):
        export_vectors(session, feeds, folder, edges=0, operator_vectors=False)
    assert contents(folder) == before
    assert sorted(os.listdir(tmp_path)) == ["other", "pack"]
    monkeypatch.undo()
    pack = export_vectors(session, feeds, folder, edges=0, operator_vectors=False)
    assert pack.samples == ("s0", "s1")
    assert sorted(os.listdir(tmp_path)) == ["other", "pack"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kinds": "npy,vhdl"}, "no files of the kind 'vhdl'"),
        ({"fetch": "yy"}, "the model has no tensor 'yy'; did you mean 'y'"),
        ({"fetch": ""}, "fetch names no tensor"),
        ({"lanes": 0}, "lanes must be a whole number, 1 or more"),
        ({"element_order": "chw"}, "element order 'chw' is not"),
        ({"first_lane": "middle"}, "'low' or 'high'"),
        ({"edges": -1}, "edges must be"),
    ],
)
def test_wrong_options(made, tmp_path, options, match):
    with pytest.raises(OptionError, match=match):
        export_vectors(made[1], made[2], tmp_path / "p", **options)
    assert not (tmp_path / "p").exists()


def test_float32_and_no_samples_are_refused(tmp_path):
    session = qengine.InferenceSession(mixed())
    with pytest.raises(OptionError, match="vectors are codes of a run in fixed point"):
        export_vectors(session, feeds_of(session), tmp_path / "p")
    with pytest.raises(FeedError, match="there are no samples"):
        export_vectors(session_of(), [], tmp_path / "p")
    open_ended = session_of(network([("Relu", "x", "y")], inputs={"x": ["N", 3]}))
    feeds = [{"x": np.zeros((n, 3), np.float32)} for n in (1, 2)]
    with pytest.raises(FeedError, match="give samples of one shape"):
        export_vectors(open_ended, feeds, tmp_path / "p")


def test_some_tensors_only(made, tmp_path):
    pack = export_vectors(made[1], made[2], tmp_path / "p", fetch="p", edges=0, accumulators=True)
    assert {p.name for p in (pack.folder / "t/s0").iterdir()} == {"x.npy", "p.npy"}
    assert {p.name for p in (pack.folder / "op").iterdir()} == {"the_p"}
    with pytest.raises(FeedError, match="exported with other --fetch"):
        pack.codes("s0", "y")


NETS = {
    "odd names": network(
        [("Relu", "x", "a/b:c"), ("Neg", "a/b:c", "A/B:C"), ("Neg", "A/B:C", "int")],
        outputs=["int"],
        inputs={"x": [2, 3]},
    ),
    "numbers without axes": network([("ReduceMean", "x", "m", {"keepdims": 0}), ("Neg", "m", "y")]),
    "two inputs": network([("Add", "x z", "y")], inputs={"x": [2, 3], "z": [2, 1]}),
    "an island": network([("Sin", "x", "s"), ("Relu", "s", "y")]),
    "real numbers": network(
        [("ArgMax", "x", "i", {"axis": 1}), ("Cast", "i", "y", {"to": 1}), ("Relu", "x", "r")], outputs=["y", "r"]
    ),
    "a Concat in parts": network([("Sigmoid", "x", "s"), ("Concat", "x s", "y", {"axis": 1})]),
    "data that decides": network([("NonZero", "x", "i"), ("Relu", "x", "r")], outputs=["i", "r"]),
    "recurrent": network(
        [("LSTM", "x w r", "y h c", {"hidden_size": 4})],
        inputs={"x": [3, 1, 2]},
        outputs=["y", "h"],
        constants={"w": weights(1, 16, 2), "r": weights(1, 16, 4)},
    ),
    "no elements": network([("Relu", "x", "y")], inputs={"x": [0, 3]}),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("qformat", ["Q2.5", "UQ3.9"])
def test_other_networks(name, qformat, tmp_path):
    session = session_of(NETS[name], qformat=qformat)
    feeds = feeds_of(session)
    pack = export_vectors(session, feeds, tmp_path / "p", kinds="hex,c", edges=2, accumulators=True)
    pack.check_files()
    names = [n for n, t in pack.tensors.items() if t["kind"] != "constant"]
    for tensor, array in zip(names, session.run(names, feeds, raw=True), strict=True):
        assert np.array_equal(pack.codes("s0", tensor), array)
    stems = [t["c_name"].lower() for t in pack.manifest["tensors"]]
    assert len(set(stems)) == len(stems)


def test_graphs_in_nodes(tmp_path):
    from onnx import TensorProto, helper

    branch = [
        helper.make_graph(
            [helper.make_node(op, ["x"], [out])], out, [], [helper.make_tensor_value_info(out, 1, [2, 3])]
        )
        for op, out in (("Relu", "p"), ("Neg", "q"))
    ]
    nodes = [
        helper.make_node("If", ["k"], ["m"], then_branch=branch[0], else_branch=branch[1]),
        helper.make_node("Sigmoid", ["m"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", 1, [2, 3]),
        helper.make_tensor_value_info("k", TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, [2, 3])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = session_of(model.SerializeToString())
    feeds = {"x": feeds_of(session_of(NETS["two inputs"]))["x"], "k": np.array(True)}
    pack = export_vectors(session, feeds, tmp_path / "p", edges=2)
    assert np.array_equal(pack.codes("s0", "y"), session.run(["y"], feeds, raw=True)[0])
    assert any("(If) runs by itself" in note for note in pack.manifest["notes"])
