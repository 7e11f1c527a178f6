import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from qengine.errors import QEngineError  # noqa: E402
from qengine.export import (  # noqa: E402
    SRCNN,
    BicubicResize,
    bicubic_resize,
    export,
    read_golden,
    strip_prefix,
    write_golden,
)

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-5
FACTORS = [(2, 2), (3, 3), (5, 5), (1.5, 2.5), (0.5, 1)]
FREE_IMAGE = {"input": {0: "N", 2: "H", 3: "W"}, "output": {0: "N", 2: "H_out", 3: "W_out"}}


def scales(vertical, horizontal):
    return torch.tensor([1, 1, vertical, horizontal], dtype=torch.float32)


def export_srcnn(path, module=None, **options):
    export(
        module or SRCNN(),
        (torch.rand(1, 3, 6, 6), scales(4, 4)),
        path,
        input_names=["input", "factor"],
        output_names=["output"],
        dynamic_axes=FREE_IMAGE,
        **options,
    )


def export_plain(path, module, shape=(1, 3, 8, 8), **options):
    export(module, (torch.rand(shape),), path, input_names=["input"], output_names=["output"], **options)


def run(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value) for name, value in feeds.items()})


@pytest.fixture(scope="module")
def srcnn(tmp_path_factory):
    torch.manual_seed(0)
    module = SRCNN()
    path = tmp_path_factory.mktemp("srcnn") / "srcnn.onnx"
    export_srcnn(path, module, readable_names=True)
    return module, path, onnx.load(path)


def test_one_resize_whose_scales_are_a_graph_input(srcnn):
    graph = srcnn[2].graph
    assert [node.op_type for node in graph.node if node.op_type != "Constant"] == [
        "Resize",
        "Conv",
        "Relu",
        "Conv",
        "Relu",
        "Conv",
    ]
    (resize,) = (node for node in graph.node if node.op_type == "Resize")
    image, roi, given = resize.input
    assert (image, given) == ("input", "factor")
    (constant,) = (node for node in graph.node if roi in node.output)
    assert onnx.numpy_helper.to_array(constant.attribute[0].t).shape == (0,)
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in resize.attribute}
    assert attributes == {
        "mode": b"cubic",
        "coordinate_transformation_mode": b"pytorch_half_pixel",
        "cubic_coeff_a": -0.75,
        "nearest_mode": b"floor",
    }


def test_readable_names(srcnn):
    graph = srcnn[2].graph
    names = [node.output[0] for node in graph.node if node.op_type != "Constant"]
    assert names == ["upscaled", "conv1", "relu1", "conv2", "relu2", "output"]
    assert [value.name for value in graph.input] == ["input", "factor"]
    assert {tensor.name for tensor in graph.initializer} == set(SRCNN().state_dict())


def test_free_axes_and_opset(srcnn):
    model = srcnn[2]
    sizes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert sizes["input"] == ["N", 3, "H", "W"]
    assert sizes["factor"] == [4]
    assert len(sizes["output"]) == 4
    assert [opset.version for opset in model.opset_import if not opset.domain] == [17]


@pytest.mark.parametrize("factor", FACTORS, ids=str)
def test_factors_that_were_not_exported(srcnn, factor):
    module, path, _ = srcnn
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = module(image, scales(*factor)).numpy()
    (result,) = run(path, {"input": image, "factor": scales(*factor)})
    assert result.shape == (2, 3, int(7 * factor[0]), int(9 * factor[1]))
    np.testing.assert_allclose(result, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("factor", FACTORS, ids=str)
def test_bicubic_resize_is_interpolate(factor):
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(2))
    wanted = torch.nn.functional.interpolate(image, scale_factor=factor, mode="bicubic", align_corners=False)
    assert torch.equal(bicubic_resize(image, scales(*factor)), wanted)


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_bicubic_at_other_opsets(tmp_path, opset):
    path = tmp_path / "resize.onnx"
    image, factor = torch.rand(1, 2, 5, 6), scales(2, 3)
    export(
        BicubicResize(),
        (image, factor),
        path,
        input_names=["x", "scales"],
        output_names=["y"],
        dynamic_axes={"y": {2: "H", 3: "W"}},
        opset=opset,
    )
    (result,) = run(path, {"x": image, "scales": scales(3, 1.5)})
    np.testing.assert_allclose(result, bicubic_resize(image, scales(3, 1.5)).numpy(), atol=TOLERANCE)


def test_bicubic_resize_has_no_gradient():
    image = torch.rand(1, 1, 4, 4, requires_grad=True)
    with pytest.raises(QEngineError, match="no gradient"):
        bicubic_resize(image, scales(2, 2)).sum().backward()


def test_the_gradient_of_the_refinement_is_whole():
    module = SRCNN()
    module(torch.rand(1, 3, 4, 4), scales(2, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


class Unexportable(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.lstsq(x[0, 0], x[0, 1]).solution


class Broken(torch.nn.Module):
    def forward(self, x):
        raise ValueError("no such luck")


@pytest.mark.parametrize("module", [Unexportable(), Broken()], ids=["operator", "forward"])
def test_a_failed_export_leaves_the_old_file(tmp_path, module, capfd):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    module.train()
    with pytest.raises(QEngineError, match=f"torch cannot export {type(module).__name__}: "):
        export_plain(path, module)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert module.training


def test_the_checker_has_the_last_word(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def refuse(model, full_check):
        assert full_check
        assert Path(model).parent == tmp_path
        assert onnx.load(model).graph.node
        raise onnx.checker.ValidationError("not today")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(QEngineError, match="the export of ReLU is not valid ONNX: not today"):
        export_plain(path, torch.nn.ReLU())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_invalid_file_is_refused(tmp_path, monkeypatch):
    sound = onnx.load

    def spoilt(path):
        model = sound(path)
        model.graph.node[0].op_type = "Rectify"
        onnx.save(model, path)
        return model

    monkeypatch.setattr(onnx, "load", spoilt)
    with pytest.raises(QEngineError, match=r"not valid ONNX: .*Rectify"):
        export_plain(tmp_path / "model.onnx", torch.nn.ReLU())
    assert not list(tmp_path.iterdir())


def test_no_folder(tmp_path):
    with pytest.raises(QEngineError, match="there is no folder"):
        export_plain(tmp_path / "missing" / "model.onnx", torch.nn.ReLU())


def test_an_export_says_nothing(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_srcnn(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


# --- batch normalization


def normalized():
    torch.manual_seed(3)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    module(torch.rand(8, 3, 8, 8))  # running statistics that are not the initial ones
    return module


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_batchnorm_is_kept_in_inference_form(tmp_path, opset):
    module, path = normalized(), tmp_path / "model.onnx"
    export_plain(path, module, opset=opset, keep_batchnorm=True)
    assert operators(path) == ["Conv", "BatchNormalization", "Relu"]
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        wanted = module.eval()(image).numpy()
    np.testing.assert_allclose(run(path, {"input": image})[0], wanted, atol=TOLERANCE)


def test_batchnorm_is_folded_unless_kept(tmp_path):
    export_plain(tmp_path / "model.onnx", normalized())
    assert operators(tmp_path / "model.onnx") == ["Conv", "Relu"]


class HalfUsed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)

    def forward(self, x):
        return self.used(x)


def test_a_lost_batchnorm_is_an_error(tmp_path):
    with pytest.raises(QEngineError, match="only 1 of 2 BatchNormalization"):
        export_plain(tmp_path / "model.onnx", HalfUsed(), keep_batchnorm=True)
    assert not list(tmp_path.iterdir())


class AlwaysTraining(torch.nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(True)


def test_a_batchnorm_in_training_form_is_an_error(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch traces its own check of the batch size
        with pytest.raises(QEngineError, match="BatchNormalization was exported in training form"):
            export_plain(tmp_path / "model.onnx", AlwaysTraining(3), keep_batchnorm=True)
    assert not list(tmp_path.iterdir())


# --- modes


@pytest.mark.parametrize("keep_batchnorm", [False, True])
def test_export_gives_every_module_its_mode_back(tmp_path, keep_batchnorm):
    module = normalized().train()
    module[1].eval()
    export_plain(tmp_path / "model.onnx", module, keep_batchnorm=keep_batchnorm)
    assert [part.training for part in module.modules()] == [True, True, False, True]


def test_dropout_is_off(tmp_path):
    module = torch.nn.Sequential(torch.nn.Dropout(0.5)).train()
    export_plain(tmp_path / "model.onnx", module)
    image = np.ones((1, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", {"input": image})[0], image)
    write_golden(tmp_path / "g.npz", module, {"input": image}, ["output"])
    np.testing.assert_array_equal(read_golden(tmp_path / "g.npz")[1]["output"], image)
    assert module[0].training


# --- names


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return torch.relu(self.conv(x) + x) + 1


class Nested(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.Block1, self.input = Block(), torch.nn.ReLU()

    def forward(self, x):
        return self.input(self.input(self.Block1(x))) * 2


def test_names_of_nested_modules_do_not_collide(tmp_path):
    path = tmp_path / "model.onnx"
    module, image = Nested(), torch.rand(1, 3, 8, 8)
    export_plain(path, module, readable_names=True)
    nodes = [node for node in onnx.load(path).graph.node if node.op_type != "Constant"]
    outputs = [node.output[0] for node in nodes]
    assert outputs[:2] == ["Block1.conv", "Block1.add"]
    assert "Block1.relu" in outputs
    assert outputs[-1] == "output"
    assert len(set(outputs)) == len(outputs)
    assert "input" not in outputs
    assert not any("_output_" in name or "/" in name for name in outputs)
    with torch.no_grad():
        np.testing.assert_allclose(run(path, {"input": image})[0], module(image).numpy(), atol=TOLERANCE)


def test_constants_take_no_names_from_modules(tmp_path):
    module = torch.nn.Sequential(torch.nn.ReLU6(), torch.nn.ReLU6())
    export_plain(tmp_path / "model.onnx", module, readable_names=True)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert [node.output[0] for node in nodes if node.op_type == "Clip"] == ["0", "output"]
    assert [node.output[0] for node in nodes if node.op_type == "Constant"][:2] == ["0.constant", "0.constant_1"]


def test_names_inside_branches_are_renamed_too(tmp_path):
    class Branching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.ReLU()
            self.choose = torch.jit.script(choose)

        def forward(self, x):
            return self.choose(self.first(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.script
        export_plain(tmp_path / "model.onnx", Branching(), readable_names=True)
    assert "If" in operators(tmp_path / "model.onnx")
    image = np.full((1, 3, 8, 8), 0.5, np.float32)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", {"input": image})[0], image * 2)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", {"input": -image})[0], image * 0 - 1)


def choose(x):
    if bool(x.sum() > 0):
        return x * 2
    return x - 1


# --- checkpoints


@pytest.mark.parametrize("prefix", [None, "generator", "generator."])
def test_strip_prefix(prefix):
    state = {f"generator.{name}": value for name, value in SRCNN().state_dict().items()}
    stripped = strip_prefix(state, prefix)
    assert list(stripped) == list(SRCNN().state_dict())
    assert all(stripped[name] is state[f"generator.{name}"] for name in stripped)
    SRCNN().load_state_dict(stripped)


def test_strip_prefix_of_a_whole_checkpoint():
    checkpoint = {"epoch": 3, "state_dict": {"module.net.weight": 1, "module.net.bias": 2}}
    assert strip_prefix(checkpoint) == {"net.weight": 1, "net.bias": 2}
    assert strip_prefix(checkpoint, "module.net") == {"weight": 1, "bias": 2}


@pytest.mark.parametrize(
    ("state", "prefix", "message"),
    [
        ({}, None, "holds no tensors"),
        ({"state_dict": {}}, None, "holds no tensors"),
        ({"net.weight": 1, "other.weight": 2}, None, "key 'other.weight' does not begin with 'net.'"),
        ({"net.weight": 1, "network.weight": 2}, "net", "key 'network.weight' does not begin with 'net.'"),
        ({"weight": 1}, None, "key 'weight' does not begin with 'weight.'"),
        ({"net.weight": 1}, "gen", "key 'net.weight' does not begin with 'gen.'"),
    ],
)
def test_strip_prefix_refuses(state, prefix, message):
    with pytest.raises(QEngineError, match=message):
        strip_prefix(state, prefix)


# --- golden outputs


def test_write_golden(tmp_path):
    module = SRCNN().train()
    inputs = {
        "input": np.random.default_rng(4).random((1, 3, 5, 4), np.float32),
        "factor": scales(2, 3).numpy(),
    }
    write_golden(tmp_path / "g.npz", module, inputs, ["output"])
    found, outputs = read_golden(tmp_path / "g.npz")
    assert list(found) == ["input", "factor"]
    for name, value in inputs.items():
        np.testing.assert_array_equal(found[name], value, strict=True)
    with torch.no_grad():
        wanted = module(torch.from_numpy(inputs["input"]), scales(2, 3)).numpy()
    np.testing.assert_array_equal(outputs["output"], wanted, strict=True)
    assert all(part.training for part in module.modules())


def test_write_golden_wants_a_name_for_each_output(tmp_path):
    with pytest.raises(QEngineError, match="ReLU returns 1 tensors, but 2 names are given: a, b"):
        write_golden(tmp_path / "g.npz", torch.nn.ReLU(), {"x": np.ones(1, np.float32)}, ["a", "b"])
    assert not list(tmp_path.iterdir())


def test_golden_files_agree_with_onnxruntime():
    for name, model in json.loads((GOLDEN / "index.json").read_text()).items():
        inputs, outputs = read_golden(GOLDEN / name)
        session = onnxruntime.InferenceSession(GOLDEN / model, providers=["CPUExecutionProvider"])
        for result, wanted in zip(session.run(list(outputs), inputs), outputs.values(), strict=True):
            np.testing.assert_allclose(result, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())


# --- without torch


def _without_torch(code):
    lines = ["import sys", "sys.modules['torch'] = None", *code]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parent.parent,
        check=False,
    )


def test_without_torch_the_error_says_what_to_install():
    done = _without_torch(["import qengine.export"])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "qengine.errors.QEngineError: exporting needs torch: pip install 'qengine[torch]'"
    )


def test_goldens_are_read_without_torch():
    path = str(GOLDEN / "srcnn_seed.npz")
    done = _without_torch(
        ["import qengine", "from qengine.golden import read_golden", f"print(list(read_golden({path!r})[0]))"]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['input', 'factor']\n", "")
