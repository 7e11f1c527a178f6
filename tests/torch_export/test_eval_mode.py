import numpy as np
import pytest
import torch

from qengine.data.golden import read_golden
from qengine.torch_export import (
    write_golden,
)

from .exports import export_plain, normalized, run


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
