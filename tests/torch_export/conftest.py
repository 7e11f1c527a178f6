import onnx
import pytest
import torch

from qengine.torch_export import (
    SRCNN,
)

from .exports import export_srcnn


@pytest.fixture(scope="module")
def srcnn(tmp_path_factory):
    torch.manual_seed(0)
    module = SRCNN()
    path = tmp_path_factory.mktemp("srcnn") / "srcnn.onnx"
    export_srcnn(path, module, readable_names=True)
    return module, path, onnx.load(path)
