"""Exports that several tests look at."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from qengine.torch_export import (
    SRCNN,
    export,
)

GOLDEN = Path(__file__).parent.parent / "golden"
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


def normalized():
    torch.manual_seed(3)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    module(torch.rand(8, 3, 8, 8))  # running statistics that are not the initial ones
    return module
