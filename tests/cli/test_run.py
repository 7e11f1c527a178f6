"""`qengine run` does what the library does, and tells it truly."""

import json

import numpy as np
import onnx
import pytest
from networks import network
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from qengine import InferenceSession, cli, quantize, zoo

X = np.linspace(-2, 2, 90, dtype=np.float32).reshape(1, 3, 6, 5)


def told(capsys, *words):
    """Return the JSON object that a run prints."""
    assert cli.main(["run", *map(str, words), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


@pytest.fixture
def neg(tmp_path):
    """Return a model y = -relu(x), and its input as a file."""
    path = tmp_path / "neg.onnx"
    path.write_bytes(network([("Relu", "x", "r"), ("Neg", "r", "y")]))
    np.save(tmp_path / "x.npy", X)
    return path, f"x={tmp_path / 'x.npy'}"


def test_srcnn_in_q4_3(capsys, tmp_path):
    found = told(capsys, "srcnn", "--qformat", "Q4.3", "-o", tmp_path / "out.png")
    sample = zoo.ENTRIES["srcnn"].sample()
    (output,) = InferenceSession(zoo.ENTRIES["srcnn"].path, qformat="Q4.3").run(None, sample.feeds)
    pixels = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(pixels, np.rint(np.clip(output[0].transpose(1, 2, 0) * 255, 0, 255)))
    truth = np.asarray(Image.open(zoo.bundled("srcnn_original.png")), np.float64)
    error = np.mean((np.clip(output[0].transpose(1, 2, 0).astype(np.float64) * 255, 0, 255) - truth) ** 2)
    psnr = found["metrics"]["psnr"]
    assert (found["evaluated_output"], set(found["metrics"])) == ("output", {"psnr", "sqnr"})
    assert psnr["against_target"] == pytest.approx(10 * np.log10(255**2 / error))
    assert psnr["float32_against_target"] > psnr["baseline_against_target"] + 0.5
    assert found["islands"] == []
    assert found["written"] == [str(tmp_path / "out.png")]
    assert found["advice"]["format"] == "Q0.7"
    assert "4 of its 4 integer bits unused" in found["advice"]["reason"]
    assert found["advice"]["sqnr_db"] > found["advice"]["sqnr_db_before"] + 6
    assert [t["name"] for t in found["tensors"]] == ["input", "upscaled", "relu1", "relu2", "output"]
    assert "factor" not in found["formats"]


def test_srcnn_at_another_factor(capsys):
    found = told(capsys, "srcnn", "-i", "factor=1,1,1.5,2")
    assert found["outputs"][0]["shape"] == [1, 3, 150, 200]
    assert found["arithmetic"] == "float32"
    assert found["metrics"] == {}  # the original has another size


def test_digits(capsys):
    found = told(capsys, "digits", "--qformat", "Q3.4")
    top1, agreement = found["metrics"]["top1"], found["metrics"]["agreement"]
    assert top1["float32_against_target"] >= 0.98
    assert top1["against_target"] >= top1["float32_against_target"] - 0.005
    assert (top1["against_float32"], agreement["against_target"]) == (None, None)
    assert agreement["against_float32"] > 0.98


def test_what_is_known_of_the_sample_is_not_told_of_another_input(capsys, tmp_path):
    np.save(tmp_path / "image.npy", zoo.ENTRIES["digits"].sample().feeds["image"][::-1])
    found = told(capsys, "digits", "-i", f"image={tmp_path / 'image.npy'}", "--qformat", "Q3.4")
    assert "top1" not in found["metrics"]
    assert found["metrics"]["agreement"]["against_float32"] > 0.98


def test_counts(capsys, neg):
    model, x = neg
    found = {t["name"]: t for t in told(capsys, model, "-i", x, "--qformat", "Q0.3")["tensors"]}
    scaled = np.rint(X.astype(np.float64) * 8)
    assert found["x"]["saturated"] == np.count_nonzero((scaled > 7) | (scaled < -8))
    assert found["x"]["underflowed"] == np.count_nonzero((scaled == 0) & (X != 0))
    assert (found["x"]["largest"], found["y"]["largest"], found["y"]["elements"]) == (8, 7, 90)


def test_raw_codes_of_an_inner_tensor(capsys, tmp_path, neg):
    model, x = neg
    told(capsys, model, "-i", x, "--qformat", "Q2.3", "--fetch", "r", "--fetch", "x", "--raw", "-o", tmp_path / "c.npz")
    codes = quantize(X, "Q2.3")
    with np.load(tmp_path / "c.npz") as saved:
        assert set(saved) == {"r", "x"}
        np.testing.assert_array_equal(saved["x"], codes, strict=True)
        np.testing.assert_array_equal(saved["r"], np.maximum(codes, np.int8(0)), strict=True)
    assert json.loads((tmp_path / "c.formats.json").read_text()) == {"r": "Q2.3", "x": "Q2.3"}


def test_options_reach_the_session(capsys, tmp_path):
    w = np.linspace(-1, 1, 4 * 27, dtype=np.float32).reshape(4, 3, 3, 3)
    w *= np.float32([1, 0.1, 3, 1]).reshape(4, 1, 1, 1)
    (tmp_path / "m.onnx").write_bytes(network([("Conv", "x w", "y")], constants={"w": w}))
    np.save(tmp_path / "x.npy", X)
    options = {"qformat": "Q2.5", "rounding": "floor", "overflow": "wrap", "accumulator_bits": 12, "per_channel": True}
    words = [f"--{k.replace('_', '-')}" if v is True else f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
    out = tmp_path / "y.npy"
    words += ["-i", f"x={tmp_path / 'x.npy'}", "--raw", "-o", out, "--threads=1"]
    found = told(capsys, tmp_path / "m.onnx", *words)
    assert {k: found[k] for k in options} == options
    (wanted,) = InferenceSession(tmp_path / "m.onnx", **options).run(None, {"x": X}, raw=True)
    np.testing.assert_array_equal(np.load(out), wanted, strict=True)
    (plain,) = InferenceSession(tmp_path / "m.onnx", qformat="Q2.5").run(None, {"x": X}, raw=True)
    assert (wanted != plain).mean() > 0.5


def test_weights_and_formats_of_their_own(capsys, tmp_path):
    (tmp_path / "f.json").write_text('{"relu": "UQ3.5"}')
    found = told(capsys, "digits", "--formats", tmp_path / "f.json", "--qformat", "Q3.4", "--weight-qformat", "Q1.6")
    assert found["formats"]["relu"] == "UQ3.5"
    assert found["formats"]["logits"] == "Q3.4"
    assert found["formats"]["classifier.weight"] == "Q1.6"
    assert found["advice"] is None


def test_islands_are_listed_and_strict_refuses_them(capsys, tmp_path, neg):
    (tmp_path / "s.onnx").write_bytes(network([("Softmax", "x", "y")]))
    words = [tmp_path / "s.onnx", "-i", neg[1], "--qformat", "Q2.5"]
    assert told(capsys, *words)["islands"] == told(capsys, *words, "--strict")["islands"] == []
    words += ["--islands", "softmax"]
    assert told(capsys, *words)["islands"] == ["node 'the_y' (Softmax)"]
    assert cli.main(["run", *map(str, words), "--strict"]) == 2
    assert "no fixed-point rule for node 'the_y' (Softmax)" in capsys.readouterr().err


def test_images_in_and_out(capsys, tmp_path):
    """Whatever the scale, mean and order of channels: a model that does nothing gives the picture back."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    (tmp_path / "same.onnx").write_bytes(network([("Identity", "x", "y")]))
    words = [tmp_path / "same.onnx", "-i", f"x={tmp_path / 'in.png'}", "-o", tmp_path / "out.png"]
    for options in ([], ["--scale", "1/255"], ["--scale=1/58,1/57,1/57", "--mean=123.7,116.3,103.5", "--bgr"]):
        told(capsys, *words, *options)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), pixels)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_images_in_and_out_of_channels_last(capsys, tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    model = network([("Identity", "x", "y")], inputs={"x": (kind, [1, 6, 5, 3])})
    (tmp_path / "same.onnx").write_bytes(model)
    found = told(capsys, tmp_path / "same.onnx", "-i", f"x={tmp_path / 'in.png'}", "-o", tmp_path / "out.png")
    assert found["written"] == [str(tmp_path / "out.png")]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), pixels)


def test_a_picture_of_channels_last_is_measured_as_one(capsys, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 15, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    last, first = ([1, 16, 15, 3], [1, 3, 16, 15])
    figures = []
    for shape in (last, first):
        (tmp_path / "neg.onnx").write_bytes(network([("Neg", "x", "n"), ("Neg", "n", "y")], inputs={"x": shape}))
        words = ["-i", f"x={tmp_path / 'in.png'}", "--scale", "1/255", "--qformat", "Q2.5"]
        figures.append(told(capsys, tmp_path / "neg.onnx", *words, "--expected", tmp_path / "in.png")["metrics"])
    assert figures[0]["psnr"]["against_target"] is not None
    assert figures[0]["psnr"] == pytest.approx(figures[1]["psnr"])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "say which with --layout nchw or --layout nhwc"),
        (("--layout", "first"), "layout 'first' is not one of nchw, nhwc"),
        (("--layout", "nchw", "--convert", "hue"), "no conversion of pictures is named 'hue'; there are grey, alpha"),
        (("--layout", "nchw"), "give --convert size, with which pictures are resized"),
    ],
)
def test_what_cannot_be_told_of_a_picture_is_asked_for_by_option(capsys, tmp_path, words, reason):
    Image.fromarray(np.zeros((6, 5, 3), np.uint8)).save(tmp_path / "in.png")
    (tmp_path / "m.onnx").write_bytes(network([("Identity", "x", "y")], inputs={"x": [1, 3, 4, 3]}))
    command = ["run", str(tmp_path / "m.onnx"), "-i", f"x={tmp_path / 'in.png'}", *words]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert cli.main([*command[:4], "--layout", "nchw", "--convert", "size", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]


def test_a_tensor_file_and_literals(capsys, tmp_path):
    (tmp_path / "add.onnx").write_bytes(
        network([("Add", "a b", "y")], inputs={"a": (np.int64, [3]), "b": (np.int64, [3])})
    )
    (tmp_path / "a.pb").write_bytes(numpy_helper.from_array(np.int64([1, 2, 3])).SerializeToString())
    out = tmp_path / "y.npy"
    told(capsys, tmp_path / "add.onnx", "-i", f"a={tmp_path / 'a.pb'}", "-i", "b=10,-20,30", "-o", out)
    np.testing.assert_array_equal(np.load(out), np.int64([11, -18, 33]), strict=True)


def test_a_target(capsys, tmp_path, neg):
    model, x = neg
    np.save(tmp_path / "t.npy", np.full((3, 6, 5), -1.0, np.float32))
    found = told(capsys, model, "-i", x, "--qformat", "Q2.5", "--expected", tmp_path / "t.npy")
    assert found["metrics"]["psnr"]["against_target"] is not None


def test_constants_that_saturate_are_noted(capsys, tmp_path, neg):
    (tmp_path / "m.onnx").write_bytes(
        network([("Conv", "x w", "y")], constants={"w": np.float32([[[[3]], [[0.5]], [[-9]]]])})
    )
    found = told(capsys, tmp_path / "m.onnx", "-i", neg[1], "--qformat", "Q2.5", "--weight-qformat", "Q0.7")
    assert found["notes"] == ["2 of 3 elements of constant 'w' saturate in Q0.7"]


def test_the_scale_of_pixels_goes_for_the_sample_too(capsys):
    """The network sees other numbers, and what is known without it stays."""
    plain, darker = told(capsys, "srcnn"), told(capsys, "srcnn", "--scale", "1/300")
    for found in (plain, darker):
        assert found["metrics"]["psnr"]["baseline_against_target"] == pytest.approx(29.70, abs=0.01)
    assert darker["metrics"]["psnr"]["against_target"] != plain["metrics"]["psnr"]["against_target"]
    assert cli.main(["run", "srcnn", "--scale", "1,1"]) == 2
    assert "scale has 2 numbers, and the image 3 channels" in capsys.readouterr().err


def test_outputs_that_a_picture_does_not_hold_are_named(capsys, tmp_path):
    (tmp_path / "m.onnx").write_bytes(network([("Relu", "x", "y"), ("Neg", "x", "z")], outputs=["z", "y"]))
    np.save(tmp_path / "x.npy", X)
    out = tmp_path / "out.png"
    found = told(capsys, tmp_path / "m.onnx", "-i", f"x={tmp_path / 'x.npy'}", "-o", out)
    assert found["notes"] == [f"{out} holds one image, and not 'y'; an .npz file holds all"]


def test_a_quantized_model_runs_in_its_own_formats(capsys, tmp_path):
    pair = [("QuantizeLinear", "{0} s z", "{0}_q"), ("DequantizeLinear", "{0}_q s z", "{0}_dq")]
    nodes = [tuple(word.format("x") for word in one) for one in pair]
    nodes += [("Add", "x_dq x_dq", "a"), *(tuple(word.format("a") for word in one) for one in pair)]
    constants = {"s": np.float32(0.125), "z": np.int8(0)}
    model = network(nodes, outputs=["a_dq"], constants=constants)
    (tmp_path / "q.onnx").write_bytes(model)
    np.save(tmp_path / "x.npy", X)
    words = (tmp_path / "q.onnx", "-i", f"x={tmp_path / 'x.npy'}")
    found = told(capsys, *words, "--rounding", "floor", "--strict")
    assert found["arithmetic"] == "fixed"
    assert found["qformat"] is None
    assert found["formats"] == {"x": "Q4.3", "a_dq": "Q4.3"}
    assert found["tensors"][0]["name"] == "x"
    assert told(capsys, *words, "--qformat", "Q1.6")["notes"][0].startswith("Q1.6 replaces the formats")
    assert cli.main(["run", *map(str, words)]) == 0
    assert "the model's own formats, half_even, saturate" in capsys.readouterr().out


def test_what_is_no_tensor_is_refused(capsys, tmp_path):
    (tmp_path / "s.onnx").write_bytes(network([("SequenceConstruct", "x x", "s")], outputs=["s"]))
    np.save(tmp_path / "x.npy", X)
    assert cli.main(["run", str(tmp_path / "s.onnx"), "-i", f"x={tmp_path / 'x.npy'}"]) == 2
    assert "'s' is a sequence of 2, and only tensors can be shown" in capsys.readouterr().err
    assert cli.main(["inspect", str(tmp_path / "s.onnx")]) == 0


@pytest.fixture
def classifier(tmp_path):
    """Return a classifier with a text label and a list of dicts, and its input as a file."""
    keys = {"domain": "ai.onnx.ml", "classlabels_strings": ["no", "yes"]}
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], **keys, coefficients=[1.0, -1.0], intercepts=[0.0] * 2
        ),
        helper.make_node("ZipMap", ["scores"], ["maps"], **keys),
    ]
    kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
        helper.make_value_info("maps", helper.make_sequence_type_proto(kind)),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    graph = helper.make_graph(nodes, "classifier", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "c.onnx")
    return tmp_path / "c.onnx", "-i", "x=1,-2"


@pytest.mark.parametrize("words", [(), ("--qformat", "Q3.4")])
def test_text_and_maps_are_shown_beside_tensors(capsys, classifier, words):
    found = told(capsys, *classifier, *words)
    label, maps = found["outputs"]
    assert (label["name"], label["shape"], label["dtype"], label["min"]) == ("label", [2], "string", None)
    assert (maps["name"], maps["shape"], maps["dtype"]) == ("maps", [2], "seq(map(string,tensor(float)))")
    assert found["evaluated_output"] == "label"
    assert cli.main(["run", *map(str, (*classifier, *words))]) == 0
    if not words:
        assert "seq(map(string,tensor(float)))" in capsys.readouterr().out


def test_maps_are_not_saved_as_arrays(capsys, classifier, tmp_path):
    words = [*map(str, classifier), "-o", str(tmp_path / "out.npz")]
    assert cli.main(["run", *words]) == 2
    assert "'maps' is a sequence of 2, and only tensors can be saved" in capsys.readouterr().err
    assert cli.main(["run", *words, "--fetch", "label", "--fetch", "scores"]) == 0
    with np.load(tmp_path / "out.npz", allow_pickle=False) as found:
        assert found["label"].tolist() == ["no", "yes"]


def test_text_is_typed_as_it_is(capsys, tmp_path):
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="UPPER")
    kinds = [helper.make_tensor_value_info(name, TensorProto.STRING, [None]) for name in "xy"]
    graph = helper.make_graph([node], "upper", kinds[:1], kinds[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "u.onnx")
    told(capsys, tmp_path / "u.onnx", "-i", "x=a b,é", "-o", tmp_path / "y.npy")
    assert np.load(tmp_path / "y.npy", allow_pickle=False).tolist() == ["A B", "É"]
