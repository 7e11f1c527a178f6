"""Train a small network on the bundled digits, and write it with its data for qengine and for C.

python train.py writes model.onnx, train.npz and test.npz (images and labels), and digits.h (ten images as bytes).
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch  # noqa: TID251 - an example from torch
from torch import nn  # noqa: TID251 - an example from torch

from qengine.data import zoo
from qengine.torch_export import export

EPOCHS = 40


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution with BatchNormalization and ReLU."""
    layers = {
        "conv": nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        "norm": nn.BatchNorm2d(outputs),
        "relu": nn.ReLU(),
    }
    return nn.Sequential(OrderedDict(layers))


def network() -> nn.Module:
    """Return a network from [N, 1, 28, 28] to ten logits, with depthwise-separable convolutions."""
    layers = {
        "stem": convolution(1, 8, 3, stride=2),
        "depthwise1": convolution(8, 8, 3, groups=8),
        "pointwise1": convolution(8, 16, 1),
        "depthwise2": convolution(16, 16, 3, stride=2, groups=16),
        "pointwise2": convolution(16, 32, 1),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(32, 10),
    }
    return nn.Sequential(OrderedDict(layers))


def train(images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """Return a trained network; images are moved by up to two pixels, as there are few."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(32):
            down, right = torch.randint(-2, 3, (2,)).tolist()
            moved = images[batch].roll((down, right), (2, 3))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(moved), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def header(pixels: np.ndarray, labels: np.ndarray) -> str:
    """Return images and their labels as arrays of C."""
    rows = ",\n".join("    {" + ", ".join(map(str, image.ravel())) + "}" for image in pixels)
    return (
        f"static const unsigned char digits[{len(pixels)}][{pixels[0].size}] = {{\n{rows}}};\n"
        f"static const int labels[{len(labels)}] = {{{', '.join(map(str, labels))}}};\n"
    )


def main() -> None:
    """Train the network and write the files."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the network is small
    with np.load(zoo.find("digits").data) as data:
        pixels, labels = data["images"], data["labels"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(pixels))
    pixels, labels = pixels[order], labels[order]
    images = (pixels[:, np.newaxis] / 255).astype(np.float32)
    model = train(torch.from_numpy(images[:800]), torch.from_numpy(labels[:800]))
    with torch.no_grad():
        right = model(torch.from_numpy(images[800:])).argmax(1).numpy() == labels[800:]
    names = {"input_names": ["image"], "output_names": ["logits"]}
    axes = {"image": {0: "N"}, "logits": {0: "N"}}
    export(model, (torch.zeros(1, 1, 28, 28),), "model.onnx", **names, dynamic_axes=axes, readable_names=True)
    np.savez("train.npz", image=images[:800], labels=labels[:800])
    np.savez("test.npz", image=images[800:], labels=labels[800:])
    Path("digits.h").write_text(header(pixels[800:810], labels[800:810]))
    print(f"{right.mean():.1%} of {len(right)} images are right in float32")


if __name__ == "__main__":
    main()
