import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from qengine.errors import QEngineError

from .exports import TOLERANCE, export_plain, export_srcnn, normalized, run


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
